"""Scoring only those phrases of a document that may be among its chosen keywords.

A ranking knows all features of a phrase but its log-probability before the phrase goes through the model, and the
log-probability is at most that of the first token, which the pass of the prompt has given. So every phrase has a score
that it cannot exceed. Phrases are scored from the highest of these bounds down, until no other one can reach the
keywords that would be chosen (branch and bound: Land and Doig 1960, doi:10.2307/1910129). The choice stays the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from papertune.kinds.keywords.ranked.ranking import FoundKeyword, KeywordChoice, distinct

# Tokens of phrases that are scored together, unless there are fewer: enough for products at full speed.
ROUND_TOKENS = 96
# Two passes over the same tokens may differ by this much.
_ROUNDING = 1e-4


def score_possible_keywords(
    choice: KeywordChoice,
    count: int,
    generated: Sequence[FoundKeyword],
    phrases: Sequence[tuple[FoundKeyword, Sequence[int]]],
    score: Callable[[list[Sequence[int]]], Sequence[float]],
) -> list[FoundKeyword]:
    """Return keywords of a document, at least those that are chosen.

    Args:
        choice: The ranking; it has weights.
        count: Number of keywords to choose.
        generated: Keywords that search has found.
        phrases: Spellings of phrases with their token ids; each has the log-probability of its first token.
        score: Returns the log-probability of each spelling, given their token ids.
    """
    places: dict[str, list[int]] = {}  # of the spellings of each form
    bounds: dict[str, float] = {}
    for place, bound in enumerate(choice.highest_scores([keyword for keyword, _ in phrases]).tolist()):
        form = phrases[place][0].form
        places.setdefault(form, []).append(place)
        bounds[form] = max(bounds.get(form, bound), bound)
    # With the form of a phrase: which spelling is written depends on the log-probabilities of all.
    spelt_too = [keyword for keyword in generated if keyword.form in bounds]
    for keyword, own in zip(spelt_too, choice.scores(spelt_too).tolist(), strict=True):
        bounds[keyword.form] = max(bounds[keyword.form], own)
    known = [keyword for keyword in generated if keyword.form not in bounds]
    scored: dict[int, FoundKeyword] = {}
    left = sorted(bounds, key=lambda form: -bounds[form])
    while left:
        least = choice.least_chosen(distinct(known), count) - _ROUNDING
        left = [form for form in left if not bounds[form] < least]
        taken = _first(left, {form: sum(len(phrases[place][1]) for place in places[form]) for form in left})
        left = left[len(taken) :]
        together = [place for form in taken for place in places[form]]
        logs = score([phrases[place][1] for place in together]) if together else []
        for place, log in zip(together, logs, strict=True):
            scored[place] = replace(phrases[place][0], log_probability=log)
        known = [scored[place] for place in sorted(scored)]
        known += (keyword for keyword in generated if keyword.form not in left)
    return known


def _first(forms: Sequence[str], tokens: Mapping[str, int]) -> Sequence[str]:
    """Return the first forms that together have `ROUND_TOKENS` tokens, or all."""
    total = 0
    for place, form in enumerate(forms, start=1):
        total += tokens[form]
        if total >= ROUND_TOKENS:
            return forms[:place]
    return forms
