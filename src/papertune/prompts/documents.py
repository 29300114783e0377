"""Document cells without the marks of their sources: placeholders, headings, tags, entities, lists in JSON.

Each cell is cleaned by itself, so that a row has the same prompt in training, prediction and evaluation.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from papertune.errors import Sentence
from papertune.tables.lists import shown_list
from papertune.tables.marks import MARKUP, MAX_PLACEHOLDER, is_placeholder, without_markup

if TYPE_CHECKING:
    import polars as pl

    from papertune.tables import Table

# "Abstract" before one of these is a heading; before other words it may be a part of the sentence or title.
_FIRST_WORDS = (
    "Background|Objectives?|Purpose|Introduction|Aims?|Goals?|Context|Importance|Methods?|Motivation|Rationale|We|The|"
    "This|These|In|On|At|For|From|To|An?|It|Here|Herein|Our|There|As|By|With|While|When|Although|Despite|Because|Since|"
    "Many|Most|Recent|Recently|Several|Some"
)
_NAMES = (
    "(?:abstract|résumé|resumen|resumo|zusammenfassung|riassunto|аннотация|"
    r"(?:内容|中文)?[摘提]\s*要|抄録|要旨|要約|초록)"
)
_HEADING = re.compile(
    rf"\s*(?:[\[【(〔]\s*(?i:{_NAMES})\s*[\]】)〕]\s*[:：]?\s*"
    rf"|(?i:{_NAMES})\s*(?:[:：]|[.．]\s|[—–]|-\s|[\r\n\t]|\s\s)\s*"
    rf"|(?i:{_NAMES})$"
    rf"|ABSTRACT\s+(?=\S*[a-z]|(?:{_FIRST_WORDS.upper()})\b)"
    rf"|Abstract\s*(?=(?:{_FIRST_WORDS})\b))"
)


# A list with quotes around its items, or without any: `{Deep Learning}` is how BibTeX keeps capitals.
_BRACKETED = r"(?s)^\s*(?:(?:\[|\{|c?\()\s*['\"].*[\]})]|\[\s*\]|\{\s*\})\s*$"


class _Step(NamedTuple):
    """A kind of mark.

    Attributes:
        candidates: A pattern of polars for the cells that may have it.
        what: What a warning says of the cells that have it; "" for none.
        clean: Returns a cell without it.
    """

    candidates: str
    what: str
    clean: Callable[[str], str]


_STEPS = (
    _Step(_BRACKETED, "", lambda cell: shown_list(cell) if re.match(_BRACKETED, cell) else cell),
    _Step(MARKUP, Sentence("{} cleaned of tags, entities such as &amp; or _x000D_", "markup"), without_markup),
    _Step(
        rf"^\s*[\[【(〔]?\s*(?i:{_NAMES})",
        Sentence('{} read without the heading, such as "Abstract:"', "heading"),
        lambda cell: _HEADING.sub("", cell, count=1) if _HEADING.match(cell) else cell,
    ),
    _Step(
        rf"(?s)^.{{1,{MAX_PLACEHOLDER}}}$",
        Sentence('{} read as empty: a placeholder, such as "[No abstract available]"', "placeholder"),
        lambda cell: "" if is_placeholder(cell) else cell,
    ),
)


# The cleaned columns of tables that are in use: a table is read several times, and one pass is enough.
_CLEANED: "WeakKeyDictionary[Table, dict[str, pl.Series]]" = WeakKeyDictionary()


def clean_column(table: "Table", name: str) -> "pl.Series":
    """Return the cells of a document column of a table without the marks of their sources."""
    columns = _CLEANED.setdefault(table, {})
    if name not in columns:
        columns[name] = clean_cells(table.frame[name])
    return columns[name]


def clean_cells(cells: "pl.Series") -> "pl.Series":
    """Return the cells of a document column without the marks of their sources."""
    for cleaned, _, _ in _cleaned(cells):
        cells = cleaned
    return cells


def marks_found(cells: "pl.Series") -> list[tuple[str, list[int]]]:
    """Return what is cleaned: sentences in which {} stands for "3 cells are", each with its rows."""
    return [(what, rows) for _, what, rows in _cleaned(cells) if what and rows]


def _cleaned(cells: "pl.Series") -> "Iterator[tuple[pl.Series, str, list[int]]]":
    """Yield the cells after each step, with its sentence and the rows that it has changed."""
    for step in _STEPS:
        found = cells.str.contains(step.candidates).arg_true().to_list()
        before = cells.gather(found).to_list()
        after = list(map(step.clean, before))
        changed = [row for row, old, new in zip(found, before, after, strict=True) if old != new]
        if changed:
            cells = cells.scatter(found, after)
        yield cells, step.what, changed
