"""Document templates: text with column names in braces, and nothing else.

`str.format` would also follow attributes and indexes (`{title.__class__}`), so the few rules are written out here. A
name with braces, or with blanks around it, stands in quotes: `{"Title {EN}"}`.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PIECE = re.compile(rf"\{{\{{|\}}\}}|\{{\s*({_QUOTED})\s*\}}|\{{([^{{}}]*)\}}|[^{{}}]+|[{{}}]", re.DOTALL)


class TemplatePart(NamedTuple):
    """Plain text, or the name of a column."""

    text: str
    is_column: bool


@lru_cache
def parse_template(template: str) -> tuple[TemplatePart, ...]:
    """Split a template at its column names; `{{` and `}}` stand for the braces themselves.

    Raises:
        ValueError: If a brace is alone, a name is empty, or a name in quotes is not valid JSON.
    """
    parts: list[TemplatePart] = []
    for match in _PIECE.finditer(template):
        piece, quoted, plain = match.group(0, 1, 2)
        if quoted is not None or plain is not None:
            name = plain.strip() if quoted is None else _unquoted(quoted)
            if not name:
                raise ValueError("has {} without a column name")
            parts.append(TemplatePart(name, is_column=True))
        elif piece in ("{", "}"):
            raise ValueError(f'has a lone "{piece}" at character {match.start() + 1}; write "{piece * 2}" for a brace')
        else:
            parts.append(TemplatePart({"{{": "{", "}}": "}"}.get(piece, piece), is_column=False))
    return tuple(parts)


def _unquoted(quoted: str) -> str:
    try:
        name: str = json.loads(quoted, strict=False)
    except json.JSONDecodeError:
        raise ValueError(f"has {{{quoted}}}, whose backslashes are not those of JSON; write two for one") from None
    return name


def placeholder(column: str) -> str:
    """Return what a template has in place of a column's cells, in quotes if the name needs them."""
    needs_quotes = column != column.strip() or re.search(r'[{}]|^"', column)
    return f"{{{json.dumps(column, ensure_ascii=False) if needs_quotes else column}}}"


def escaped(text: str) -> str:
    """Return text as a template has it, with its braces doubled."""
    return re.sub(r"[{}]", r"\g<0>\g<0>", text)


def template_columns(template: str) -> list[str]:
    """Return the column names of a template, in order, each once."""
    return list(dict.fromkeys(part.text for part in parse_template(template) if part.is_column))


def render_template(template: str, row: Mapping[str, str]) -> str:
    """Fill a row's cells into a template.

    Raises:
        KeyError: If the row lacks a column.
    """
    return "".join(row[part.text] if part.is_column else part.text for part in parse_template(template))
