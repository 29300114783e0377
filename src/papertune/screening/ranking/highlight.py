"""Where in a text the words stand that speak for and against a record."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from papertune.metrics.phrases import CJK_CHARACTER, stem
from papertune.screening.ranking.features import WORD

Part = tuple[str, int]


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
    signs = [0] * len(text)
    for word, share in sorted(words, key=lambda pair: abs(pair[1])):  # the strongest is painted last
        places = (
            _substrings(text, word)
            if CJK_CHARACTER.search(word)
            else _sequences(tokens, [normal(part) for part in word.split()])
        )
        for start, end in places:
            signs[start:end] = [1 if share > 0 else -1] * (end - start)
    return list(_parts(text, signs))


def _substrings(text: str, word: str) -> Iterator[tuple[int, int]]:
    """Return where characters stand; letters of other scripts among them must be lower case in the text too."""
    start = text.find(word)
    while start >= 0:
        yield start, start + len(word)
        start = text.find(word, start + 1)


def _sequences(tokens: Sequence[tuple[tuple[int, int], str]], wanted: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Return where tokens stand one after the other."""
    names = [name for _, name in tokens]
    for place in range(len(names) - len(wanted) + 1):
        if names[place : place + len(wanted)] == wanted:
            yield tokens[place][0][0], tokens[place + len(wanted) - 1][0][1]


def _parts(text: str, signs: Sequence[int]) -> Iterator[Part]:
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or signs[place] != signs[start]:
            yield text[start:place], signs[start]
            start = place
