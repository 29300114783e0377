"""Features of the phrases of a document that need no trained model.

They are those of KEA (Witten et al. 1999, arXiv:cs/9902007), with its keyphraseness: how often a phrase is a keyword of
the training table. Since most phrases are new, the same is counted for their words, for the endings of their first and
last word, and for the words beside them, which take the place of a part-of-speech tagger (Hulth 2003, W03-1028).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.keywords.by_words.counts import (
    AFTER,
    BEFORE,
    END,
    FIRST,
    LAST,
    NGRAM,
    PHRASE,
    START,
    WORD,
    Counts,
    count_once,
)
from papertune.kinds.keywords.ranked.candidates import Candidate, stop_words
from papertune.metrics.phrases import CJK_CHARACTER, normalise_keyword

# The features, in the order of `word_features`.
WORD_FEATURES = (
    "log_occurrences",
    "log_place",
    "relative_place",
    "in_first_line",
    "one_word",
    "two_words",
    "three_words",
    "characters_if_cjk",
    "log_length",
    "log_longer",
    "longest_in_first_line",
    "begins_at_boundary",
    "ends_at_boundary",
    "whole_run",
    "never_begins_at_boundary",
    "never_ends_at_boundary",
    "has_function_word",
    "has_capital_inside",
    "has_digit",
    "has_several_spellings",
    "mean_word_occurrences",
    "fewest_word_occurrences",
    "most_word_occurrences",
    "share_of_rarest_word",
    "share_of_most_frequent_word",
    "words_in_first_line",
    "last_word_in_first_line",
    "log_first_place_of_words",
    "log_tfidf",
    "log_tfidf_rank",
    "rareness",
    "is_new",
    "rarest_word",
    "most_frequent_word",
    "log_times_keyword",
    "keyword_rate",
    "mean_word_rate",
    "lowest_word_rate",
    "highest_word_rate",
    "sum_word_rate",
    "first_word_rate",
    "last_word_rate",
    "first_ending_rate",
    "last_ending_rate",
    "word_before_rate",
    "word_after_rate",
    "class_before_rate",
    "class_after_rate",
)

# Letters of an ending.
_ENDING = 3


def words_of(form: str) -> list[str]:
    """Return the stems of a form, or its characters if it has no blanks because it is Chinese."""
    return list(form) if CJK_CHARACTER.search(form) else form.split()


def document_counts(candidates: Sequence[Candidate], ngrams: Sequence[str], keywords: Sequence[str]) -> Counts:
    """Count what one training row adds.

    Args:
        candidates: The candidates of the document.
        ngrams: Forms of its n-grams, of which only the occurrence is counted.
        keywords: Forms of its keywords.
    """
    gold = set(keywords)
    words = {word for each in candidates for word in words_of(each.form)}
    parts = [words_of(form) for form in gold]
    seen = count_once(PHRASE, (each.form for each in candidates)) + count_once(NGRAM, ngrams)
    right = count_once(PHRASE, gold)
    for kind in (WORD, FIRST, LAST):
        seen += count_once(kind, words)
    right += count_once(WORD, (word for part in parts for word in part))
    right += count_once(FIRST, (part[0] for part in parts)) + count_once(LAST, (part[-1] for part in parts))
    for each in candidates:
        keys = (*_ending_keys(each), *_class_keys(each))
        seen.update(keys)
        if each.form in gold:
            right.update(keys)
    return Counts.of(seen, right)


def word_features(candidates: Sequence[Candidate], counts: Counts, own: Counts | None = None) -> NDArray[np.float64]:
    """Return the features of a document's candidates.

    Args:
        candidates: All candidates of the document.
        counts: Counts of the training rows.
        own: The document's own counts, if it is a training row: they are left out.

    Returns:
        Float64, shape (candidates, features); the features are `WORD_FEATURES`.
    """
    if not candidates:
        return np.zeros((0, len(WORD_FEATURES)))
    documents = counts.documents - (own is not None)
    words = {each.form: words_of(each.form) for each in candidates}
    beside = [(_content_word(_most(each.before)), _content_word(_most(each.after))) for each in candidates]
    names = [PHRASE + each.form for each in candidates]
    names += [kind + word for row in words.values() for word in row for kind in (WORD, FIRST, LAST)]
    names += [WORD + word for pair in beside for word in pair if word]
    names += [key for each in candidates for key in (*_ending_keys(each), *_class_keys(each))]
    found = counts.lookup(names, own)
    shapes = _shape_features(candidates)
    frequencies = [
        _frequency_features(each, words[each.form], pair, found, documents)
        for each, pair in zip(candidates, beside, strict=True)
    ]
    scores = _tfidf(candidates, [row[0] for row in frequencies])
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    tfidf = np.stack([scores - scores.max(), np.log1p(ranks)], axis=1)
    return np.concatenate([np.array(shapes), tfidf, np.array(frequencies)], axis=1)


def _shape_features(candidates: Sequence[Candidate]) -> list[tuple[float, ...]]:
    """Return the features that need the document alone."""
    cjk = [CJK_CHARACTER.search(each.form) is not None for each in candidates]
    padded = [each.form if is_cjk else f" {each.form} " for each, is_cjk in zip(candidates, cjk, strict=True)]
    together = "\n".join(padded)
    last = max(each.place for each in candidates) + 1
    functions = stop_words()
    singles = {each.form: each for each in candidates if len(each.units) == 1}
    rows: list[tuple[float, ...]] = []
    for each, own, is_cjk in zip(candidates, padded, cjk, strict=True):
        size = len(each.units)
        longer = together.count(own) - 1
        left = sum(map(_is_boundary, each.before)) / each.occurrences
        right = sum(map(_is_boundary, each.after)) / each.occurrences
        text = next(iter(each.spellings))
        rows.append(
            (
                math.log(each.occurrences),
                math.log1p(each.place),
                each.place / last,
                each.in_first_line,
                size == 1,
                size == 2,
                size == 3,
                size if is_cjk else 0,
                math.log(len(each.form)),
                math.log1p(longer),
                each.in_first_line and longer == 0,
                left,
                right,
                left * right,
                left == 0,
                right == 0,
                any(unit in functions for unit in each.units),
                any(map(str.isupper, text[1:])),
                any(map(str.isdigit, text)),
                len(each.spellings) > 1,
                *_occurrences_of_words(each, [singles.get(word, each) for word in words_of(each.form)]),
            )
        )
    return rows


def _occurrences_of_words(candidate: Candidate, words: Sequence[Candidate]) -> tuple[float, ...]:
    """Return the features of where and how often the words of a candidate occur in the document.

    Args:
        candidate: The candidate.
        words: Each of its words as a candidate of its own; the candidate itself for a word that is none.
    """
    logs = [math.log(each.occurrences) for each in words]
    own = math.log(candidate.occurrences)
    return (
        sum(logs) / len(logs),
        min(logs),
        max(logs),
        own - min(logs),
        own - max(logs),
        sum(each.in_first_line for each in words) / len(words),
        words[-1].in_first_line,
        math.log1p(min(each.place for each in words)),
    )


def _frequency_features(
    candidate: Candidate,
    words: Sequence[str],
    beside: tuple[str, str],
    found: Mapping[str, tuple[int, int]],
    documents: int,
) -> tuple[float, ...]:
    """Return the features of a candidate that come from counts, but for those of tf-idf."""
    seen, right = found[PHRASE + candidate.form]
    rareness = [math.log((documents + 1) / max(1, found[WORD + word][0])) for word in words]
    rates = [_rate(found[WORD + word]) for word in words]
    return (
        math.log((documents + 1) / max(1, seen)),
        seen == 0,
        max(rareness),
        min(rareness),
        math.log1p(right),
        _rate((seen, right)),
        sum(rates) / len(rates),
        min(rates),
        max(rates),
        sum(rates),
        _rate(found[FIRST + words[0]]),
        _rate(found[LAST + words[-1]]),
        *(_rate(found[key]) for key in _ending_keys(candidate)),
        *(_rate(found[WORD + word]) if word else 0.0 for word in beside),
        *(_rate(found[key]) for key in _class_keys(candidate)),
    )


def _rate(counts: tuple[int, int]) -> float:
    """Return the logarithm of the share of occurrences that are keywords, smoothed."""
    seen, right = counts
    return math.log((right + 0.1) / (seen + 1))


def _tfidf(candidates: Sequence[Candidate], rareness: Sequence[float]) -> NDArray[np.float64]:
    """Return the logarithm of the score of `tfidf.best_ngrams` for each candidate."""
    last = max(each.place for each in candidates) + 1
    scores = [
        each.occurrences * max(rare, 0.01) * math.sqrt(len(each.units)) * (1 + 2 * (1 - each.place / last))
        for each, rare in zip(candidates, rareness, strict=True)
    ]
    return np.log(np.array(scores, dtype=np.float64))


def _most(units: Sequence[str]) -> str:
    """Return the most frequent unit, the first of several."""
    return Counter(units).most_common(1)[0][0]


def _is_boundary(unit: str) -> bool:
    return not unit or unit in stop_words()


def _content_word(unit: str) -> str:
    """Return the form of a word beside a candidate; "" for a function word or a boundary."""
    return "" if _is_boundary(unit) else normalise_keyword(unit)


def _ending_keys(candidate: Candidate) -> tuple[str, str]:
    """Return the keys of the endings of the first and the last word."""
    first, last = candidate.units[0], candidate.units[-1]
    size = min(len(candidate.units), _ENDING)
    return f"{START}{first[-_ENDING:]}", f"{END}{size}{last[-_ENDING:]}"


def _class_keys(candidate: Candidate) -> tuple[str, str]:
    """Return the keys of what stands before and after: a function word itself, the ending of another word."""
    return f"{BEFORE}{_class(_most(candidate.before))}", f"{AFTER}{_class(_most(candidate.after))}"


def _class(unit: str) -> str:
    if _is_boundary(unit):
        return unit
    return "#" if unit[0].isdigit() else f"~{unit[-_ENDING:]}"
