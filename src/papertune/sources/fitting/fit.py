"""Fitting the sources of a run's label questions on its training rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papertune.events import SILENT, Listener
from papertune.files import atomic_writer
from papertune.kinds.label.record import Join
from papertune.recipe import Recipe
from papertune.sources.classifier import LinearClassifier, cross_validate, has_company
from papertune.sources.fitting.choice import choose_sources
from papertune.sources.fitting.label_rows import QuestionRows, label_rows
from papertune.sources.label_sources import LabelSources
from papertune.sources.registry import sources_by_name
from papertune.sources.source import Source, Surroundings
from papertune.tables import Table

# With fewer rows a cross-validation says nothing.
MIN_ROWS = 8


@dataclass(frozen=True)
class HeldOut:
    """What sources say about training rows that they were not fitted on, for one question.

    Attributes:
        rows: The rows.
        log_probabilities: By source, float64, shape (rows, labels).
    """

    rows: QuestionRows
    log_probabilities: dict[str, NDArray[np.float64]]


def fit_sources(
    tables: Sequence[Table],
    recipe: Recipe,
    wanted: Mapping[str, Sequence[str]],
    folder: Path,
    surroundings: Surroundings,
    listener: Listener = SILENT,
) -> dict[str, HeldOut]:
    """Fit sources and write them into a run directory.

    Args:
        tables: The training tables.
        recipe: The recipe.
        wanted: The sources of each question, without "model".
        folder: The folder `sources` of the run.
        surroundings: Loads encoders and models; its scratch folder keeps what a resumed training needs.
        listener: Gets messages and progress.

    Returns:
        The held-out predictions, by question; a question with fewer than `MIN_ROWS` rows, or a label column with one
        label, is left out.
    """
    data = label_rows(tables, recipe, list(wanted))
    # A label of a labels column that no row has is always a no; a label column needs two labels.
    asked = {
        name: rows
        for name, rows in data.questions.items()
        if can_be_fitted(rows.gold, fewest_labels=2 if name in recipe.columns else 1)
    }
    if not asked:
        return {}
    sources: dict[str, Source] = {}
    classifiers: dict[str, dict[str, LinearClassifier]] = {}
    held_out: dict[str, HeldOut] = {name: HeldOut(rows, {}) for name, rows in asked.items()}
    for name, kind in sources_by_name().items():
        questions = [question for question in asked if name in wanted[question]]
        if not questions:
            continue
        listener.message(f"fitting {name} on {len(data.documents):,} rows")
        sources[name], features = kind.fit(data.documents, surroundings, listener)
        classifiers[name] = {}
        for question in questions:
            rows, labels = asked[question], len(recipe.questions[question].joined_labels)
            found = cross_validate(features[rows.documents], rows.gold, labels, kind.strengths)
            classifiers[name][question], held_out[question].log_probabilities[name], _ = found
    costs = {name: source.cost for name, source in sources.items()}
    joins: dict[str, Join] = {question: _choose(found, costs) for question, found in held_out.items()}
    if surroundings.scratch is not None:
        _keep(held_out, surroundings.scratch)
    LabelSources.save(folder, sources, classifiers, joins)
    return held_out


def _choose(found: HeldOut, costs: Mapping[str, int]) -> Join:
    """Join sources on the rows that can be judged."""
    gold = found.rows.gold
    judged = has_company(gold)
    return choose_sources({name: each[judged] for name, each in found.log_probabilities.items()}, gold[judged], costs)


def can_be_fitted(gold: NDArray[np.int64], fewest_labels: int = 2) -> bool:
    """Whether there are enough rows and labels, and a label that can be in two folds."""
    counts = Counter(gold.tolist())
    return len(gold) >= MIN_ROWS and len(counts) >= fewest_labels and max(counts.values()) > 1


def _file(scratch: Path) -> Path:
    return scratch / "held_out.npz"


def _keep(held_out: Mapping[str, HeldOut], scratch: Path) -> None:
    arrays: dict[str, NDArray[np.float64] | NDArray[np.int64] | NDArray[np.str_]] = {
        "questions": np.array(list(held_out), dtype=np.str_)
    }
    for number, found in enumerate(held_out.values()):
        arrays |= {f"{number}.rows.{key}": array for key, array in vars(found.rows).items()}
        arrays |= {f"{number}.source.{name}": array for name, array in found.log_probabilities.items()}
    with atomic_writer(_file(scratch)) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def read_held_out(scratch: Path) -> dict[str, HeldOut]:
    """Return the held-out predictions of an earlier call of `fit_sources`; empty if there are none."""
    if not _file(scratch).is_file():
        return {}
    with np.load(_file(scratch), allow_pickle=False) as arrays:
        return {
            str(question): HeldOut(
                QuestionRows(*(arrays[f"{number}.rows.{key}"] for key in ("tables", "rows", "documents", "gold"))),
                {
                    key.removeprefix(f"{number}.source."): arrays[key]
                    for key in arrays
                    if key.startswith(f"{number}.source.")
                },
            )
            for number, question in enumerate(arrays["questions"])
        }
