"""Texts that are worse answers than the right one, in known ways."""

from collections.abc import Sequence

from papertune.kinds.text.sentences import sentences
from papertune.metrics.phrases import is_mostly_cjk

# Half of a shorter text says nothing, or says it well.
_MIN_PARTS = 4


def corrupt(answer: str, text: str, others: Sequence[str], empty: str) -> dict[str, str]:
    """Return worse answers by tier.

    Args:
        answer: The right answer; "" if nothing is stated.
        text: The text of the paper.
        others: Right answers of other papers, in random order.
        empty: The answer that means that nothing is stated; "" without one.

    Returns:
        "other-paper": the first of `others`. "from-text": the sentence of the text that has the fewest words in common
        with the answer. "not-stated": `empty`, though something is stated. "repeated": the first half of the answer,
        twice. "cut-short": that half. Halves are of words, or of characters in Chinese, Japanese and Korean; a text of
        fewer than four has none.
    """
    tiers = {"other-paper": others[0]} if others else {}
    parts = _parts(answer)
    if found := sentences(text):
        tiers["from-text"] = min(found, key=lambda sentence: len({*_parts(sentence)} & {*parts}))
    if empty and answer:
        tiers["not-stated"] = empty
    if len(parts) >= _MIN_PARTS:
        between = "" if is_mostly_cjk([answer]) else " "
        half = between.join(parts[: len(parts) // 2]).strip()
        tiers["repeated"] = f"{half}{between}{half}"
        tiers["cut-short"] = half
    return tiers


def _parts(text: str) -> list[str]:
    """Return the words of a text, or its characters where these are Chinese, Japanese or Korean."""
    return list(text.strip()) if is_mostly_cjk([text]) else text.split()
