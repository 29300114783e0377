"""The records of a screening: the rows of all its tables, without those that repeat a known record."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from papertune.evaluation.checks.near_duplicates import normalise_document
from papertune.metrics.phrases import CJK_CHARACTER
from papertune.screening.settings import Settings
from papertune.tables import Table, read_table

_DOI_BEFORE = re.compile(r"^(?:https?://)?(?:dx\.)?(?:doi\.org/)?(?:doi:?\s*)?", re.IGNORECASE)
# A title with fewer letters names no single paper: "Editorial", "Reply to the authors".
_MIN_LETTERS = 24
_MIN_CJK = 8
# Share of words that two titles must have in common if their ids are equal; ids of two searches may both be numbers.
_SAME_ID_OVERLAP = 0.5


@dataclass(frozen=True)
class Records:
    """All records, by number from 0.

    Attributes:
        titles: Their titles.
        abstracts: Their abstracts, "" where there is none.
        ids: Their ids, "" where there is none.
        dois: Their DOIs as `normal_doi` returns them.
        places: The table of each record (from 0) and its row there (from 0).
    """

    titles: list[str]
    abstracts: list[str]
    ids: list[str]
    dois: list[str]
    places: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.titles)

    def documents(self) -> list[str]:
        """Return the text of each record that is ranked: title and abstract, as ASReview joins them."""
        return [f"{title} {abstract}" for title, abstract in zip(self.titles, self.abstracts, strict=True)]

    def name(self, record: int) -> str:
        """Return what people call a record: its id, or else its number from 1."""
        return self.ids[record] or str(record + 1)

    def add(self, table: Table, settings: Settings, number: int, duplicates: Mapping[int, int]) -> None:
        """Add the rows of a table that are not duplicates."""
        kept = [row for row in range(len(table)) if row not in duplicates]
        for cells, column in zip(
            (self.titles, self.abstracts, self.ids, self.dois),
            (settings.title, settings.abstract, settings.id, settings.doi),
            strict=True,
        ):
            values = table.column(column) if column is not None and column in table.columns else [""] * len(table)
            clean = normal_doi if cells is self.dois else str.strip
            cells += [clean(values[row]) for row in kept]
        self.places.extend((number, row) for row in kept)


def no_records() -> Records:
    """Return records to which tables can be added."""
    return Records([], [], [], [], [])


def normal_doi(cell: str) -> str:
    """Return a DOI in the form in which DOIs are compared: lower case, without address and prefix; "" if it is none."""
    doi = _DOI_BEFORE.sub("", cell.strip()).strip().rstrip(".,;").lower()
    return doi if doi.startswith("10.") else ""


def normal_title(title: str) -> str:
    """Return the form in which titles are compared; "" if the title is too short to name one paper."""
    normal = normalise_document(title)
    letters = len(normal.replace(" ", ""))
    return normal if letters >= (_MIN_CJK if CJK_CHARACTER.search(normal) else _MIN_LETTERS) else ""


class Matcher:
    """Finds the record that a row repeats: by DOI, by title, or by id together with a similar title.

    Two different DOIs are two records, whatever their titles are.

    Args:
        records: The known records.
    """

    def __init__(self, records: Records) -> None:
        self._titles: list[str] = []
        self._dois: list[str] = []
        self._by_doi: dict[str, int] = {}
        self._by_title: dict[str, list[int]] = {}
        self._by_id: dict[str, list[int]] = {}
        for title, name, doi in zip(records.titles, records.ids, records.dois, strict=True):
            self.add(title, name, doi)

    def add(self, title: str, name: str, doi: str) -> int:
        """Add a record, and return its number."""
        number = len(self._titles)
        self._titles.append(title)
        self._dois.append(doi)
        if doi:
            self._by_doi.setdefault(doi, number)
        if normal := normal_title(title):
            self._by_title.setdefault(normal, []).append(number)
        if name:
            self._by_id.setdefault(name, []).append(number)
        return number

    def find(self, title: str, name: str, doi: str) -> int | None:
        """Return the number of the record that a row repeats, or None."""
        if doi in self._by_doi:
            return self._by_doi[doi]
        same_title = self._by_title.get(normal_title(title), [])
        similar = [
            each for each in self._by_id.get(name, []) if _overlap(title, self._titles[each]) >= _SAME_ID_OVERLAP
        ]
        for each in (*similar, *same_title):
            if not (doi and self._dois[each]):
                return each
        return None


def find_duplicates(table: Table, records: Records, settings: Settings) -> dict[int, int]:
    """Return the rows of a table that repeat a record or an earlier row, with the number of the record."""
    matcher = Matcher(records)
    found: dict[int, int] = {}
    for row, cells in enumerate(row_keys(table, settings)):
        known = matcher.find(*cells)
        if known is None:
            matcher.add(*cells)
        else:
            found[row] = known
    return found


def row_keys(table: Table, settings: Settings) -> list[tuple[str, str, str]]:
    """Return title, id and DOI of each row; "" for a column that the table lacks."""
    columns = [
        table.column(name) if name is not None and name in table.columns else [""] * len(table)
        for name in (settings.title, settings.id, settings.doi)
    ]
    return [(title.strip(), name.strip(), normal_doi(doi)) for title, name, doi in zip(*columns, strict=True)]


def read_tables(folder: Path, files: Sequence[str]) -> list[Table]:
    """Read the tables of a project."""
    return [read_table(folder / file) for file in files]


def _overlap(first: str, second: str) -> float:
    """Return the share of the words of two titles that both have; 1 if one has none."""
    words = [set(normalise_document(title).split()) for title in (first, second)]
    return len(words[0] & words[1]) / len(words[0] | words[1]) if all(words) else 1.0
