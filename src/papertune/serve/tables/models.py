"""What the routes of tables take and give."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Format = Literal["csv", "tsv", "xlsx", "jsonl", "json", "parquet", "csv-spreadsheet"]


class ColumnMeta(BaseModel):
    """A column of a table.

    Attributes:
        filled: Number of its cells that are not blank.
        examples: Some of its values, truncated.
    """

    name: str
    filled: int
    examples: list[str]


class TableMeta(BaseModel):
    """A table of the work folder.

    Attributes:
        id: Made by the server.
        name: The file name that people see.
        rows: Number of rows.
        warnings: What reading it has warned of.
        created: Time for people; ids are in the order of making.
    """

    id: str
    name: str
    rows: int
    columns: list[ColumnMeta]
    warnings: list[str]
    created: str


class TableList(BaseModel):
    """All tables, the newest first."""

    tables: list[TableMeta]


class TableRow(BaseModel):
    """A row.

    Attributes:
        row: Its number, from 0.
        place: The row as people count it in the file, such as "row 1 below the header".
        cells: The cells by column, corrections included.
        corrected: Columns in which a person has changed the cell.
    """

    row: int
    place: str
    cells: dict[str, str]
    corrected: list[str]


class TableRows(BaseModel):
    """A page of rows."""

    offset: int
    total: int
    rows: list[TableRow]


class Correction(BaseModel):
    """A person gives a cell another value; the last correction of a cell counts.

    Attributes:
        id: Made by the client, so that sending a correction twice is harmless.
        row: The row's number, from 0.
        at: Time for people; the server's clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    row: Annotated[int, Field(ge=0)]
    column: str
    value: Annotated[str, Field(max_length=1_000_000)]
    at: Annotated[str, Field(max_length=40)] = ""


class Corrected(BaseModel):
    """What was stored.

    Attributes:
        saved: Number of corrections that were new; the others had come before.
        cells: Number of cells of the table that differ from the file now.
    """

    saved: int
    cells: int
