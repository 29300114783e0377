"""The first and the last sentence of a document, in English, Chinese and most other languages.

A sentence ends at a line break, at a Chinese full stop, question or exclamation mark, or at `.`, `!` or `?` before a
blank and anything but a lower-case letter. Initials and the abbreviations of scientific prose end no sentence.
"""

import re
from collections.abc import Sequence

_ABBREVIATIONS = {"e.g.", "i.e.", "al.", "cf.", "vs.", "fig.", "figs.", "eq.", "eqs.", "no.", "vol.", "ca.", "st."}
_TITLES = {"dr.", "prof.", "mr.", "mrs.", "ms."}
# Marks that end a sentence, with the quotes and brackets that close behind them.
_END = re.compile(r"[。！？][”’」』）】]*|[.!?]+[\"'”’)\]]*(?=\s+[^\sa-z])|\n+")
_LAST_WORD = re.compile(r"\S+$")
_INITIAL = re.compile(r"(?:[^\W\d_]\.)+$")


def sentences(text: str) -> list[str]:
    """Split a text into sentences, trimmed; empty ones are dropped."""
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if match.group().startswith(".") and _is_abbreviation(text[start : match.end()]):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    return [sentence for sentence in [*found, text[start:].strip()] if sentence]


def first_sentence(text: str) -> str:
    """Return the first sentence of a text; "" if it has none."""
    return next(iter(sentences(text)), "")


def last_sentence(text: str) -> str:
    """Return the last sentence of a text; "" if it has none."""
    return (sentences(text) or [""])[-1]


def without_shared_beginning(documents: Sequence[str], all_documents: Sequence[str]) -> list[str]:
    """Return documents without the words that the recipe's template puts before each, such as `abstract: `.

    Args:
        documents: The documents.
        all_documents: More than one document of the same template; what they all begin with is the template's, as far
            as a colon or a line break ends it.
    """
    # A beginning that the first and the last in alphabetical order share is shared by all.
    first, last = min(all_documents), max(all_documents)
    if first == last:
        return list(documents)
    differing = (place for place, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1)
    shared = first[: next(differing, len(first))]
    end = max(shared.rfind(mark) for mark in (":", "：", "\n")) + 1
    return [document[end:].lstrip() for document in documents]


def _is_abbreviation(text: str) -> bool:
    word = _LAST_WORD.search(text)
    if word is None:
        return False
    bare = word.group().lstrip("(\"'“‘[").casefold()
    return bare in _ABBREVIATIONS | _TITLES or _INITIAL.fullmatch(bare) is not None
