"""The ranking and the minimum confidence of ranked keywords, fitted on a calibration set."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.base import CalibrationOutcome, PredictedTable
from papertune.kinds.keywords.by_words.words import Words
from papertune.kinds.keywords.ranked.column import RankedKeywordsColumn
from papertune.kinds.keywords.ranked.ranking import (
    FEATURES,
    JOINED_FEATURES,
    FoundKeyword,
    KeywordChoice,
    features,
    joined_features,
)
from papertune.kinds.keywords.ranked.record import Ranking
from papertune.kinds.label.fit import row_shortage
from papertune.metrics.keyword_scores import f1_at_5_by_paper, unique_keywords
from papertune.metrics.phrases import normalise_keyword

_FOLDS = 5


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
    column: RankedKeywordsColumn,
    found: Sequence[Sequence[FoundKeyword]],
    gold: Sequence[Sequence[str]],
    by_words: Sequence[Sequence[tuple[str, float]]] | None = None,
) -> Ranking:
    """Fit the ranking of keywords, and the minimum confidence if the column asks for it.

    The ranking is a logistic regression of whether a keyword is a gold keyword, with features scaled to variance 1.
    Where the words of the training rows can rank by themselves, the model joins them only if the cross-fitted F1@5 of
    both together is higher by more than one standard error of the paired difference.

    Args:
        column: The column.
        found: The keywords that were found for each paper.
        gold: The gold keywords of each paper.
        by_words: The keywords of each paper as the words rank them, with confidences, at least five if there are as
            many; None without this source.

    Returns:
        The ranking; without weights if there is a `ranking_shortage`, or the words alone are to rank.
    """
    if by_words is not None and ("model" not in column.sources or ranking_shortage(found, gold)):
        return Ranking(len(gold), min_confidence=_min_confidence_by_words(column, by_words, gold))
    if ranking_shortage(found, gold):
        return Ranking(len(gold))
    names, table_of = (FEATURES, features) if by_words is None else (JOINED_FEATURES, joined_features)
    tables = [table_of(keywords) for keywords in found]
    right = [_is_gold(*pair) for pair in zip(found, gold, strict=True)]
    evidence: dict[str, float] = {}
    if by_words is not None:
        evidence = _join_evidence(found, gold, by_words, tables, right)
        if evidence["joined"] - evidence["words"] <= evidence["standard_error"]:
            cut = _min_confidence_by_words(column, by_words, gold)
            return Ranking(len(gold), min_confidence=cut, evidence=evidence)
    weights, intercept = _fit(tables, right)
    choice = KeywordChoice(weights, intercept)
    cut = _min_confidence(column, [choice.choose(keywords, column.count) for keywords in found], gold)
    named = dict(zip(names, weights.tolist(), strict=True))
    return Ranking(len(gold), named, intercept, cut, evidence or None)


def _fit(
    tables: Sequence[NDArray[np.float64]], right: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression; return its weights for unscaled features, and its intercept."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    table = np.concatenate(tables)
    scaler = StandardScaler().fit(table)
    fitted = LogisticRegression(max_iter=1000).fit(scaler.transform(table), np.concatenate(right))
    weights = fitted.coef_[0] / scaler.scale_
    return weights, float(fitted.intercept_[0] - weights @ scaler.mean_)


def _join_evidence(
    found: Sequence[Sequence[FoundKeyword]],
    gold: Sequence[Sequence[str]],
    by_words: Sequence[Sequence[tuple[str, float]]],
    tables: Sequence[NDArray[np.float64]],
    right: Sequence[NDArray[np.bool_]],
) -> dict[str, float]:
    """Return F1@5 of the words alone and, cross-fitted, of both sources, and the standard error of the difference."""
    joined: list[list[str]] = [[] for _ in found]
    for fold in range(_FOLDS):
        others = [row for row in range(len(found)) if row % _FOLDS != fold]
        if not any(right[row].any() for row in others):
            continue
        choice = KeywordChoice(*_fit([tables[row] for row in others], [right[row] for row in others]))
        for row in range(fold, len(found), _FOLDS):
            joined[row] = [text for text, _ in choice.rank(found[row])[:5]]
    words = f1_at_5_by_paper(gold, [[text for text, _ in row] for row in by_words])
    both = f1_at_5_by_paper(gold, joined)
    error = float((both - words).std(ddof=1) / np.sqrt(len(words)))
    return {"words": float(words.mean()), "joined": float(both.mean()), "standard_error": error}


def _min_confidence_by_words(
    column: RankedKeywordsColumn, by_words: Sequence[Sequence[tuple[str, float]]], gold: Sequence[Sequence[str]]
) -> float | None:
    """Return the minimum confidence of keywords that the words alone rank."""
    return _min_confidence(column, [row[: column.count] for row in by_words], gold)


def _min_confidence(
    column: RankedKeywordsColumn, ranked: Sequence[Sequence[tuple[str, float]]], gold: Sequence[Sequence[str]]
) -> float | None:
    """Return the minimum confidence of written keywords, if the column asks for it and there are enough rows."""
    if column.min_confidence != "f1" or row_shortage(len(gold)):
        return None
    confidence, hits = np.zeros((2, len(gold), column.count))
    for row, (keywords, own) in enumerate(zip(ranked, gold, strict=True)):
        for place, (text, certainty) in enumerate(keywords):
            confidence[row, place] = certainty
            hits[row, place] = normalise_keyword(text) in unique_keywords(own)
    return f1_confidence(confidence, hits > 0, [len(unique_keywords(own)) for own in gold])


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
    if found.evidence is None and found.weights is None and found.min_confidence is not None:
        return f"the minimum confidence {found.min_confidence:.3f} is fitted on {found.rows:,} dev rows"
    if found.evidence is None:
        return f"the ranking of keywords is fitted on {found.rows:,} dev rows{cut}"
    words, joined, error = (found.evidence[key] for key in ("words", "joined", "standard_error"))
    numbers = f"F1@5 {joined:.3f} together, {words:.3f} by the words alone"
    if found.weights is None:
        return (
            f"keywords are ranked by the words of the training rows alone: on {found.rows:,} dev rows the model adds "
            f"less than the standard error of {error:.3f} ({numbers}){cut}; prediction does not ask it"
        )
    return f"words and the model rank keywords together, fitted on {found.rows:,} dev rows: {numbers}{cut}"


def calibrate(name: str, column: RankedKeywordsColumn, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
    """Fit the ranking of a column, on the rows with keywords; a cell may hold a mark only, such as "-"."""
    found: list[list[FoundKeyword]] = []
    gold: list[list[str]] = []
    by_words: list[list[tuple[str, float]]] = []
    words: Words | None = None
    for table in predicted:
        words = table.decision.words
        for row, keywords in zip(table.rows, table.values, strict=True):
            own = column.read_gold(table.reader.given(row, name))
            if keywords is not None and unique_keywords(own):
                found.append(keywords)
                gold.append(own)
                if words is not None:
                    by_words.append(words.rank(table.reader.input(row), max(column.count, 5)))
    ranking = fit_ranking(column, found, gold, None if words is None else by_words)
    why = ranking_shortage(found, gold) if "model" in column.sources else ""
    message = f"{column.uncalibrated(name)}: {why}" if why else ranking_in_words(ranking)
    return CalibrationOutcome([f"{name}: {message}"], ranking)
