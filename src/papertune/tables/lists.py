"""Lists in cells, as JSON, Python, numpy, databases and R write them.

These are `["a", "b"]`; `['a', 'b']`, `('a', 'b')`, `frozenset({'a', 'b'})`; `['a' 'b']`, `array(['a', 'b'])`;
`{"a",b}`; `c("a", "b")`; and `"a", "b"`.

A cell is text, so a list from JSON, Parquet or a data frame is its JSON text there (`cells.text_of`), and a cell that a
program has written as such a text means the same list.
"""

import json
import re
import sys
from collections.abc import Sequence

# At these a cell without brackets is split. With a strong sign in a cell, a weak one is part of an item.
STRONG_SIGNS = ";；؛﹔\u037e\n\r\v\f\x85\u2028\u2029"
WEAK_SIGNS = ",，、､،﹐﹑"
# At these only if the column shows that they separate (`kinds/separators.py`): the first are never part of a keyword.
CLEAR_SIGNS = "|｜¦•●▪‣◦\t\u3000"
UNCLEAR_SIGNS = "/／·・･∙⋅‧\\–—-"

_STRONG = re.compile(f"[{re.escape(STRONG_SIGNS)}]")
_ANY_SIGN = re.compile(f"[{re.escape(STRONG_SIGNS + WEAK_SIGNS + CLEAR_SIGNS + UNCLEAR_SIGNS)}]")

