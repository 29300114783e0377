"""Keyword cells: from a table's or a model's text to a clean list, and back."""

import re
from collections.abc import Iterable, Sequence

# Between keywords in our own texts, where no recipe says what stands there.
KEYWORDS_APART = "; "

_STRONG = re.compile(r"[;；\n]")
_WEAK = re.compile(r"[,，、]")


def split_keywords(text: str) -> list[str]:
    """Split a cell at `;` and `；` or, where there is none, at commas, and clean it.

    Returns:
        The keywords in order, trimmed, without a full stop at the end, each once without regard to case.
    """
    return clean_keywords((_STRONG if _STRONG.search(text) else _WEAK).split(text))


def clean_keywords(keywords: Iterable[str]) -> list[str]:
    """Trim keywords, take trailing full stops off, and drop empty and repeated ones (without regard to case)."""
    seen: dict[str, str] = {}
    for keyword in keywords:
        clean = " ".join(keyword.split())
        while clean.endswith((".", "。")) and not _is_abbreviation(clean):
            clean = clean[:-1].rstrip()
        if clean:
            seen.setdefault(clean.casefold(), clean)
    return list(seen.values())


def _is_abbreviation(keyword: str) -> bool:
    # "U.S.": the stop belongs to the word when another stands two characters before it.
    return re.search(r"(^|[\s.])\w\.\w\.$", keyword) is not None


def join_keywords(keywords: Iterable[str], separator: str) -> str:
    """Write keywords as one text."""
    return separator.join(keywords)


def keywords_as_text(keywords: Sequence[str]) -> str:
    """Write keywords as the text that `split_keywords` reads the same keywords from; none may have a `;` in it."""
    text = join_keywords(keywords, KEYWORDS_APART)
    # A comma in the only keyword would part it.
    return f"{text};" if len(keywords) == 1 and _WEAK.search(text) else text
