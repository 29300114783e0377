"""Fits the second look by a sentence encoder, and decides whether it is worth its time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.keywords.by_words.meaning import (
    MEANING_FEATURES,
    MeaningRecord,
    PhraseEncoder,
    meaning_features,
)
from papertune.kinds.keywords.by_words.regression import fit_regression
from papertune.metrics.keyword_scores import f1_at_5_by_paper

# Nine weights need no more rows, and each takes a quarter of a second.
MEANING_ROWS = 600
_FOLDS = 5
_STRENGTH = 1.0


@dataclass(frozen=True, eq=False)
class LookedAt:
    """The best phrases of a training row.

    Attributes:
        document: The document.
        texts: The phrases, the best first.
        odds: Their log-odds by words that were not fitted on this row, float64, shape (phrases,).
        right: Which are keywords, bool, shape (phrases,).
        keywords: All keywords of the row.
    """

    document: str
    texts: list[str]
    odds: NDArray[np.float64]
    right: NDArray[np.bool_]
    keywords: Sequence[str]


def fit_meaning(rows: Sequence[LookedAt], encoder: PhraseEncoder) -> MeaningRecord:
    """Learn how much nearness to the document says beside the words.

    It is used if its cross-fitted F1@5 is above that of the words by more than one standard error of the paired
    difference.

    Args:
        rows: Training rows with keywords, at least two for each fold.
        encoder: The sentence encoder.
    """
    tables = [meaning_features(row.document, row.texts, row.odds.tolist(), encoder) for row in rows]
    right = [row.right for row in rows]
    again: list[list[str]] = [[] for _ in rows]
    for fold in range(_FOLDS):
        others = [place for place in range(len(rows)) if place % _FOLDS != fold]
        fitted, _ = fit_regression([tables[place] for place in others], [right[place] for place in others], _STRENGTH)
        for place in range(fold, len(rows), _FOLDS):
            best = np.argsort(-(tables[place] @ fitted), kind="stable")[:5]
            again[place] = [rows[place].texts[index] for index in best]
    gold = [row.keywords for row in rows]
    by_words, by_both = (f1_at_5_by_paper(gold, each) for each in ([row.texts[:5] for row in rows], again))
    difference = by_both - by_words
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    weights, intercept = fit_regression(tables, right, _STRENGTH)
    return MeaningRecord(
        encoder.name,
        encoder.checksum,
        bool(difference.mean() > error),
        len(rows),
        {"words": float(by_words.mean()), "encoder": float(by_both.mean())},
        error,
        dict(zip(MEANING_FEATURES, weights.tolist(), strict=True)),
        intercept,
    )