_CLOSING = {"[": "]", "{": "}", "(": ")"}
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
# An item: quoted, or bare as databases write it; what is between two items.
_ITEM = re.compile(rf"\s*(?:({_QUOTED})|([^'\"\[\]{{}},]*[^'\"\[\]{{}},\s]))", re.DOTALL)
_BETWEEN = re.compile(r"\s*(,)?\s*")
_BEGINS_WITH_QUOTE = re.compile(r"""[\[{]\s*(?:[\[{(]\s*)*['"]""")
_ENDS_AS_LIST = re.compile(r"""['"].*['"]\s*[\]}]""", re.DOTALL)
_QUOTED_ITEMS = re.compile(rf"\"(?:[^\"\\]|\\.)*\"|{_QUOTED}(?:\s*[,;]\s*{_QUOTED})+", re.DOTALL)
_NESTED = re.compile(r"\{\s*\{.*\}\s*,\s*\{.*\}\s*\}", re.DOTALL)
_BARE_ITEMS = re.compile(r"\[[^\[\]]*[,;，；、][^\[\]]*\]")
_BARE_VALUE = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|null|none|nan|na|true|false|<na>", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_PYTHON_ESCAPE = re.compile(r"\\(?:U([0-9a-fA-F]{8})|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
# A list as a call of Python, numpy or pandas, such as `array(['a', 'b'], dtype=object)`.
_CALL = re.compile(
    r"(?:(?:np|pd)\.)?(?:array|frozenset|set|list|tuple|deque|Index)\(\s*([\[{(].*[\]})])(?:\s*,\s*\w+=[^,()]*)*\s*\)",
    re.DOTALL,
)
_REMEDY = 'Write it as ["a", "b"], or the items with semicolons between them'


class ListError(ValueError):
    """A cell that looks like a list and cannot be read; the message is a clause without subject and full stop."""


def read_list(cell: str, *, numbers: bool = False) -> list[str] | None:
    """Return the items of a cell that is a list; None for any other text.

    A text that merely begins with a bracket, such as `[18F]FDG PET; tumours`, is no list.

    Args:
        cell: The cell.
        numbers: Whether an item may be a number without quotes.

    Raises:
        ListError: If the cell looks like a list, but its brackets or quotes are not closed, or an item is not text.
    """
    text = cell.strip()
    if text.endswith(")") and (call := _CALL.fullmatch(text)):
        text = call[1]
    if text[:1] not in ("[", "{", "(", "c", "'", '"') or len(text) < 2:
        return None
    if text.startswith("c("):
        text = text[1:]
    if text[0] in "'\"c":
        return None if text[0] == "c" else _quoted_items(text)
    if text[0] == "(":
        return _tuple_items(text)
    values = _json_values(text)
    if values is not None:
        return _checked(values, numbers=numbers)
    if _NESTED.fullmatch(text):
        raise _broken(text, text.index("{", 1), 1)
    if text[-1] != _CLOSING[text[0]] or _has_inner_brackets(text):
        if _BEGINS_WITH_QUOTE.match(text):
            return _scan(text, numbers=numbers)
        return None
    if text[0] == "{" or _BEGINS_WITH_QUOTE.match(text) or _BARE_VALUE.fullmatch(text[1:-1].strip()):
        return _scan(text, numbers=numbers)
    if _BARE_ITEMS.fullmatch(text):
        raise ListError(f"has the brackets of a list, but no quotes around its items. {_REMEDY}")
    return None


def cell_of(items: Sequence[str]) -> str:
    """Write items as a cell from which they are read again: `a; b` where that is clear, else a list in JSON."""
    text = "; ".join(items)
    has_sign = _ANY_SIGN.search(text) if len(items) == 1 else any(map(_STRONG.search, items))
    is_tidy = all(item and item == item.strip() for item in items)
    return text if is_tidy and not has_sign and not looks_like_list(text) else json.dumps(items, ensure_ascii=False)


def repeated_tag_cell(values: Sequence[str]) -> str:
    """Write the values of a repeated tag of RIS or PubMed as a cell: each is an item, whatever commas it has.

    A single value with a semicolon is a whole list that a program has written into one tag.
    """
    kept = [value.strip() for value in values if value.strip()]
    return kept[0] if len(kept) == 1 and _STRONG.search(kept[0]) else "" if not kept else cell_of(kept)


def looks_like_list(cell: str) -> bool:
    """Whether a cell is a list or a broken one."""
    try:
        return read_list(cell) is not None
    except ListError:
        return True


def shown_list(cell: str) -> str:
    """Return a list as people write it, `a; b`; any other cell, broken lists included, unchanged."""
    try:
        items = read_list(cell, numbers=True)
    except ListError:
        return cell
    return cell if items is None else "; ".join(items)


def _json_values(text: str) -> list[object] | None:
    """Return the values of a list in JSON; a whole object is a list with it; None if this is not JSON."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(values, list):
        return values
    return [] if values == {} else [values]


def _checked(values: Sequence[object], *, numbers: bool) -> list[str]:
    for place, value in enumerate(values, start=1):
        if not isinstance(value, str):
            _refuse(place, value, numbers=numbers)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    for place, text in enumerate(texts, start=1):
        _check_characters(place, text)
    return texts


def _refuse(place: int, value: object, *, numbers: bool) -> None:
    """Raise a ListError for a value of JSON that is not text, unless it is a number and may be one."""
    match value:
        case bool():
            what = json.dumps(value)
        case int() | float() if value == value:
            if numbers:
                return
            what = f"the number {value}"
        case list():
            what = "a list itself"
        case dict():
            what = "an object with keys"
        case _:
            what = "null"
    raise ListError(f"is a list whose item {place} is {what}. {_REMEDY}")


def _check_characters(place: int, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ListError(f"is a list whose item {place} has half of a surrogate pair. {_REMEDY}") from None


def _quoted_items(text: str) -> list[str] | None:
    """Return the items of `"a", "b"` or `"a"` without brackets; None for other text that begins with a quote."""
    if _QUOTED_ITEMS.fullmatch(text):
        return [_unescaped(quoted) for quoted in re.findall(_QUOTED, text, re.DOTALL)]
    if _ENDS_AS_LIST.fullmatch(text):
        raise ListError(f"ends like a list, but has no opening {'[' if text[-1] == ']' else '{'}. {_REMEDY}")
    return None


def _tuple_items(text: str) -> list[str] | None:
    """Return the items of `("a", "b")`; None for other text in parentheses."""
    if not text.endswith(")") or not re.match(r"\(\s*['\"]", text):
        return None
    try:
        return _scan(text, numbers=False)
    except ListError:
        return None


def _has_inner_brackets(text: str) -> bool:
    inner = re.sub(_QUOTED, "", text[1:-1])
    return any(bracket in inner for bracket in "[]{}")


def _scan(text: str, *, numbers: bool) -> list[str]:
    """Read a list that is not JSON, item by item.

    Raises:
        ListError: With the item or the character where it breaks.
    """
    closing = _CLOSING[text[0]]
    items: list[str] = []
    position = 1 + len(text[1:]) - len(text[1:].lstrip())
    is_separated = True
    while text[position : position + 1] != closing:
        match = _ITEM.match(text, position)
        if match is None or not is_separated:
            raise _broken(text, position, len(items) + 1)
        bare = match[2]
        if bare is not None and (text[0] != "{" or _BARE_VALUE.fullmatch(bare)):
            if not _BARE_VALUE.fullmatch(bare):
                raise _broken(text, match.start(2), len(items) + 1)
            if not (numbers and _NUMBER.fullmatch(bare)):
                what = f"the number {bare}" if _NUMBER.fullmatch(bare) else bare
                raise ListError(f"is a list whose item {len(items) + 1} is {what}. {_REMEDY}")
        items.append(bare if bare is not None else _unescaped(match[1]))
        _check_characters(len(items), items[-1])
        between = _BETWEEN.match(text, match.end())
        assert between  # it also matches the empty string
        # numpy has blanks between items; two quotes without any are a quote within an item that should be escaped.
        is_separated = between[1] is not None or between.end() > match.end()
        position = between.end()
    if position != len(text) - 1:
        raise _broken(text, position + 1, len(items) + 1)
    return items


def _broken(text: str, position: int, item: int) -> ListError:
    rest = text[position : position + 1]
    if not rest:
        return ListError(f"begins like a list, but has no closing {_CLOSING[text[0]]}. {_REMEDY}")
    if rest in "[{(":
        return ListError(f"is a list whose item {item} is a list or an object itself. {_REMEDY}")
    if rest in "'\"" and not re.match(_QUOTED, text[position:], re.DOTALL):
        return ListError(f"begins like a list, but the quote at character {position + 1} is not closed. {_REMEDY}")
    return ListError(f"begins like a list, but breaks at character {position + 1}. {_REMEDY}")


def _unescaped(quoted: str) -> str:
    if quoted[0] == '"':
        try:
            return str(json.loads(quoted, strict=False))
        except ValueError:
            pass
    return _PYTHON_ESCAPE.sub(_escaped_character, quoted[1:-1])


def _escaped_character(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    return _ESCAPED.get(match[4], match[4]) if code is None else chr(min(int(code, 16), sys.maxunicode))
