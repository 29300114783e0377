"""Keyword cells: from text to a clean list, and back."""

import json
import re
from collections.abc import Callable, Iterable, Sequence

from papertune.kinds.separators import separator_pattern, text_items
from papertune.tables.lists import ListError, read_list
from papertune.tables.marks import is_placeholder, without_asterisks, without_markup

# Between keywords in texts for which no recipe has a separator.
SEPARATOR = "; "

_HEADING = re.compile(
    r"\A\s*(?:(?:author(?:['’]?s['’]?)?\s+)?key\s?-?words?(?: and phrases)?|index\s+terms|关键[词字]|關鍵[詞字]|"
    r"キーワード|palabras\s+clave|palavras-chave|mots[\s-]+clés|schlüsselwörter)\s*[:：—]\s*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\A\s*(?:[•●▪◦‣]\s*|[·–—-]\s+)")
_NUMBERED = re.compile(r"\s*\(?(\d{1,2})[.)]\s+(\S.*)", re.DOTALL)
_STRONG = re.compile(r"[;；\n]")
_WEAK = re.compile(r"[,，、]")


def read_keywords(cell: str, separator: str | None = None) -> list[str]:
    """Return the keywords of a table's cell, without the marks of its source.

    The items of a list are keywords whatever signs they have. Any other text is split; so is a broken list, which a
    check of the table has reported.

    Args:
        cell: The cell.
        separator: The column's `input_separator`; it splits the items of a list, too.
    """
    try:
        items = read_list(cell)
    except ListError:
        items = None
    if items is None:
        parts = _text_parts(cell, separator)
    else:
        parts = [without_markup(item) for item in items]
        if separator is not None:
            parts = [part for item in parts for part in separator_pattern(separator).split(item)]
    return clean_keywords(map(without_asterisks, parts))


def _text_parts(cell: str, separator: str | None) -> list[str]:
    """Split a cell of text, without a heading, bullets or numbers before its keywords."""
    text = _HEADING.sub("", cell)
    if is_placeholder(text) or text.strip(" .;[]()").casefold() == "none":
        return []
    parts = [_BULLET.sub("", part) for part in text_items(text, separator)]
    numbered = [match for part in parts if part.strip() and (match := _NUMBERED.fullmatch(part))]
    count = sum(map(bool, map(str.strip, parts)))
    if count > 1 and [match[1] for match in numbered] == [str(number) for number in range(1, count + 1)]:
        return [match[2] for match in numbered]
    return parts


def split_keywords(text: str) -> list[str]:
    """Split a text that papertune or a model has written.

    It is split at `;`, `；` and line breaks, or at commas if it has none of these; or it is a list in JSON.

    Returns:
        The keywords in order, trimmed, without a full stop at the end, each once (case is ignored).
    """
    if text.startswith('["') and text.endswith('"]'):
        try:
            return clean_keywords(read_list(text) or ())
        except ListError:
            pass
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


def read_keyword_cell(cell: str, separator: str) -> list[str]:
    """Return the keywords of a cell that `keyword_cell` has written, which is also split at semicolons or commas."""
    return split_keywords(_unified(cell, separator))


def keyword_cell(keywords: Sequence[str], separator: str) -> str:
    """Write keywords as a cell of an output table, from which `read_keyword_cell` reads the same keywords."""

    def is_clear(text: str) -> bool:
        unified = _unified(text, separator)
        # As a gold cell it has as many keywords; one that a model has written may be tidied, such as `*Asthma`.
        return split_keywords(unified) == list(keywords) and len(read_keywords(unified)) == len(keywords)

    return _first_clear(keywords, separator, is_clear)


def keywords_as_text(keywords: Sequence[str], separator: str = SEPARATOR) -> str:
    """Write keywords as an answer, from which `split_keywords` and `read_keywords` read the same keywords.

    A list in which one is repeated, as a bad answer may be, is written as it is.
    """
    if len({keyword.casefold() for keyword in keywords}) < len(keywords):
        return separator.join(keywords)
    return _first_clear(keywords, separator, lambda text: split_keywords(text) == read_keywords(text) == list(keywords))


def _unified(cell: str, separator: str) -> str:
    is_list = cell.startswith('["') and cell.endswith('"]')
    return cell if is_list else cell.replace(separator, SEPARATOR)


def _first_clear(keywords: Sequence[str], separator: str, is_clear: Callable[[str], bool]) -> str:
    """Write keywords with a separator if they can be read again, else as a list in JSON.

    Behind a single keyword with a comma there is a semicolon, which says that the comma does not separate.
    """
    text = separator.join(keywords)
    clear = (each for each in (text, f"{text};") if is_clear(each))
    return next(clear, json.dumps(keywords, ensure_ascii=False))
