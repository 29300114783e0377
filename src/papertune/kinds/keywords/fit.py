"""The ranking and the minimum confidence of ranked keywords, fitted on a calibration set."""

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


def ranking_shortage(found: Sequence[Sequence[FoundKeyword]], gold: Sequence[Sequence[str]]) -> str:
    """Return why no ranking can be fitted on papers with these keywords; "" if one can."""
    if why := row_shortage(len(gold)):
        return why
    right = np.concatenate([_is_gold(*pair) for pair in zip(found, gold, strict=True)])
    if right.all() or not right.any():
        share = "all" if right.any() else "none"
        return f"{share} of the keywords that were found on {len(gold)} dev rows are gold keywords"
    return ""


def fit_ranking(
    column: RankedKeywordsColumn, found: Sequence[Sequence[FoundKeyword]], gold: Sequence[Sequence[str]]
) -> Ranking:
    """Fit the ranking of keywords, and the minimum confidence if the column asks for it.

    The ranking is a logistic regression of whether a keyword is a gold keyword, with features scaled to variance 1.

    Args:
        column: The column.
        found: The keywords that were found for each paper.
        gold: The gold keywords of each paper.

    Returns:
        The ranking; only the number of rows if there is a `ranking_shortage`.
    """
    if ranking_shortage(found, gold):
        return Ranking(len(gold))
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    right = [_is_gold(*pair) for pair in zip(found, gold, strict=True)]
    table = np.concatenate([features(keywords) for keywords in found])
    scaler = StandardScaler().fit(table)
    fitted = LogisticRegression(max_iter=1000).fit(scaler.transform(table), np.concatenate(right))
    weights = fitted.coef_[0] / scaler.scale_
    intercept = float(fitted.intercept_[0] - weights @ scaler.mean_)
    min_confidence = None
    if column.min_confidence == "f1":
        choice = KeywordChoice(weights, intercept)
        confidence, hits = np.zeros((2, len(gold), column.count))
        for row, (keywords, own) in enumerate(zip(found, gold, strict=True)):
            for place, (text, certainty) in enumerate(choice.choose(keywords, column.count)):
                confidence[row, place] = certainty
                hits[row, place] = normalise_keyword(text) in unique_keywords(own)
        min_confidence = f1_confidence(confidence, hits > 0, [len(unique_keywords(own)) for own in gold])
    return Ranking(len(gold), dict(zip(FEATURES, weights.tolist(), strict=True)), intercept, min_confidence)


def f1_confidence(confidence: NDArray[np.float64], right: NDArray[np.bool_], gold_counts: Sequence[int]) -> float:
    """Choose the minimum confidence of written keywords for the highest F1@M.

    Args:
        confidence: Confidence of the keywords that may be written, descending; 0 where a paper has fewer; float64,
            shape (papers, count).
        right: Whether each is a gold keyword, bool, shape (papers, count).
        gold_counts: Number of gold keywords of each paper, at least 1, length papers.

    Returns:
        One of the confidences; of several with the same F1 the lowest.
    """
    hits = np.concatenate(
        [np.zeros((len(right), 1)), right.cumsum(axis=1)], axis=1
    )  # among the first 0, 1, ... keywords
    best, best_f1 = 0.0, -1.0
    for candidate in np.unique(confidence[confidence > 0]).tolist():
        written = (confidence >= candidate).sum(axis=1)  # (papers,)
        f1 = float(np.mean(2 * hits[np.arange(len(hits)), written] / (written + np.asarray(gold_counts))))
        if f1 > best_f1:
            best, best_f1 = candidate, f1
    return best


def _is_gold(found: Sequence[FoundKeyword], gold: Sequence[str]) -> NDArray[np.bool_]:
    """Return which keywords are gold keywords, bool, shape (keywords,)."""
    forms = set(unique_keywords(gold))
    return np.array([keyword.form in forms for keyword in found], dtype=np.bool_)


def ranking_in_words(found: Ranking) -> str:
    """Describe a ranking, such as "the ranking of keywords is fitted on 100 dev rows; minimum confidence 0.214"."""
    cut = "" if found.min_confidence is None else f"; minimum confidence {found.min_confidence:.3f}"
    return f"the ranking of keywords is fitted on {found.rows:,} dev rows{cut}"


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
    message = f"{column.uncalibrated(name)}: {why}" if why else ranking_in_words(ranking)
    return CalibrationOutcome([f"{name}: {message}"], ranking)
