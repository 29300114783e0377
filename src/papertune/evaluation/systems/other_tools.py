"""Contestants that other packages bring along, where these are installed.

YAKE (Campos et al. 2020, doi:10.1016/j.ins.2019.09.013) ranks the phrases of one document by statistics of its words.
KeyBERT (Grootendorst 2020, doi:10.5281/zenodo.4461265) ranks them by how near a sentence encoder puts them to the whole
document. SetFit (Tunstall et al. 2022, arXiv:2209.11055) fine-tunes such an encoder on pairs of a few labelled texts,
with a logistic regression on top. The last two fetch their encoder from the hub.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from papertune.evaluation.systems.contestants import Attempt, LearntRows, NotMeasured, rows_per_s
from papertune.kinds.keywords.baselines import keyword_predictions
from papertune.kinds.keywords.column import KeywordsSpec
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.predictions import Predictions

# As the packages' own pages have them.
SETFIT_ENCODER = "sentence-transformers/paraphrase-mpnet-base-v2"
KEYBERT_ENCODER = "all-MiniLM-L6-v2"

# SetFit learns from pairs, of which there are as many as the square of the rows; it is made for few rows.
SETFIT_ROWS_A_LABEL = 16
SETFIT_SEED = 0

# As registries spell them.
_PACKAGES = ("scikit-learn", "yake", "keybert", "setfit", "sentence-transformers")

_KEYWORDS = 5
_MAX_WORDS = 3


@cache
def package_versions() -> Mapping[str, str | None]:
    """Give the versions of the packages that plain contestants are made of; None where one is not installed."""
    versions: dict[str, str | None] = dict.fromkeys(_PACKAGES)
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def yake(column: KeywordsSpec, documents: Sequence[str]) -> Attempt:
    """Extract keywords with YAKE, which learns nothing."""
    extractor = _package("yake").KeywordExtractor(lan="en", n=_MAX_WORDS, top=_KEYWORDS)
    begun = time.monotonic()
    lists = [[keyword for keyword, _ in extractor.extract_keywords(document)] for document in documents]
    return Attempt(keyword_predictions(lists, column), rows_per_s(len(documents), begun), 0.0, 0)


def keybert(column: KeywordsSpec, documents: Sequence[str]) -> Attempt:
    """Extract keywords with KeyBERT, which learns nothing."""
    package = _package("keybert")
    model = _trying(f"its encoder {KEYBERT_ENCODER} could not be fetched", lambda: package.KeyBERT(KEYBERT_ENCODER))
    begun = time.monotonic()
    lists = [
        [
            keyword
            for keyword, _ in model.extract_keywords(
                document, keyphrase_ngram_range=(1, _MAX_WORDS), stop_words="english", use_mmr=True, top_n=_KEYWORDS
            )
        ]
        for document in documents
    ]
    rate = rows_per_s(len(documents), begun)
    return Attempt(keyword_predictions(lists, column), rate, 0.0, 0, f"encoder {KEYBERT_ENCODER}")


def setfit(column: LabelColumn, learnt: LearntRows, documents: Sequence[str]) -> Attempt:
    """Train SetFit on a few rows of each label and predict.

    Raises:
        NotMeasured: If a package is missing, its encoder cannot be fetched, or the rows have one label only.
    """
    package, datasets = _package("setfit"), _package("datasets")  # the one needs the other
    if len(set(learnt.answers)) < 2:
        raise NotMeasured("it needs rows of two labels at least")
    model = _trying(
        f"its encoder {SETFIT_ENCODER} could not be fetched",
        lambda: package.SetFitModel.from_pretrained(SETFIT_ENCODER),
    )
    ids = {label: number for number, label in enumerate(column.labels)}
    chosen = _few_of_each(learnt)
    texts = [learnt.documents[row] for row in chosen]
    rows = datasets.Dataset.from_dict({"text": texts, "label": [ids[learnt.answers[row]] for row in chosen]})

    def train(folder: str) -> None:
        arguments = package.TrainingArguments(
            output_dir=folder, seed=SETFIT_SEED, report_to="none", save_strategy="no", show_progress_bar=False
        )
        package.Trainer(model=model, args=arguments, train_dataset=rows).train()

    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        _trying("its training failed", lambda: train(folder))
    trained = time.monotonic()
    by_class = np.asarray(model.predict_proba(list(documents), as_numpy=True), dtype=np.float64)  # (rows, classes)
    rate = rows_per_s(len(documents), trained)
    # A label without rows has no class, and probability 0.
    probabilities = np.zeros((len(documents), len(column.labels)))
    probabilities[:, [int(number) for number in model.model_head.classes_]] = by_class
    head = model.model_head
    return Attempt(
        Predictions([column.labels[number] for number in probabilities.argmax(axis=1)], probabilities.tolist()),
        rate,
        trained - begun,
        sum(weight.numel() for weight in model.model_body.parameters()) + head.coef_.size + head.intercept_.size,
        f"learnt from {len(chosen)} rows, at most {SETFIT_ROWS_A_LABEL} of each label; encoder {SETFIT_ENCODER}",
    )


def _few_of_each(learnt: LearntRows) -> list[int]:
    """Choose rows at random, so many of each label at most, and give them in the order of the table."""
    order = list(range(len(learnt.answers)))
    random.Random(SETFIT_SEED).shuffle(order)
    taken: dict[str, list[int]] = {}
    for row in order:
        of_label = taken.setdefault(learnt.answers[row], [])
        if len(of_label) < SETFIT_ROWS_A_LABEL:
            of_label.append(row)
    return sorted(row for of_label in taken.values() for row in of_label)


def _package(name: str) -> Any:
    """Import an optional package.

    Raises:
        NotMeasured: If it is not installed, or does not go with what else is.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise NotMeasured(f"not installed: pip install {name}") from None
        raise NotMeasured(f"{name} lacks {error.name}: pip install {error.name}") from None
    except ImportError as error:
        raise NotMeasured(f"{name} cannot be loaded here: {error}") from None


def _trying(problem: str, action: Callable[[], Any]) -> Any:
    """Do what another package may fail at, without ending the comparison of the others.

    Raises:
        NotMeasured: If it fails, with the problem and the first line of the reason.
    """
    try:
        return action()
    except Exception as error:  # whatever the other package, the hub and the network can raise
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NotMeasured(f"{problem}: {first}") from error
