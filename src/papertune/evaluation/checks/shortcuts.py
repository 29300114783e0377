"""Surface features that alone predict the label: how long a cell is, how its names are written, a publisher's notice.

A model that learns such a shortcut scores well on tables of the same source and fails on others (Geirhos et al. 2020,
"Shortcut learning in deep neural networks", arXiv:2004.07780). Each feature of a column is given, alone, to a small
decision tree that is cross-validated. No length and no comma should know much about a paper: on tables of papers that
were looked through by hand these features ended at most a tenth of the mistakes of always saying the most frequent
label, and where the label could be told from the author list they ended nearly all.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.phrases import CJK_CHARACTER

# Share of the mistakes of always saying the most frequent label that a feature must end to be told.
MIN_GAIN = 0.25

# ... and luck must give so high an accuracy in fewer than one of a thousand tables.
_MAX_LUCK = 0.001

# Of a larger table a random part is looked at: so many rows tell an accuracy within 2 percent.
MAX_ROWS = 2000

# With fewer rows nothing is looked for.
MIN_ROWS = 40

_FOLDS = 5
_SEED = 20230701

# The format of a longer cell is that of its beginning and its end.
_BEGINNING, _END = 120, 40

# A run of format characters must stand in this share of the cells, and only the most frequent runs are tried.
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
        name: What it is, in words that go on "the cells'".
        accuracy: Cross-validated accuracy of a decision tree that sees this feature alone, from 0 to 1.
        majority: Accuracy of always saying the most frequent label, on the same rows.
        split: What the best single split by this feature tells, a sentence.
    """

    name: str
    accuracy: float
    majority: float
    split: str


@dataclass(frozen=True)
class _Candidate:
    """A feature to try: its values, what learns from them, and how to put the outcome into words."""

    name: str
    values: Any  # array or sparse matrix, shape (rows, values)
    estimator: Any
    explain: Callable[[], str]


def find_surface_feature(cells: Sequence[str], labels: Sequence[str]) -> SurfaceFeature | None:
    """Look for a surface feature of cells that alone predicts the label.

    Tried are the length, the numbers of commas, of semicolons and of repeated parts, a number that the cell may be, a
    publisher's notice, the cell as a whole (such as a journal's name), and the run of up to four characters of its
    format that tells most, where each word is `a`, `Aa` or `A`, each number is 9 and the rest stays: `Doe, J.;` has
    the format `Aa, A.;`.

    Args:
        cells: The cells of one column, length rows.
        labels: The label of each row, length rows. Labels of fewer than five rows are passed over.

    Returns:
        The feature with the highest cross-validated accuracy, if it ends at least `MIN_GAIN` of the mistakes of
        always saying the most frequent label; otherwise None, and None with fewer than `MIN_ROWS` rows.

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
    if binomtest(right, len(rows), majority / len(rows), alternative="greater").pvalue > _MAX_LUCK:
        return None
    return SurfaceFeature(found.name, right / len(rows), majority / len(rows), found.explain())


def _choose_rows(labels: Sequence[str]) -> list[int]:
    """Give the rows to look at: those whose label each fold can have, and a random part if they are many."""
    counts = Counter(labels)
    rows = [row for row, label in enumerate(labels) if counts[label] >= _FOLDS]
    if len(rows) > MAX_ROWS:
        rows = sorted(np.random.default_rng(_SEED).choice(rows, MAX_ROWS, replace=False).tolist())
        counts = Counter(labels[row] for row in rows)
        rows = [row for row in rows if counts[labels[row]] >= _FOLDS]
    return rows


def _candidates(cells: Sequence[str], labels: NDArray[Any]) -> Iterator[_Candidate]:
    """Give the features that are not the same in all rows, the plainest first."""
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
    most_leaves = 4 * len(set(labels.tolist()))

    def explain() -> str:
        tree = _tree(2).fit(column, labels)
        threshold, above = float(tree.tree_.threshold[0]), tree.apply(column) == tree.tree_.children_right[0]
        if name == _NOTICE_NAME:
            return _told(above, labels, "With it", "without it")
        if math.isinf(threshold):  # what tells the label is whether it is a number, not which
            return _told(~np.isnan(values), labels, "Where it is a number", "elsewhere")
        nor_number = " or where it is no number" if np.isnan(values[above]).any() else ""
        return _told(above, labels, f"Above {threshold:g}{nor_number}", "otherwise")

    return _Candidate(name, column, _tree(most_leaves), explain)


def _value_candidate(cells: Sequence[str], labels: NDArray[Any]) -> _Candidate:
    """Give the cell itself, as a category; of a value that is new to it the model knows only the labels' shares."""
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    column = np.array(cells, dtype=object)[:, np.newaxis]  # (rows, 1)

    def explain() -> str:
        value, _ = Counter(cells).most_common(1)[0]
        shown = value if len(value) <= 40 else value[:37] + "..."
        return _told(column[:, 0] == value, labels, f'Where it is "{shown}"', "elsewhere")

    return _Candidate(
        "content as a whole", column, make_pipeline(OneHotEncoder(handle_unknown="ignore"), MultinomialNB()), explain
    )


def _format_candidate(formats: Sequence[str], labels: NDArray[Any]) -> Iterator[_Candidate]:
    """Give the runs of format characters; a tree with a leaf for each label chooses, with two labels, one run."""
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
    except ValueError:  # scikit-learn's word for no run that is frequent enough
        return
    tree = _tree(len(set(labels.tolist())))

    def explain() -> str:
        chosen = max(0, int(_tree(2).fit(values, labels).tree_.feature[0]))
        run = runs.get_feature_names_out()[chosen]
        has = values[:, [chosen]].toarray()[:, 0] > 0
        return _told(has, labels, f'With "{run}" in it, where a, Aa and A are words and 9 is a number', "without it")

    yield _Candidate("format", values, tree, explain)


def _tree(leaves: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=_FOLDS, random_state=0)


def _format(cell: str) -> str:
    """Give a cell's format, such as `Aa, A.; Aa-Aa, A.` for `Doe, J.; Smith-Jones, K.`."""
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


def _told(holds: NDArray[np.bool_], labels: NDArray[Any], where: str, elsewhere: str) -> str:
    """Say how often the most frequent label stands where something holds, and where it does not."""
    parts: list[str] = []
    for place, chosen in ((where, labels[holds]), (elsewhere, labels[~holds])):
        if len(chosen):
            label, count = Counter(chosen.tolist()).most_common(1)[0]
            parts.append(f"{place}, {count:,} of {len(chosen):,} rows are {label}")
    return "; ".join(parts) + "."
