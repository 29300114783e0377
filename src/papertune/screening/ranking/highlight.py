"""Where in a text the words stand that speak for and against a record."""

import re
from collections.abc import Callable, Iterable, Iterator

from papertune.metrics.phrases import CJK_CHARACTER, stem
from papertune.screening.ranking.features import WORD

Part = tuple[str, int]

# What a character speaks for, a byte each; a run of equal bytes is a part.
_FOR, _AGAINST = b"+", b"-"
_SIGNS = {b"\0": 0, _FOR: 1, _AGAINST: -1}
_RUN = re.compile(rb"(.)\1*", re.DOTALL)


def highlight(text: str, words: Iterable[tuple[str, float]], *, stemmed: bool) -> list[Part]:
    """Cut a text into parts, by what they speak for.

    Args:
        text: A title or an abstract.
        words: Words and word pairs with their shares of the score, as `Ranking.words` returns them.
        stemmed: Whether another form of a word stands for it too.

    Returns:
        (part of the text, 1 if it speaks for the record, -1 if against it, else 0); the parts together are the text.
        Where several words overlap, the strongest counts.
    """
    normal: Callable[[str], str] = stem if stemmed else str
    tokens = [(match.span(), normal(match.group().lower())) for match in WORD.finditer(text)]
    names = [name for _, name in tokens]
    known: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        known.setdefault(name, []).append(place)
    signs = bytearray(len(text))
    for word, share in sorted(words, key=lambda pair: abs(pair[1])):  # the strongest is painted last
        if CJK_CHARACTER.search(word):
            spans = _substrings(text, word)
        else:
            parts = [normal(part) for part in word.split()]
            places = (place for place in known.get(parts[0], ()) if names[place : place + len(parts)] == parts)
            spans = ((tokens[place][0][0], tokens[place + len(parts) - 1][0][1]) for place in places)
        for start, end in spans:
            signs[start:end] = (_FOR if share > 0 else _AGAINST) * (end - start)
    return [(text[run.start() : run.end()], _SIGNS[run.group()[:1]]) for run in _RUN.finditer(bytes(signs))]


def _substrings(text: str, word: str) -> Iterator[tuple[int, int]]:
    """Return where characters stand; letters of other scripts among them must be lower case in the text too."""
    start = text.find(word)
    while start >= 0:
        yield start, start + len(word)
        start = text.find(word, start + 1)
