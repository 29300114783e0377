"""What the dev rows that are kept apart say about a column of ranked keywords: how to order them, and where to stop."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.base import CalibrationOutcome, PredictedTable
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.keywords.ranked import RankedKeywordsColumn
from papertune.kinds.keywords.ranking import FEATURES, FoundKeyword, KeywordChoice, features
from papertune.kinds.keywords.record import Ranking
from papertune.kinds.label.fit import row_shortage
from papertune.metrics.keyword_scores import unique_keywords
from papertune.metrics.phrases import normalise_keyword


def ranking_shortage(found: Sequence[Sequence[FoundKeyword]], true: Sequence[Sequence[str]]) -> str:
    """Say why no order can be fitted on papers with these keywords; "" if one can."""
    if why := row_shortage(len(true)):
        return why
    right = np.concatenate([_is_true(*pair) for pair in zip(found, true, strict=True)])
    if right.all() or not right.any():
        share = "all" if right.any() else "none"
        return f"{share} of the keywords that were found on {len(true)} dev rows are the papers' own"
    return ""


def fit_ranking(
    column: RankedKeywordsColumn, found: Sequence[Sequence[FoundKeyword]], true: Sequence[Sequence[str]]
) -> Ranking:
    """Fit the order of keywords, and the confidence from which on they are written where the column has that found.

    A logistic regression of whether a keyword is one of the paper's, each feature scaled to variance 1 first.

    Args:
        column: The column.
        found: What was found for each paper.
        true: The keywords of each paper, as they are given.

    Returns:
        What was fitted; nothing but the number of rows if `ranking_shortage` says why.
    """
    if ranking_shortage(found, true):
        return Ranking(len(true))
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    right = [_is_true(*pair) for pair in zip(found, true, strict=True)]
    table = np.concatenate([features(keywords) for keywords in found])
    scaler = StandardScaler().fit(table)
    fitted = LogisticRegression(max_iter=1000).fit(scaler.transform(table), np.concatenate(right))
    weights = fitted.coef_[0] / scaler.scale_
    intercept = float(fitted.intercept_[0] - weights @ scaler.mean_)
    least = None
    if column.min_confidence == "f1":
        choice = KeywordChoice(weights, intercept)
        confidence, hits = np.zeros((2, len(true), column.count))
        for row, (keywords, given) in enumerate(zip(found, true, strict=True)):
            for place, (text, sure) in enumerate(choice.choose(keywords, column.count)):
                confidence[row, place] = sure
                hits[row, place] = normalise_keyword(text) in unique_keywords(given)
        least = f1_confidence(confidence, hits > 0, [len(unique_keywords(given)) for given in true])
    return Ranking(len(true), dict(zip(FEATURES, weights.tolist(), strict=True)), intercept, least)


def f1_confidence(confidence: NDArray[np.float64], right: NDArray[np.bool_], true_counts: Sequence[int]) -> float:
    """Find the confidence from which on keywords are to be written for the highest F1 at M.

    Args:
        confidence: Of the keywords that may be written, the surest first; 0 where a paper has fewer; float64, shape
            (papers, count).
        right: Whether each is one of the paper's, shape (papers, count).
        true_counts: How many keywords each paper has, at least 1 each, length papers.

    Returns:
        One of the confidences, the lowest of those that are as good.
    """
    hits = np.concatenate([np.zeros((len(right), 1)), right.cumsum(axis=1)], axis=1)  # of the first 0, 1, ... keywords
    best, best_f1 = 0.0, -1.0
    for least in np.unique(confidence[confidence > 0]).tolist():
        written = (confidence >= least).sum(axis=1)  # (papers,)
        f1 = float(np.mean(2 * hits[np.arange(len(hits)), written] / (written + np.asarray(true_counts))))
        if f1 > best_f1:
            best, best_f1 = least, f1
    return best


def _is_true(found: Sequence[FoundKeyword], true: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which keywords are the paper's own, bool, shape (keywords,)."""
    forms = set(unique_keywords(true))
    return np.array([keyword.form in forms for keyword in found], dtype=np.bool_)


def ranking_in_words(found: Ranking) -> str:
    """Say what was fitted, such as "keywords are ranked as 100 dev rows say; written from 0.214 on"."""
    cut = "" if found.min_confidence is None else f"; written from {found.min_confidence:.3f} on"
    return f"keywords are ranked as {found.rows:,} dev rows say{cut}"


def calibrate(name: str, column: RankedKeywordsColumn, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
    """Fit the ranking of a column, on the rows with keywords; a cell may hold a mark only, such as "-"."""
    found: list[list[FoundKeyword]] = []
    gold: list[list[str]] = []
    for table in predicted:
        for row, keywords in zip(table.rows, table.values, strict=True):
            own = split_keywords(table.reader.given(row, name) or "")
            if keywords is not None and unique_keywords(own):
                found.append(keywords)
                gold.append(own)
    ranking = fit_ranking(column, found, gold)
    why = ranking_shortage(found, gold)
    said = f"{column.uncalibrated(name)}: {why}" if why else ranking_in_words(ranking)
    return CalibrationOutcome([f"{name}: {said}"], ranking)
