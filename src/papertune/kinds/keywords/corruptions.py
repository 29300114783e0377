"""Lists of keywords that are worse than the authors' own, in known ways."""

from collections.abc import Sequence
from random import Random

from papertune.kinds.keywords.ranked.candidates import find_candidates
from papertune.metrics.phrases import CJK_CHARACTER, normalise_keyword


def corrupt(
    keywords: Sequence[str], text: str, others: Sequence[Sequence[str]], generator: Random
) -> dict[str, list[str]]:
    """Return worse lists by tier.

    Args:
        keywords: The right list, each keyword once.
        text: The text of the paper.
        others: Lists of other papers, in random order.
        generator: Chooses the keywords that change.

    Returns:
        "other-paper": the first of `others`. "half-swapped", "one-swapped": keywords of other papers in the place of
        half of the list (rounded down) or of one keyword. "from-text": phrases of the text in the place of half of the
        list, at least of one keyword. "repeated": one keyword again in the place of another. "cut-short": the first
        half of the list (rounded up). A tier for which the list is too short is left out, and half of two or three
        keywords is one.
    """
    own = {keyword.casefold() for keyword in keywords}
    foreign = {keyword.casefold(): keyword for other in others for keyword in other}
    strange = [keyword for key, keyword in foreign.items() if key not in own]
    order = _shuffled(keywords, generator)
    half = len(keywords) // 2
    tiers: dict[str, list[str]] = {}
    if others:
        tiers["other-paper"] = list(others[0])
    for tier, count in (("half-swapped", half if half > 1 else 0), ("one-swapped", min(half, 1))):
        if 0 < count <= len(strange):
            tiers[tier] = _replaced(keywords, dict(zip(order[:count], strange, strict=False)))
    replaced = order[: max(half, 1)]
    phrases = _phrases(keywords, [keywords[place] for place in replaced], text, generator)
    if len(phrases) == len(replaced):
        tiers["from-text"] = _replaced(keywords, dict(zip(replaced, phrases, strict=True)))
    if half:
        tiers["repeated"] = _replaced(keywords, {order[0]: keywords[order[1]]})
        tiers["cut-short"] = list(keywords[: len(keywords) - half])
    return tiers


def _phrases(keywords: Sequence[str], replaced: Sequence[str], text: str, generator: Random) -> list[str]:
    """Choose phrases of a text that have nothing to do with its keywords, as long as those that they replace."""
    own = [form for form in map(normalise_keyword, keywords) if form]
    found = [
        each
        for each in find_candidates(text)
        if not any(_is_within(each.form, form) or _is_within(form, each.form) for form in own)
    ]
    candidates = [found[place] for place in _shuffled(found, generator)]
    chosen: list[str] = []
    for keyword in replaced:
        if not candidates:
            break
        length = len(keyword.split())
        best = min(candidates, key=lambda each: abs(len(next(iter(each.spellings)).split()) - length))
        candidates.remove(best)
        chosen.append(next(iter(best.spellings)))
    return chosen


def _is_within(short: str, long: str) -> bool:
    """Whether a phrase is a part of another one, both as `normalise_keyword` writes them."""
    return short in long if CJK_CHARACTER.search(short) else f" {short} " in f" {long} "


def _shuffled(items: Sequence[object], generator: Random) -> list[int]:
    """Return the places of items in random order; only random() promises the same numbers in every Python."""
    return sorted(range(len(items)), key=[generator.random() for _ in items].__getitem__)


def _replaced(keywords: Sequence[str], changes: dict[int, str]) -> list[str]:
    return [changes.get(place, keyword) for place, keyword in enumerate(keywords)]
