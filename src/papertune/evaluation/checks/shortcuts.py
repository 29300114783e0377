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

_SEPARATOR = re.compile("[,，;；、|]")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d+)?")
_NOTICE_NAME = "publisher's notice"
_NOTICE = re.compile(
    r"©|\(c\) ?(19|20)\d\d|\bcopyright\b|\ball rights reserved\b|\bpublished by\b"
    r"|\b(elsevier|springer|wiley|taylor & francis)\b",
    re.IGNORECASE,
)
_WORD_OR_NUMBER = re.compile(r"\d+|[^\W\d_]+")


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
    """A feature to try, the model that learns from its values, and a function that describes the best split."""

    name: str
    values: Any  # array or sparse matrix, shape (rows, values)
    estimator: Any
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
    from scipy.stats import binomtest
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=_SEED)
    best: tuple[int, _Candidate] | None = None
    for candidate in _candidates([cells[row] for row in rows], target):
        right = int((cross_val_predict(candidate.estimator, candidate.values, target, cv=folds) == target).sum())
        if best is None or right > best[0]:
            best = right, candidate
    majority = counts.most_common(1)[0][1]
    if best is None or best[0] - majority < MIN_GAIN * (len(rows) - majority):
        return None
    right, found = best
    if binomtest(right, len(rows), majority / len(rows), alternative="greater").pvalue > _MAX_P_VALUE:
        return None
    return SurfaceFeature(found.name, right / len(rows), majority / len(rows), found.explain())


def _choose_rows(labels: Sequence[str]) -> list[int]:
    """Return the rows whose label can be in every fold; a random sample of them if they are more than `MAX_ROWS`."""
    counts = Counter(labels)
    rows = [row for row, label in enumerate(labels) if counts[label] >= _FOLDS]
    if len(rows) > MAX_ROWS:
        rows = sorted(np.random.default_rng(_SEED).choice(rows, MAX_ROWS, replace=False).tolist())
        counts = Counter(labels[row] for row in rows)
        rows = [row for row in rows if counts[labels[row]] >= _FOLDS]
    return rows


def _candidates(cells: Sequence[str], labels: NDArray[Any]) -> Iterator[_Candidate]:
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
            yield _number_candidate(name, values, labels)
    if len(set(cells)) > 1:
        yield _value_candidate(cells, labels)
        yield from _format_candidate([_format(cell) for cell in cells], labels)


def _repeats(cell: str) -> int:
    parts = [part.strip() for part in _SEPARATOR.split(cell) if part.strip()]
    return len(parts) - len(set(parts))


def _number_candidate(name: str, values: NDArray[np.float64], labels: NDArray[Any]) -> _Candidate:
    column = values[:, np.newaxis]  # (rows, 1)
    max_leaves = 4 * len(set(labels.tolist()))

    def explain() -> str:
        tree = _tree(2).fit(column, labels)
        threshold, above = float(tree.tree_.threshold[0]), tree.apply(column) == tree.tree_.children_right[0]
        if name == _NOTICE_NAME:
            return _describe(above, labels, "With it", "without it")
        if math.isinf(threshold):  # the split is between numbers and other cells
            return _describe(~np.isnan(values), labels, "Where it is a number", "elsewhere")
        not_a_number = " or where it is not a number" if np.isnan(values[above]).any() else ""
        return _describe(above, labels, f"Above {threshold:g}{not_a_number}", "otherwise")

    return _Candidate(name, column, _tree(max_leaves), explain)


def _value_candidate(cells: Sequence[str], labels: NDArray[Any]) -> _Candidate:
    """Return the cell itself as a category. For a new value the model predicts by the shares of the labels."""
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    column = np.array(cells, dtype=object)[:, np.newaxis]  # (rows, 1)

    def explain() -> str:
        value, _ = Counter(cells).most_common(1)[0]
        shown = visible(value if len(value) <= 40 else value[:37] + "...")
        return _describe(column[:, 0] == value, labels, f'Where it is "{shown}"', "elsewhere")

    return _Candidate(
        "content as a whole", column, make_pipeline(OneHotEncoder(handle_unknown="ignore"), MultinomialNB()), explain
    )


def _format_candidate(formats: Sequence[str], labels: NDArray[Any]) -> Iterator[_Candidate]:
    """Yield the runs of format characters, if there are any, for a tree with one leaf for each label."""
    from sklearn.feature_extraction.text import CountVectorizer

    runs = CountVectorizer(
        analyzer="char",
        ngram_range=(1, 4),
        lowercase=False,
        binary=True,
        min_df=max(2, math.ceil(_MIN_SHARE * len(formats))),
        max_features=_MAX_RUNS,
    )
    try:
        values = runs.fit_transform(formats)
    except ValueError:  # scikit-learn raises it if no run is frequent enough
        return
    tree = _tree(len(set(labels.tolist())))

    def explain() -> str:
        chosen = max(0, int(_tree(2).fit(values, labels).tree_.feature[0]))
        run = runs.get_feature_names_out()[chosen]
        has = values[:, [chosen]].toarray()[:, 0] > 0
        return _describe(
            has, labels, f'With "{visible(run)}" in it, where a, Aa and A are words and 9 is a number', "without it"
        )

    yield _Candidate("format", values, tree, explain)


def _tree(leaves: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=_FOLDS, random_state=0)


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
