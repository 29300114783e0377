"""Small decision trees of one number or of yes-no features, grown as scikit-learn grows them (CART, Gini impurity).

scikit-learn itself takes more than a second to import, for which `papertune check` would have to wait. The tests
compare both (`tests/evaluation/checks/test_small_trees.py`).
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Minimum rows of a leaf.
MIN_LEAF = 5
# Numbers that are nearer are equal.
_EQUAL = 1e-7


@dataclass(frozen=True)
class Split:
    """The best split of some rows.

    Attributes:
        gain: By how much it lowers the Gini impurity, multiplied with the number of rows.
        goes_left: The side of each row of the table, also of those that were not split; shape (rows,).
        feature: Index of the feature; 0 for a number.
        threshold: The largest number on the left side; infinite if all numbers are there and only other cells are not.
    """

    gain: float
    goes_left: NDArray[np.bool_]
    feature: int
    threshold: float


# From indices of rows to their best split; None if they have one class or no split leaves `MIN_LEAF` on both sides.
SplitFinder = Callable[[NDArray[np.int64]], Split | None]


def number_splits(numbers: NDArray[np.float64], classes: NDArray[np.int64]) -> SplitFinder:
    """Return what splits rows by a number.

    Args:
        numbers: The numbers, NaN where there is none; shape (rows,).
        classes: The class of each row, from 0; shape (rows,).
    """
    values = numbers.astype(np.float32)
    missing = np.isnan(values)
    indicators = np.eye(int(classes.max()) + 1)[classes]  # (rows, classes)

    def find(rows: NDArray[np.int64]) -> Split | None:
        ordered = rows[np.argsort(values[rows], kind="stable")]  # NaN comes last
        counts = indicators[ordered].cumsum(axis=0)
        known = len(rows) - int(missing[rows].sum())
        # Numbers of rows left of each step between two values.
        steps = np.flatnonzero(np.diff(values[ordered[:known]]) > _EQUAL) + 1
        sizes, left = steps, counts[steps - 1]
        if 0 < known < len(rows):  # rows without a number all go right, with the others left or not, or all left
            sizes = np.concatenate([steps, [known], steps])
            left = np.concatenate([counts[steps - 1], counts[[known - 1]], left + counts[-1] - counts[known - 1]])
        best, gain = _best(left, counts[-1])
        if best is None:
            return None
        size = int(sizes[best])
        at_step = values[ordered[size - 1]], values[ordered[size]] if size < known else np.inf
        threshold = float(at_step[0]) / 2 + float(at_step[1]) / 2
        # Without such rows here, they go where most rows do.
        missing_left = best > len(steps) if known < len(rows) else 2 * size > len(rows)
        return Split(gain, np.where(missing, missing_left, values <= threshold), 0, threshold)

    return find


def yes_no_splits(features: NDArray[np.float32], classes: NDArray[np.int64]) -> SplitFinder:
    """Return what splits rows by one of many yes-no features; of equally good ones the first.

    Args:
        features: 1 where a row has a feature, else 0; shape (rows, features).
        classes: The class of each row, from 0; shape (rows,).
    """
    indicators = np.eye(int(classes.max()) + 1, dtype=np.float32)[classes]  # (rows, classes)

    def find(rows: NDArray[np.int64]) -> Split | None:
        chosen = indicators[rows]
        total = chosen.sum(axis=0, dtype=np.float64)
        best, gain = _best(total - (chosen.T @ features[rows]).T, total)
        return None if best is None else Split(gain, features[:, best] == 0, best, 0.5)

    return find


def _best(left: NDArray[np.float64], total: NDArray[np.float64]) -> tuple[int | None, float]:
    """Return the best of some splits, the first of equal ones, and its gain; None if none is allowed.

    Args:
        left: Rows of each class on the left side; shape (splits, classes).
        total: Rows of each class; shape (classes,).
    """
    if not len(left) or np.count_nonzero(total) < 2:
        return None, 0.0
    right = total - left
    in_left, in_right = left.sum(axis=1), right.sum(axis=1)
    # In the order of scikit-learn's operations, so that the same of two splits wins by a rounding error.
    impurity = -in_right * _gini(right, in_right) - in_left * _gini(left, in_left)
    allowed = np.minimum(in_left, in_right) >= MIN_LEAF
    best = int(np.argmax(np.where(allowed, impurity, -np.inf)))
    size = total.sum()
    return (best if allowed[best] else None), float(impurity[best] + size * (1 - (total**2).sum() / size**2))


def _gini(counts: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (counts**2).sum(axis=1)
    impurities: NDArray[np.float64] = 1 - squares / np.maximum(sums, 1) ** 2
    return impurities


def predict(
    find: SplitFinder, classes: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64], leaves: int
) -> NDArray[np.int64]:
    """Grow a tree, the best split of all leaves first, and predict the class of other rows.

    Args:
        find: Splits the rows.
        classes: The class of each row of the table, from 0; shape (rows,).
        train: Rows to learn from.
        test: Rows to predict.
        leaves: Maximum number of leaves.

    Returns:
        The most frequent class of each row's leaf, the first of equally frequent ones; shape (test rows,).
    """
    predicted = np.zeros(len(classes), dtype=np.int64)
    waiting: list[tuple[float, int, Split, NDArray[np.int64], NDArray[np.int64]]] = []
    nodes = 0

    def add(learned: NDArray[np.int64], asked: NDArray[np.int64]) -> None:
        nonlocal nodes
        predicted[asked] = np.bincount(classes[learned]).argmax()
        if (split := find(learned)) is not None:
            heapq.heappush(waiting, (-split.gain, nodes, split, learned, asked))
        nodes += 1

    add(train, test)
    for _ in range(leaves - 1):
        if not waiting:
            break
        *_, split, learned, asked = heapq.heappop(waiting)
        for side in (split.goes_left, ~split.goes_left):
            add(learned[side[learned]], asked[side[asked]])
    return predicted[test]


def stratified_folds(classes: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row, from 0: those of scikit-learn's `StratifiedKFold` with shuffling.

    Args:
        classes: The class of each row; shape (rows,).
        folds: Number of folds; every class has at least as many rows.
        seed: Seed of the shuffling.
    """
    random = np.random.RandomState(seed)
    numbers = {number: place for place, number in enumerate(dict.fromkeys(classes.tolist()))}
    appeared = np.array([numbers[each] for each in classes.tolist()], dtype=np.int64)
    ordered = np.sort(appeared)
    shares = [np.bincount(ordered[start::folds], minlength=len(numbers)) for start in range(folds)]
    chosen = np.empty(len(classes), dtype=np.int64)
    for number in range(len(numbers)):
        of_class = np.repeat(np.arange(folds), [share[number] for share in shares])
        random.shuffle(of_class)
        chosen[appeared == number] = of_class
    return chosen
