"""Keyword cells: from text to a clean list, and back."""

import re
from collections.abc import Iterable, Sequence

# Between keywords in texts for which no recipe has a separator.
SEPARATOR = "; "

_STRONG = re.compile(r"[;；\n]")
_WEAK = re.compile(r"[,，、]")


def split_keywords(text: str) -> list[str]:
    """Split a cell at `;`, `；` and line breaks, or at commas if it has none of these, and clean the keywords.

    Returns:
        The keywords in order, trimmed, without a full stop at the end, each once (case is ignored).
    """
    return clean_keywords((_STRONG if _STRONG.search(text) else _WEAK).split(text))


def clean_keywords(keywords: Iterable[str]) -> list[str]:
    """Trim keywords, remove trailing full stops, and drop empty and repeated ones (case is ignored)."""
    seen: dict[str, str] = {}
    for keyword in keywords:
        clean = " ".join(keyword.split())
        bare = clean.rstrip(".。 ")
        with_stop = clean[: len(bare) + 1]
        clean = with_stop if _is_abbreviation(with_stop) else bare
        if clean:
            seen.setdefault(clean.casefold(), clean)
    return list(seen.values())


def _is_abbreviation(keyword: str) -> bool:
    # "U.S.": the full stop belongs to the word if there is another one two characters before it.
    return re.search(r"(^|[\s.])\w\.\w\.$", keyword[-5:]) is not None


def join_keywords(keywords: Iterable[str], separator: str) -> str:
    """Write keywords as one text."""
    return separator.join(keywords)


def keywords_as_text(keywords: Sequence[str]) -> str:
    """Write keywords as text from which `split_keywords` reads the same keywords; none may contain a `;`."""
    text = join_keywords(keywords, SEPARATOR)
    # A single keyword with a comma would be split.
    return f"{text};" if len(keywords) == 1 and _WEAK.search(text) else text
