"""Shortcuts: surface features, such as the length of a cell or a publisher's notice, that alone predict a label.

A model that learns a shortcut scores well on tables of the same source and fails on others (Geirhos et al. 2020,
"Shortcut learning in deep neural networks", arXiv:2004.07780). A small decision tree is cross-validated on each feature
alone and compared with predicting the most frequent label. In tables of papers that were inspected by hand, these
features avoided at most a tenth of the errors of that prediction; where the format of the author list differed between
the labels, they avoided nearly all.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.errors import visible
from papertune.evaluation.checks.small_trees import (
    Split,
    SplitFinder,
    number_splits,
    predict,
    stratified_folds,
    yes_no_splits,
)
from papertune.metrics.phrases import CJK_CHARACTER

# Minimum share of the errors of predicting the most frequent label that a reported feature avoids.
MIN_GAIN = 0.25

# Maximum p-value of its accuracy.
_MAX_P_VALUE = 0.001

# A larger table is sampled: this many rows give the accuracy to within 2 percentage points.
MAX_ROWS = 2000

# A smaller table is not examined.
MIN_ROWS = 40

_FOLDS = 5
_SEED = 20230701

# Of a longer cell only the beginning and the end have a format, in characters.
_BEGINNING, _END = 120, 40

# Runs of format characters in fewer of the cells are not tried, and only the most frequent of the others are.
_MIN_SHARE = 0.02
_MAX_RUNS = 2000
# Maximum characters of a run.
_RUN = 4

_SEPARATOR = re.compile("[,，;；、|]")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d+)?")
_NOTICE_NAME = "publisher's notice"
_NOTICE = re.compile(
    r"©|\(c\) ?(19|20)\d\d|\bcopyright\b|\ball rights reserved\b|\bpublished by\b"
    r"|\b(elsevier|springer|wiley|taylor & francis)\b",
    re.IGNORECASE,
)
_WORD_OR_NUMBER = re.compile(r"\d+|[^\W\d_]+")
_BLANKS = re.compile(r"\s\s+")

# Indices of rows, or their classes.
_Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SurfaceFeature:
    """A surface feature of cells that alone predicts the label.

    Attributes:
        name: A noun phrase, such as "number of commas".
        accuracy: Cross-validated accuracy of a model that sees this feature alone, from 0 to 1.
        majority: Accuracy of predicting the most frequent label for the same rows.
        split: The best single split by this feature, as a sentence.
    """

    name: str
    accuracy: float
    majority: float
    split: str


@dataclass(frozen=True)
class _Candidate:
    """A feature to try, what predicts the classes of rows from those of others, and what describes the best split."""

    name: str
    predict: Callable[[_Rows, _Rows], _Rows]
    explain: Callable[[], str]


def find_surface_feature(cells: Sequence[str], labels: Sequence[str]) -> SurfaceFeature | None:
    """Find a surface feature of cells that alone predicts the label.

    The features are the length, the numbers of commas, semicolons and repeated parts, the value of a number, a
    publisher's notice, the whole cell (such as a journal's name), and the most predictive run of up to four characters
    of the format. A format has `a`, `Aa` or `A` for each word, 9 for each number, and all other characters: `Doe, J.;`
    has the format `Aa, A.;`.

    Args:
        cells: The cells of one column, length rows.
        labels: The label of each row, length rows. Labels of fewer than five rows are ignored.

    Returns:
        The feature with the highest cross-validated accuracy, if it avoids at least `MIN_GAIN` of the errors of
        predicting the most frequent label; None if no feature does, or with fewer than `MIN_ROWS` rows.

    Raises:
        ValueError: If the lengths differ.
    """
    if len(cells) != len(labels):
        raise ValueError(f"{len(cells)} cells, but {len(labels)} labels")
    rows = _choose_rows(labels)
    target = np.array([labels[row] for row in rows], dtype=object)
    counts = Counter(target.tolist())
    if len(rows) < MIN_ROWS or len(counts) < 2:
        return None
    names = sorted(counts)
    classes = np.array([names.index(label) for label in target], dtype=np.int64)
    majority = counts.most_common(1)[0][1]
    folds = stratified_folds(classes, _FOLDS, _SEED)
    right, found = 0, None
    for candidate in _candidates([cells[row] for row in rows], target, classes):
        if (count := _count_right(candidate, classes, folds)) > right:
            right, found = count, candidate
    if found is None or right - majority < MIN_GAIN * (len(rows) - majority):
        return None
    if _p_value(right, len(rows), majority / len(rows)) > _MAX_P_VALUE:
        return None
    return SurfaceFeature(found.name, right / len(rows), majority / len(rows), found.explain())


def _count_right(candidate: _Candidate, classes: _Rows, folds: _Rows) -> int:
    """Count the rows that are predicted right from the rows of the other folds."""
    tests = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(_FOLDS)]
    return sum(int((candidate.predict(train, test) == classes[test]).sum()) for train, test in tests)


def _p_value(right: int, rows: int, share: float) -> float:
    """Return the probability of at least so many right predictions, if each is right with this probability."""
    return math.fsum(
        math.exp(
            math.lgamma(rows + 1)
            - math.lgamma(count + 1)
            - math.lgamma(rows - count + 1)
            + count * math.log(share)
            + (rows - count) * math.log1p(-share)
        )
        for count in range(right, rows + 1)
    )


def _choose_rows(labels: Sequence[str]) -> list[int]:
    """Return the rows whose label can be in every fold; a random sample of them if they are more than `MAX_ROWS`."""
    counts = Counter(labels)
    rows = [row for row, label in enumerate(labels) if counts[label] >= _FOLDS]
    if len(rows) > MAX_ROWS:
        rows = sorted(np.random.default_rng(_SEED).choice(rows, MAX_ROWS, replace=False).tolist())
        counts = Counter(labels[row] for row in rows)
        rows = [row for row in rows if counts[labels[row]] >= _FOLDS]
    return rows


def _candidates(cells: Sequence[str], labels: NDArray[Any], classes: _Rows) -> Iterator[_Candidate]:
    """Yield the features that differ between the rows, the simplest first."""
    numbers: dict[str, Callable[[str], float]] = {
        "length in characters": len,
        "number of commas": lambda cell: cell.count(",") + cell.count("，"),
        "number of semicolons": lambda cell: cell.count(";") + cell.count("；"),
        "number of repeated parts between separators": _repeats,
        "value as a number": lambda cell: float(cell) if _NUMBER.fullmatch(cell) else math.nan,
        _NOTICE_NAME: lambda cell: _NOTICE.search(cell) is not None,
    }
    for name, feature in numbers.items():
        values = np.array([feature(cell) for cell in cells], dtype=np.float64)
        if len(np.unique(values)) > 1:
            yield _number_candidate(name, values, labels, classes)
    if len(set(cells)) > 1:
        yield _value_candidate(cells, labels, classes)
        yield from _format_candidate([_format(cell) for cell in cells], labels, classes)


def _repeats(cell: str) -> int:
    parts = [part.strip() for part in _SEPARATOR.split(cell) if part.strip()]
    return len(parts) - len(set(parts))


def _number_candidate(name: str, values: NDArray[np.float64], labels: NDArray[Any], classes: _Rows) -> _Candidate:
    find = number_splits(values, classes)
    leaves = 4 * (int(classes.max()) + 1)

    def explain() -> str:
        split = _whole_split(find, classes)
        above = ~split.goes_left
        if name == _NOTICE_NAME:
            return _describe(above, labels, "With it", "without it")
        if math.isinf(split.threshold):  # the split is between numbers and other cells
            return _describe(~np.isnan(values), labels, "Where it is a number", "elsewhere")
        not_a_number = " or where it is not a number" if np.isnan(values[above]).any() else ""
        return _describe(above, labels, f"Above {split.threshold:g}{not_a_number}", "otherwise")

    return _Candidate(name, lambda train, test: predict(find, classes, train, test, leaves), explain)


def _value_candidate(cells: Sequence[str], labels: NDArray[Any], classes: _Rows) -> _Candidate:
    """Return the cell itself as a category. For a new value the model predicts by the shares of the labels."""
    numbers = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
    values = np.array([numbers[cell] for cell in cells], dtype=np.int64)

    def predict_by_value(train: _Rows, test: _Rows) -> _Rows:
        """Predict with naive Bayes and add-one smoothing."""
        counts = np.zeros((len(numbers), int(classes.max()) + 1))  # (values, classes)
        np.add.at(counts, (values[train], classes[train]), 1)
        rows = counts.sum(axis=0)
        is_known = counts.sum(axis=1) > 0
        likelihoods = np.log(counts + 1) - np.log(rows + np.count_nonzero(is_known))
        scores = np.where(is_known[:, np.newaxis], likelihoods, 0) + np.log(rows) - np.log(len(train))
        likeliest: _Rows = scores.argmax(axis=1)
        return likeliest[values[test]]

    def explain() -> str:
        value, _ = Counter(cells).most_common(1)[0]
        shown = visible(value if len(value) <= 40 else value[:37] + "...")
        return _describe(np.array([cell == value for cell in cells]), labels, f'Where it is "{shown}"', "elsewhere")

    return _Candidate("content as a whole", predict_by_value, explain)


def _format_candidate(formats: Sequence[str], labels: NDArray[Any], classes: _Rows) -> Iterator[_Candidate]:
    """Yield the runs of format characters, if there are any, for a tree with one leaf for each label."""
    in_rows = [_runs(text) for text in formats]
    counts = Counter(run for each in in_rows for run in each)
    least = max(2, math.ceil(_MIN_SHARE * len(formats)))
    # The most frequent first, of equally frequent ones the shortest.
    ranked = sorted((-count, len(run), run) for run, count in counts.items() if count >= least)[:_MAX_RUNS]
    if not ranked:
        return
    runs = sorted((run for *_, run in ranked), key=lambda run: (len(run), run))
    columns = {run: column for column, run in enumerate(runs)}
    values = np.zeros((len(formats), len(runs)), dtype=np.float32)
    for row, each in enumerate(in_rows):
        values[row, [columns[run] for run in each if run in columns]] = 1
    find = yes_no_splits(values, classes)
    leaves = int(classes.max()) + 1

    def explain() -> str:
        split = _whole_split(find, classes)
        shown = visible(runs[split.feature])
        where = f'With "{shown}" in it, where a, Aa and A are words and 9 is a number'
        return _describe(~split.goes_left, labels, where, "without it")

    yield _Candidate("format", lambda train, test: predict(find, classes, train, test, leaves), explain)


def _runs(text: str) -> set[str]:
    """Return the runs of one to four characters; several blanks count as one."""
    text = _BLANKS.sub(" ", text)
    return {text[start : start + size] for size in range(1, _RUN + 1) for start in range(len(text) - size + 1)}


def _whole_split(find: SplitFinder, classes: _Rows) -> Split:
    split = find(np.arange(len(classes)))
    assert split is not None  # fewer rows could be split, else nothing would have been predicted
    return split


def _format(cell: str) -> str:
    """Return a cell's format, such as `Aa, A.; Aa-Aa, A.` for `Doe, J.; Smith-Jones, K.`."""
    if len(cell) > _BEGINNING + _END:
        cell = f"{cell[:_BEGINNING]}…{cell[-_END:]}"
    return _WORD_OR_NUMBER.sub(lambda match: _format_of_word(match.group()), cell)


def _format_of_word(word: str) -> str:
    if word[0].isdigit():
        return "9"
    if CJK_CHARACTER.match(word):
        return "文"
    if word.isupper():
        return "A"
    return "Aa" if word[0].isupper() else "a"


def _describe(holds: NDArray[np.bool_], labels: NDArray[Any], where: str, elsewhere: str) -> str:
    """Describe how frequent the most frequent label is in the rows where something holds, and in the others."""
    parts: list[str] = []
    for place, chosen in ((where, labels[holds]), (elsewhere, labels[~holds])):
        if len(chosen):
            label, count = Counter(chosen.tolist()).most_common(1)[0]
            parts.append(f"{place}, {count:,} of {len(chosen):,} rows are {label}")
    return "; ".join(parts) + "."
