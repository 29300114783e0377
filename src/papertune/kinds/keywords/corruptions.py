"""Lists of keywords that are worse than the authors' own, in known ways."""

from collections.abc import Sequence
from random import Random


def corrupt(keywords: Sequence[str], others: Sequence[Sequence[str]], generator: Random) -> dict[str, list[str]]:
    """Return worse lists by tier, from the easiest to recognise to the hardest.

    Args:
        keywords: The right list, each keyword once.
        others: Lists of other papers, in random order.
        generator: Chooses the keywords that change.

    Returns:
        "other-paper": the first of `others`. "half-swapped", "one-swapped": keywords of other papers in the place of
        half of the list (rounded down) or of one keyword. "repeated": one keyword again in the place of another.
        "cut-short": the first half of the list (rounded up). A tier for which the list is too short is left out, and
        half of two or three keywords is one.
    """
    own = {keyword.casefold() for keyword in keywords}
    foreign = {keyword.casefold(): keyword for other in others for keyword in other}
    strange = [keyword for key, keyword in foreign.items() if key not in own]
    order = sorted(range(len(keywords)), key=[generator.random() for _ in keywords].__getitem__)
    half = len(keywords) // 2
    tiers: dict[str, list[str]] = {}
    if others:
        tiers["other-paper"] = list(others[0])
    for tier, count in (("half-swapped", half if half > 1 else 0), ("one-swapped", min(half, 1))):
        if 0 < count <= len(strange):
            tiers[tier] = _replaced(keywords, dict(zip(order[:count], strange, strict=False)))
    if half:
        tiers["repeated"] = _replaced(keywords, {order[0]: keywords[order[1]]})
        tiers["cut-short"] = list(keywords[: len(keywords) - half])
    return tiers


def _replaced(keywords: Sequence[str], changes: dict[int, str]) -> list[str]:
    return [changes.get(place, keyword) for place, keyword in enumerate(keywords)]
