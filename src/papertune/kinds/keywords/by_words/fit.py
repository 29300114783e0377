"""Fits the source "words" of a keyword column on the training rows, and decides between its two orders."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papertune.errors import TableError
from papertune.kinds.keywords.by_words.counts import Counts
from papertune.kinds.keywords.by_words.features import WORD_FEATURES, document_counts, word_features
from papertune.kinds.keywords.by_words.tfidf import ngrams
from papertune.kinds.keywords.by_words.words import Words, WordsRecord
from papertune.kinds.keywords.ranked.candidates import find_candidates
from papertune.kinds.keywords.ranked.column import RankedKeywordsColumn
from papertune.metrics.keyword_scores import f1_at_5_by_paper, unique_keywords
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table

# Rows on which weights are fitted, at most; counts are of all rows.
_MAX_ROWS = 2000
_FOLDS = 5
# Inverse strength of the regularisation; F1@5 hardly depends on it.
_C = 0.03
# Keywords by tf-idf whose hit rates are kept.
_RANKS = 20


def fit_words(documents: Sequence[str], keywords: Sequence[Sequence[str]], seed: int = 0) -> Words:
    """Learn from training rows which phrases are keywords.

    Each row's own counts are left out of its features, as they are of a new document. The learned order is used if its
    cross-fitted F1@5 is above that of the tf-idf order by more than one standard error of the paired difference;
    otherwise the simpler order is.

    Args:
        documents: The training documents, length rows.
        keywords: The gold keywords of each, at least one, length rows.
        seed: Draws the rows of a large table on which weights are fitted, and the folds.
    """
    gold = [unique_keywords(each) for each in keywords]
    candidates = [find_candidates(document) for document in documents]
    grams = [list(ngrams(document)) for document in documents]
    own = [document_counts(*row) for row in zip(candidates, grams, gold, strict=True)]
    counts = Counts.total(own)
    order = np.random.default_rng(seed).permutation(len(documents))[:_MAX_ROWS].tolist()
    tables = [word_features(candidates[row], counts, own[row]) for row in order]
    right = [np.array([each.form in gold[row] for each in candidates[row]], dtype=np.bool_) for row in order]
    draft = Words(counts, WordsRecord("tfidf", len(documents), None, None, {}, 0.0, []))
    by_tfidf = [draft.by_tfidf(documents[row], _RANKS, own[row]) for row in order]
    rates = _hit_rates(by_tfidf, [gold[row] for row in order])
    weights, intercept = _fit(tables, right)
    named = dict(zip(WORD_FEATURES, weights.tolist(), strict=True))
    if len(order) < 2 * _FOLDS:
        return Words(counts.without_rare(), WordsRecord("tfidf", len(documents), None, None, named, intercept, rates))
    learned: list[list[str]] = [[] for _ in order]
    for fold in range(_FOLDS):
        others = [place for place in range(len(order)) if place % _FOLDS != fold]
        fitted, _ = _fit([tables[place] for place in others], [right[place] for place in others])
        for place in range(fold, len(order), _FOLDS):
            best = np.argsort(-(tables[place] @ fitted), kind="stable")[:5]
            learned[place] = [next(iter(candidates[order[place]][index].spellings)) for index in best]
    true = [keywords[row] for row in order]
    scores = [f1_at_5_by_paper(true, lists) for lists in (by_tfidf, learned)]
    difference = scores[1] - scores[0]
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    chosen = "learned" if difference.mean() > error else "tfidf"
    evidence = {"tfidf": float(scores[0].mean()), "learned": float(scores[1].mean())}
    record = WordsRecord(chosen, len(documents), evidence, error, named, intercept, rates)
    return Words(counts.without_rare(), record)


def fit_source(
    name: str, column: RankedKeywordsColumn, recipe: Recipe, tables: Sequence[Table], folder: Path
) -> list[str]:
    """Fit the source on the rows of training tables that have keywords, write it, and describe it.

    Raises:
        TableError: If no row has keywords, and no model learns the column.
    """
    documents: list[str] = []
    keywords: list[list[str]] = []
    for table in tables:
        reader = RowReader(table, recipe)
        for row in range(len(table)):
            own = column.read_gold(reader.given(row, name))
            if unique_keywords(own):
                documents.append(reader.input(row))
                keywords.append(own)
    is_alone = "model" not in column.sources
    if not documents:
        if is_alone:
            raise TableError(f'column "{name}": no training row has a keyword. Add rows, or let the model learn it.')
        return []
    words = fit_words(documents, keywords, recipe.training.seed)
    words.save(folder)
    return [f"{name}: {words_in_words(words.record)}{'; no model is trained for it' if is_alone else ''}"]


def words_in_words(record: WordsRecord) -> str:
    """Describe the source, such as "phrases are ranked by their words, learned from 600 rows: F1@5 0.228, ..."."""
    if record.f1_at_5 is None or record.standard_error is None:
        return f"phrases are ranked by tf-idf: {record.rows:,} training rows are too few to learn from"
    learned, tfidf = record.f1_at_5["learned"], record.f1_at_5["tfidf"]
    numbers = f"cross-validated F1@5 {learned:.3f}, by tf-idf {tfidf:.3f}"
    if record.order == "learned":
        return f"phrases are ranked by their words, as learned from {record.rows:,} training rows: {numbers}"
    return (
        f"phrases are ranked by tf-idf: the ranking that was learned from {record.rows:,} training rows is not better "
        f"by more than the standard error of {record.standard_error:.3f} ({numbers})"
    )


def _fit(
    tables: Sequence[NDArray[np.float64]], right: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression; zeros if all candidates are keywords, or none is."""
    table, wanted = np.concatenate(tables), np.concatenate(right)
    if wanted.all() or not wanted.any():
        return np.zeros(len(WORD_FEATURES)), 0.0
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(table)
    fitted = LogisticRegression(C=_C, max_iter=1000).fit(scaler.transform(table), wanted)
    weights = fitted.coef_[0] / scaler.scale_
    return weights, float(fitted.intercept_[0] - weights @ scaler.mean_)


def _hit_rates(lists: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> list[float]:
    """Return the share of rows whose first, second, ... keyword is right, smoothed and never ascending."""
    hits = np.full(_RANKS, 0.5)
    for own, keywords in zip(gold, lists, strict=True):
        for place, form in enumerate(unique_keywords(keywords)[:_RANKS]):
            hits[place] += form in own
    return np.minimum.accumulate(hits / (len(gold) + 1)).tolist()  # type: ignore[no-any-return]
