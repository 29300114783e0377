"""Reads exports of reference managers (RIS) and of PubMed (MEDLINE, .nbib) through rispy.

Both formats are lists of records of tagged lines. The tags that every table of papers needs become columns with the
tutorial's names; other columns have rispy's name of their tag or, if rispy does not know it, the tag itself.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from papertune.errors import TableError
from papertune.tables.cells import RowsToFrame
from papertune.tables.lists import repeated_tag_cell

if TYPE_CHECKING:
    import polars as pl

BETWEEN = "; "  # several authors in one cell
# Each value of these is one keyword.
KEYWORD_TAGS = ("KW", "MH", "OT")

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
# The line that starts a record; it also shows the format.
RIS_START = re.compile(r"TY  -")
PUBMED_START = re.compile(r"PMID *- *\d")
PUBMED_TAG = re.compile(r"([A-Z]{2,4}) *- ?(.*)")


def read_references(file: TextIO, source: str) -> "pl.DataFrame":
    """Read records in RIS or PubMed format, whichever the file has.

    Args:
        file: The text.
        source: What messages call the file.

    Returns:
        One row per record, all columns as text. Lists are joined with "; "; keywords that could not be told apart then
        are a list in JSON. Text outside the records is skipped.

    Raises:
        TableError: If there is no record.
    """
    is_pubmed = None
    for line in file:
        if RIS_START.match(line) or PUBMED_START.match(line):
            is_pubmed = line.startswith("PMID")
            break
    if is_pubmed is None:
        raise TableError(
            f'{source}: there is no record; one starts with a line "TY  - ..." (RIS) or "PMID- ..." (PubMed). '
            "Export the references again in one of these formats."
        )
    file.seek(0)
    rows = RowsToFrame()
    for record in _records(file, is_pubmed):
        rows.add(_pubmed_row(record) if is_pubmed else _ris_row(record))
    return rows.frame()


def _records(file: TextIO, is_pubmed: bool) -> list[dict[str, list[str]]]:
    """Return each record as its tags with all their values, in file order."""
    from rispy import RisParser

    class EveryValue(RisParser):  # type: ignore[misc, unused-ignore]
        """Keeps all values of all tags: rispy's own parser drops or mixes up repeated tags."""

        START_TAG = "PMID" if is_pubmed else "TY"

        def parse_line(self, line: str) -> tuple[str | None, str]:
            if not is_pubmed:
                tag: str | None
                tag, content = super().parse_line(line)
                return tag, content
            match = PUBMED_TAG.match(line)
            return (match[1], match[2].strip()) if match else (None, line.strip())

        def _iter_till_start(self, lines: Iterator[str]) -> dict[str, Any]:
            start: dict[str, Any] = super()._iter_till_start(lines)
            return {self.START_TAG: list(start.values())}

        def _add_tag(
            self, record: dict[str, Any], tag: str | None, content: str, extend_multiline: bool = False
        ) -> None:
            if tag is None:
                return  # text before the first tag of a record
            if not extend_multiline:
                record.setdefault(tag, []).append(content)
            elif content and tag in record:
                # In keywords and notes of RIS a further line is a further value; elsewhere it continues the text.
                if tag in self.list_tags and not is_pubmed:
                    record[tag].append(content)
                else:
                    record[tag][-1] += " " + content

    parser = EveryValue(mapping={"TY": "TY", "PMID": "PMID"})
    records: list[dict[str, list[str]]] = parser.parse_lines(_closed(file, parser.START_TAG))
    return records


def _closed(file: TextIO, start: str) -> Iterator[str]:
    """End every record with a line ER: PubMed has none, and rispy drops or merges RIS records without one."""
    is_open = False
    starts = RIS_START if start == "TY" else PUBMED_START
    for line in file:
        text = line.rstrip("\r\n")
        if starts.match(text):
            if is_open:
                yield "ER  - "
            is_open = True
        elif start == "TY" and text.startswith("ER  -"):
            if not is_open:
                continue
            is_open = False
        elif not is_open and text.startswith(start):
            continue  # a line between two records that rispy would read as a start
        yield text
    if is_open:
        yield "ER  - "


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
