"""Fits the source "words" of a keyword column on the training rows, and decides between its two orders."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from papertune.errors import TableError
from papertune.kinds.keywords.by_words.counts import Counts
from papertune.kinds.keywords.by_words.features import WORD_FEATURES, document_counts, word_features
from papertune.kinds.keywords.by_words.fit_meaning import MEANING_ROWS, LookedAt, fit_meaning
from papertune.kinds.keywords.by_words.meaning import LOOKED_AT, MeaningRecord, PhraseEncoder, open_encoder
from papertune.kinds.keywords.by_words.regression import fit_regression
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


def fit_words(
    documents: Sequence[str],
    keywords: Sequence[Sequence[str]],
    seed: int = 0,
    encoder: PhraseEncoder | None = None,
) -> Words:
    """Learn from training rows which phrases are keywords.

    Each row's own counts are left out of its features, as they are of a new document. The learned order is used if its
    cross-fitted F1@5 is above that of the tf-idf order by more than one standard error of the paired difference;
    otherwise the simpler order is.

    Args:
        documents: The training documents, length rows.
        keywords: The gold keywords of each, at least one, length rows.
        seed: Draws the rows of a large table on which weights are fitted, and the folds.
        encoder: Gives the best phrases of the learned order a second look, see `fit_meaning`; None: there is none.
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
    weights, intercept = fit_regression(tables, right, _C)
    named = dict(zip(WORD_FEATURES, weights.tolist(), strict=True))
    if len(order) < 2 * _FOLDS:
        return Words(counts.without_rare(), WordsRecord("tfidf", len(documents), None, None, named, intercept, rates))
    odds, best = [np.zeros(0)] * len(order), [np.zeros(0, dtype=np.int64)] * len(order)
    for fold in range(_FOLDS):
        others = [place for place in range(len(order)) if place % _FOLDS != fold]
        fitted, base = fit_regression([tables[place] for place in others], [right[place] for place in others], _C)
        for place in range(fold, len(order), _FOLDS):
            odds[place] = tables[place] @ fitted + base
            best[place] = np.argsort(-odds[place], kind="stable")[:LOOKED_AT]
    texts = [
        [next(iter(candidates[row][index].spellings)) for index in own_best]
        for row, own_best in zip(order, best, strict=True)
    ]
    learned = [own[:5] for own in texts]
    true = [keywords[row] for row in order]
    scores = [f1_at_5_by_paper(true, lists) for lists in (by_tfidf, learned)]
    difference = scores[1] - scores[0]
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    chosen = "learned" if difference.mean() > error else "tfidf"
    evidence = {"tfidf": float(scores[0].mean()), "learned": float(scores[1].mean())}
    record = WordsRecord(chosen, len(documents), evidence, error, named, intercept, rates)
    if encoder is not None and chosen == "learned":
        looked_at = [
            LookedAt(documents[row], texts[place], odds[place][best[place]], right[place][best[place]], keywords[row])
            for place, row in enumerate(order[:MEANING_ROWS])
        ]
        record = replace(record, meaning=fit_meaning(looked_at, encoder))
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
    encoder = open_encoder(recipe.encoder) if "encoder" in column.sources else None
    words = fit_words(documents, keywords, recipe.training.seed, encoder)
    words.save(folder)
    return [f"{name}: {words_in_words(words.record)}{'; no model is trained for it' if is_alone else ''}"]


def words_in_words(record: WordsRecord) -> str:
    """Describe the source, such as "phrases are ranked by their words, learned from 600 rows: F1@5 0.228, ..."."""
    if record.f1_at_5 is None or record.standard_error is None:
        return f"phrases are ranked by tf-idf: {record.rows:,} training rows are too few to learn from"
    learned, tfidf = record.f1_at_5["learned"], record.f1_at_5["tfidf"]
    numbers = f"cross-validated F1@5 {learned:.3f}, by tf-idf {tfidf:.3f}"
    if record.order == "learned":
        return f"phrases are ranked by their words, as learned from {record.rows:,} training rows: {numbers}" + (
            "" if record.meaning is None else f"; {_meaning_in_words(record.meaning)}"
        )
    return (
        f"phrases are ranked by tf-idf: the ranking that was learned from {record.rows:,} training rows is not better "
        f"by more than the standard error of {record.standard_error:.3f} ({numbers})"
    )


def _meaning_in_words(record: MeaningRecord) -> str:
    """Describe the second look, such as "the sentence encoder looks at the best 40 of a document again: F1@5 0.250"."""
    both, words = record.f1_at_5["encoder"], record.f1_at_5["words"]
    numbers = f"F1@5 {both:.3f}, without it {words:.3f} on {record.rows:,} of the rows"
    if record.is_used:
        return f"the sentence encoder looks at the best {LOOKED_AT} of a document again: {numbers}"
    error = f"the standard error of {record.standard_error:.3f}"
    return f"the sentence encoder is not used, since it adds less than {error} ({numbers})"


def _hit_rates(lists: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> list[float]:
    """Return the share of rows whose first, second, ... keyword is right, smoothed and never ascending."""
    hits = np.full(_RANKS, 0.5)
    for own, keywords in zip(gold, lists, strict=True):
        for place, form in enumerate(unique_keywords(keywords)[:_RANKS]):
            hits[place] += form in own
    return np.minimum.accumulate(hits / (len(gold) + 1)).tolist()  # type: ignore[no-any-return]
