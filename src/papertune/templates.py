"""Document templates: text with column names in braces, and nothing else.

`str.format` would also follow attributes and indexes (`{title.__class__}`), so the few rules are written out here.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[^{}]+|[{}]")


class TemplatePart(NamedTuple):
    """Plain text, or the name of a column."""

    text: str
    is_column: bool


@lru_cache
def parse_template(template: str) -> tuple[TemplatePart, ...]:
    """Split a template at its column names; `{{` and `}}` stand for the braces themselves.

    Raises:
        ValueError: If a brace is alone, or a name is empty.
    """
    parts: list[TemplatePart] = []
    for match in _PIECE.finditer(template):
        piece = match.group()
        if match.group(1) is not None:
            name = match.group(1).strip()
            if not name:
                raise ValueError("has {} without a column name")
            parts.append(TemplatePart(name, is_column=True))
        elif piece in ("{", "}"):
            raise ValueError(f'has a lone "{piece}" at character {match.start() + 1}; write "{piece * 2}" for a brace')
        else:
            parts.append(TemplatePart({"{{": "{", "}}": "}"}.get(piece, piece), is_column=False))
    return tuple(parts)


def template_columns(template: str) -> list[str]:
    """Return the column names of a template, in order, each once."""
    return list(dict.fromkeys(part.text for part in parse_template(template) if part.is_column))


def render_template(template: str, row: Mapping[str, str]) -> str:
    """Fill a row's cells into a template.

    Raises:
        KeyError: If the row lacks a column.
    """
    return "".join(row[part.text] if part.is_column else part.text for part in parse_template(template))
