"""The table as the rest of papertune uses it: named columns of text, and rows that know their place in the source."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from papertune.errors import Sentence, TableError, listed, quoted
from papertune.suggest import did_you_mean

if TYPE_CHECKING:
    import polars as pl

# Part of the definition of a checksum: lengths and texts are hashed in turns, for this many rows of a column. Another
# number would change every checksum, and run directories store them.
CHECKSUM_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of text with named columns.

    Attributes:
        frame: The cells; every column is `pl.String` and none has nulls: a missing cell is "".
        source: What messages call the table: the path as the user wrote it, "data frame", "list of rows" or
            "standard input".
        counted: How messages name row `{}` of the source, such as "row {} below the header" or "line {}".
        numbers: The number of each row in that way of counting; None means 1, 2, 3, ...
        forms: What the cells of a JSON source were there, by column a byte for each row (`cells.JSON_...`); columns
            that are all text are left out.
        derived: Columns that are not in the source, but made from others of its columns.
    """

    frame: "pl.DataFrame"
    source: str
    counted: str = "row {}"
    numbers: Sequence[int] | None = None
    forms: Mapping[str, bytes] = field(default_factory=dict)
    derived: Collection[str] = ()

    def __post_init__(self) -> None:
        import polars as pl

        wrong = [name for name, dtype in self.frame.schema.items() if dtype != pl.String]
        if wrong or any(self.frame[name].null_count() for name in self.frame.columns):
            raise ValueError(f"a Table holds text without nulls only; columns that are not text: {wrong}")
        if self.numbers is not None and len(self.numbers) != self.frame.height:
            raise ValueError(f"{len(self.numbers)} row numbers for {self.frame.height} rows")

    def __len__(self) -> int:
        return self.frame.height

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in the order of the table."""
        return self.frame.columns

    @property
    def is_instructions(self) -> bool:
        """Whether this is instruction data: it has `instruction`, and `input`, `output` or `chosen`."""
        return "instruction" in self.columns and not {"input", "output", "chosen"}.isdisjoint(self.columns)

    def column(self, name: str) -> list[str]:
        """Return the cells of one column, in table order.

        Args:
            name: The column's name, exactly.

        Raises:
            TableError: If there is no such column; the message suggests a similar name.
        """
        if name not in self.frame.columns:
            text = (
                f"{self.source}: there is no column {quoted(name)}.{did_you_mean(name, self.columns)} "
                f"The columns are {listed(self.columns)}. Correct the name, or add the column."
            )
            raise TableError(Sentence(text, "no_column", name=name, table=self.source))
        return self.frame[name].to_list()

    def identifies(self, name: str) -> bool:
        """Whether a column has a cell of its own in each row."""
        cells = self.frame[name].str.strip_chars()
        return not cells.is_duplicated().any() and not (cells == "").any()

    def where(self, row: int, column: str | None = None) -> str:
        """Return where a row or a cell is, counted as a reader of the source would.

        Args:
            row: Position in this table, from 0.
            column: Name of the cell's column, if a cell is meant.

        Returns:
            Such as 'papers.csv, row 17 below the header, column "label"'.
        """
        return f"{self.source}, {self.place(row, column)}"

    def place(self, row: int, column: str | None = None) -> str:
        """Return what `where` does without the source."""
        place = self.counted.format(self.number(row))
        return place if column is None else f"{place}, column {quoted(column)}"

    def number(self, row: int) -> int:
        """Return the number of a row as messages count it."""
        return row + 1 if self.numbers is None else self.numbers[row]

    def checksum(self) -> str:
        """Return a checksum of column names, cells and their order, but not of the file format.

        Returns:
            SHA-256, 64 hexadecimal digits.
        """
        digest = hashlib.sha256()
        for name in self.columns:
            encoded = name.encode()
            digest.update(f"{len(encoded)} {self.frame.height}\n".encode() + encoded)
            for part in self.frame[name].to_frame().iter_slices(CHECKSUM_ROWS):
                cells = [cell.encode() for cell in part.to_series().to_list()]
                # The lengths go first, so that "ab","c" and "a","bc" differ.
                digest.update((" ".join(str(len(cell)) for cell in cells) + "\n").encode())
                digest.update(b"".join(cells))
        return digest.hexdigest()

    def take(self, rows: Sequence[int]) -> "Table":
        """Return some of the rows as a table whose `where` still names their places in the source.

        Args:
            rows: Positions from 0, in the order wanted; a row may be taken more than once.
        """
        numbers = list(map(self.number, rows))
        forms = {name: bytes(map(cells.__getitem__, rows)) for name, cells in self.forms.items()}
        return replace(self, frame=self.frame[list(rows), :], numbers=numbers, forms=forms)

    def split(self, fraction: float, seed: int, stratify: str | None = None) -> tuple["Table", "Table"]:
        """Split the rows at random but reproducibly; both parts keep the table's order.

        Args:
            fraction: Share of the rows in the second part, between 0 and 1, rounded to whole rows; each part has at
                least one.
            seed: Chooses the rows.
            stratify: A column whose values keep their shares in both parts, within one row per value.

        Returns:
            The first and the second part.

        Raises:
            TableError: If the table has fewer than two rows, or no such column.
            ValueError: If `fraction` is not between 0 and 1.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction is {fraction}; it must be between 0 and 1")
        if len(self) < 2:
            raise TableError(f"{self.source} has only one row; a table needs at least two to be split.")
        groups: dict[str, list[int]] = defaultdict(list)
        values = [""] * len(self) if stratify is None else self.column(stratify)
        # Sorted by random(), not by shuffle(): only random() promises the same numbers in every Python.
        generator = random.Random(seed)
        order = sorted(range(len(self)), key=[generator.random() for _ in values].__getitem__)
        for row in order:
            groups[values[row]].append(row)

        size = min(max(round(len(self) * fraction), 1), len(self) - 1)
        # Largest remainder: every value gets the whole part of its share, and the largest fractions the other rows.
        shares = {value: len(rows) * size / len(self) for value, rows in groups.items()}
        sizes = {value: int(share) for value, share in shares.items()}
        by_remainder = sorted(shares, key=lambda value: sizes[value] - shares[value])
        for value in by_remainder[: size - sum(sizes.values())]:
            sizes[value] += 1
        second = {row for value, rows in groups.items() for row in rows[: sizes[value]]}
        return self.take([row for row in range(len(self)) if row not in second]), self.take(sorted(second))
