"""Reads exports of reference managers and databases: RIS, PubMed (.nbib), Web of Science, EndNote and RefWorks.

All of them are lists of records of tagged lines. The tags that every table of papers needs become columns with the
tutorial's names; other columns have rispy's name of their tag or, if rispy does not know it, the tag itself.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TextIO

from papertune.errors import PapertuneWarning, TableError
from papertune.tables.cells import RowsToFrame
from papertune.tables.formats.tagged_records import Dialect, Leftovers, Record, UnclearRecordsError, parse_records
from papertune.tables.lists import repeated_tag_cell

if TYPE_CHECKING:
    import polars as pl

BETWEEN = "; "  # several authors in one cell
# Each value of these is one keyword: in RIS, PubMed (two), EndNote and RefWorks.
KEYWORD_TAGS = ("KW", "MH", "OT", "K", "K1")

# Column -> its tags: the first tag that is present fills it, the others become columns of their own.
RIS_COLUMNS = {
    "id": ["ID", "AN"],
    "title": ["TI", "T1"],
    "author": ["AU", "A1"],
    "abstract": ["AB", "N2"],
    "Keywords": ["KW"],
    "year": ["PY", "Y1"],
    "journal": ["JF", "JO", "T2", "JA", "J2"],
    "doi": ["DO"],
    "type": ["TY"],
}
PUBMED_COLUMNS = {
    "id": ["PMID"],
    "title": ["TI", "BTI"],
    "author": ["FAU", "AU"],
    "abstract": ["AB"],
    "Keywords": ["OT"],
    "mesh_terms": ["MH"],
    "year": ["DP"],
    "journal": ["JT", "TA"],
    "type": ["PT"],
    "pmcid": ["PMC"],
    "language": ["LA"],
    "volume": ["VI"],
    "number": ["IP"],
    "pages": ["PG"],
    "issn": ["IS"],
    "author_address": ["AD"],
}
# Web of Science's plain text. Its columns ID (Keywords Plus) and DE (author keywords) are no ids.
WOS_COLUMNS = {
    "id": ["UT"],
    "title": ["TI"],
    "author": ["AF", "AU"],
    "abstract": ["AB"],
    "Keywords": ["DE"],
    "keywords_plus": ["ID"],
    "year": ["PY"],
    "journal": ["SO", "JI", "J9"],
    "doi": ["DI"],
    "type": ["DT", "PT"],
}
# EndNote's "Refer/BibIX" export, .enw.
ENDNOTE_COLUMNS = {
    "id": ["M"],
    "title": ["T"],
    "author": ["A"],
    "abstract": ["X"],
    "Keywords": ["K"],
    "year": ["D"],
    "journal": ["J", "B"],
    "doi": ["R"],
    "type": ["0"],
    "volume": ["V"],
    "number": ["N"],
    "pages": ["P"],
    "issn": ["@"],
    "urls": ["U"],
    "language": ["G"],
    "author_address": ["+"],
}
REFWORKS_COLUMNS = {
    "id": ["ID", "AN", "SR"],
    "title": ["T1"],
    "author": ["A1"],
    "abstract": ["AB"],
    "Keywords": ["K1"],
    "year": ["YR"],
    "journal": ["JF", "JO"],
    "doi": ["DO"],
    "type": ["RT"],
}


class _Format(NamedTuple):
    """A kind of export.

    Attributes:
        mark: A line that only such an export has.
        dialect: Returns how the records are written, from the match of `mark`.
        row: Makes a row of a record.
    """

    mark: re.Pattern[str]
    dialect: Callable[[re.Match[str]], Dialect]
    row: Callable[[Record], dict[str, str]]


def read_references(file: TextIO, source: str) -> "pl.DataFrame":
    """Read the records of an export, in whichever format the file has.

    Args:
        file: The text.
        source: What messages call the file.

    Returns:
        One row per record, all columns as text; lists are joined with "; ", but keywords that could not be told apart
            then are a list in JSON. Text outside the records is skipped, with a warning.

    Raises:
        TableError: If there is no record, records of two kinds of export, or it is not clear where one ends.
    """
    marks = _marks(file)
    if not marks:
        raise TableError(f"{source}: {_no_record(file)}")
    form, dialect = _likeliest(marks)
    _check_others(form, marks, source)
    rows = RowsToFrame(source)
    leftovers = Leftovers()
    try:
        for record in parse_records(file, dialect, leftovers):
            rows.add(form.row(record))
    except UnclearRecordsError as error:
        raise TableError(
            f"{source}, line {error.line}: tags stand before {dialect.start}, and not every record ends in "
            f"{dialect.end}, so it is not clear which record they belong to. End each record with {dialect.end}."
        ) from None
    frame = rows.frame()
    _warn_of_leftovers(leftovers, source, frame.height, dialect)
    return frame


def _warn_of_leftovers(leftovers: Leftovers, source: str, number: int, dialect: Dialect) -> None:
    if leftovers.lines:
        what = "1 line stands" if leftovers.lines == 1 else f"{leftovers.lines:,} lines stand"
        warnings.warn(
            f"{source}, line {leftovers.first}: {what} outside the records and cannot be read (this is the first).",
            PapertuneWarning,
            stacklevel=3,
        )
    if leftovers.is_cut_off:
        warnings.warn(
            f"{source}, record {number}: the last record has no {dialect.end} at its end, unlike the others, so the "
            "file may be cut off. Export it again if something is missing.",
            PapertuneWarning,
            stacklevel=3,
        )


def find_format(file: TextIO) -> tuple[_Format, Dialect] | None:
    """Find out which kind of export a file is, from the lines that only one kind has.

    Args:
        file: The text, at its start before and afterwards.
    """
    marks = _marks(file)
    return _likeliest(marks) if marks else None


class _Mark(NamedTuple):
    """The lines that only one kind of export has: how many, the number of the first, and its match."""

    times: int
    line: int
    match: re.Match[str]


def _marks(file: TextIO) -> dict[_Format, _Mark]:
    """Return the marks of each kind of export that a file has; it is at its start before and afterwards."""
    marks: dict[_Format, _Mark] = {}
    for number, line in enumerate(file, start=1):
        for form in _FORMATS if line[:2] in _STARTS else ():
            if match := form.mark.match(line):
                before = marks.get(form, _Mark(0, number, match))
                marks[form] = before._replace(times=before.times + 1)
    file.seek(0)
    return marks


def _likeliest(marks: Mapping[_Format, _Mark]) -> tuple[_Format, Dialect]:
    """Return the kind with the most marks, the clearest of equals, and how its records are written."""
    form = max(marks, key=lambda each: (marks[each].times, -_FORMATS.index(each)))
    return form, form.dialect(marks[form].match)


def _check_others(form: _Format, marks: Mapping[_Format, _Mark], source: str) -> None:
    """Check that a file has no records of another kind: they would become text of the record before them.

    In RIS and PubMed files, a line of text can look like a record of the other kinds.
    """
    clear = _FORMATS[:2]
    others = [mark for each, mark in marks.items() if each != form and (form not in clear or each in clear)]
    if others:
        first, second = sorted([marks[form].line, min(mark.line for mark in others)])
        raise TableError(
            f"{source}, lines {first:,} and {second:,}: these lines start records of two kinds of export. Put the "
            "records of each kind into a file of their own."
        )


def _no_record(file: TextIO) -> str:
    """Explain why a file has no record."""
    start = file.read(4096).lstrip()
    for pattern, what in _NOT_READ.items():
        if re.match(pattern, start):
            return f"this is {what}, which is not read. Export the references again as RIS or CSV."
    return (
        'there is no record; one starts with a line "TY  - ..." (RIS), "PMID- ..." (PubMed), "PT ..." (Web of '
        'Science), "%0 ..." (EndNote) or "RT ..." (RefWorks). Export the references again in one of these formats.'
    )


# The beginning of a file -> what it is.
_NOT_READ = {
    r"@\w+\s*[{(]": "BibTeX",
    r"\{Reference Type\}:": "NoteExpress",
    r"(?i)<!doctype html|<html|<table": "an HTML page",
    r"<": "XML",
}


def _ris_dialect(match: re.Match[str]) -> Dialect:
    from rispy import TAG_KEY_MAPPING
    from rispy.config import LIST_TYPE_TAGS

    # Almost all programs write two blanks, and then a text line such as "IL - 6" is no tag. Some write small letters.
    known = f"|(?i:{'|'.join(TAG_KEY_MAPPING)})" if len(match[1]) > 1 else ""
    line = re.compile(rf"([A-Z][A-Z0-9]{known}){match[1]}-(.*)")
    return Dialect(line, start="TY", end="ER", lists=LIST_TYPE_TAGS)


def _pubmed_dialect(_: re.Match[str]) -> Dialect:
    return Dialect(re.compile(r"([A-Z]{2,4}) *- ?(.*)"), start="PMID")


def _wos_dialect(_: re.Match[str]) -> Dialect:
    lists = ("AU", "AF", "BA", "BF", "CA", "GP", "BE", "CR", "C1", "C3", "FU")
    line = re.compile(r"([A-Z][A-Z0-9])(?: (.*))?$")
    return Dialect(line, start="PT", end="ER", outside=("FN", "VR", "EF"), lists=lists)


def _endnote_dialect(_: re.Match[str]) -> Dialect:
    return Dialect(re.compile(r"%(\S)(?: (.*))?$"), start="0", lists=("A", "E", "K", "U"))


def _refworks_dialect(_: re.Match[str]) -> Dialect:
    return Dialect(re.compile(r"([A-Z][A-Z0-9])(?: (.*))?$"), start="RT")


def _ris_row(record: dict[str, list[str]]) -> dict[str, str]:
    from rispy import TAG_KEY_MAPPING

    row = _row(record, RIS_COLUMNS, TAG_KEY_MAPPING)
    return _with_plain_year(row)


def _pubmed_row(record: dict[str, list[str]]) -> dict[str, str]:
    # LID and AID hold identifiers of several kinds: "10.1000/xyz [doi]", "S0140-6736(20)30183-5 [pii]".
    identifiers = [value for tag in ("LID", "AID") for value in record.get(tag, [])]
    doi = next((value.removesuffix("[doi]").strip() for value in identifiers if value.endswith("[doi]")), "")
    row = _row(record, PUBMED_COLUMNS, {})
    return _with_plain_year({**row, "doi": doi} if doi else row)


def _wos_row(record: Record) -> dict[str, str]:
    from rispy.config import WOK_TAG_KEY_MAPPING

    return _row(record, WOS_COLUMNS, WOK_TAG_KEY_MAPPING)


def _endnote_row(record: Record) -> dict[str, str]:
    return _with_plain_year(_row(record, ENDNOTE_COLUMNS, {tag: f"%{tag}" for tag in record}))


def _refworks_row(record: Record) -> dict[str, str]:
    return _with_plain_year(_row(record, REFWORKS_COLUMNS, {}))


def _row(record: dict[str, list[str]], columns: dict[str, list[str]], names: dict[str, str]) -> dict[str, str]:
    row = {}
    used = set()
    for column, tags in columns.items():
        if tag := next((tag for tag in tags if any(record.get(tag, []))), None):
            row[column] = _cell(tag, record[tag])
            used.add(tag)
    for tag, values in record.items():
        if tag not in used:
            name = names.get(tag, tag)
            # Some of rispy's names may be in use already.
            row.setdefault(name if name not in row else tag, _cell(tag, values))
    return row


def _cell(tag: str, values: list[str]) -> str:
    """Write the values of a tag as a cell; those of keywords can be told apart again, whatever commas they have."""
    return repeated_tag_cell(values) if tag in KEYWORD_TAGS else BETWEEN.join(filter(None, values))


def _with_plain_year(row: dict[str, str]) -> dict[str, str]:
    """Reduce a date such as "2020/01/05/" or "2020 Jan-Feb" to its year; the whole date becomes `date`."""
    date = row.get("year", "")
    if (year := re.match(r"\d{4}(?!\d)", date)) and year[0] != date:
        row["year"] = year[0]
        row.setdefault("date", date)
    return row


# Else a line of text such as "RT PCR" would start a record.
_REFWORKS_TYPES = (
    "Journal|Book|Dissertation|Thesis|Conference|Report|Patent|News|Generic|Web|Magazine|Abstract|Monograph"
)
_FORMATS = (
    _Format(re.compile(r"TY( {1,2})-"), _ris_dialect, _ris_row),
    _Format(re.compile(r"PMID *- *\d"), _pubmed_dialect, _pubmed_row),
    _Format(re.compile(r"PT [A-Z]$"), _wos_dialect, _wos_row),
    _Format(re.compile(r"%0 [A-Z]"), _endnote_dialect, _endnote_row),
    _Format(re.compile(rf"RT ({_REFWORKS_TYPES})"), _refworks_dialect, _refworks_row),
)
# How their marks begin.
_STARTS = {"TY", "PM", "PT", "%0", "RT"}
