"""project.json: what a screening is about; people may change it at any time."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from papertune.errors import ScreeningError
from papertune.files import write_atomically
from papertune.records import first_problem
from papertune.screening.events import Reader
from papertune.suggest import did_you_mean
from papertune.tables import Table

FILE = "project.json"

# Names of columns, the usual ones first, as exports have them.
_TITLES = ("title", "primary_title", "Title", "Article Title", "题名", "标题")
_ABSTRACTS = ("abstract", "Abstract", "notes_abstract", "摘要")
_IDS = ("uuid", "id", "record_id", "ID", "pmid", "PMID")
_DOIS = ("doi", "DOI")


class Settings(BaseModel):
    """The settings of a screening.

    Attributes:
        version: Format of the folder.
        name: For people.
        title: Column with titles.
        abstract: Column with abstracts; None: there is none.
        id: Column that names a record; None: there is none.
        doi: Column with DOIs; None: there is none.
        include: Reasons to include a record, as people read them.
        exclude: Reasons to exclude one.
        readers: Who decides.
        readers_per_record: How many of them decide about each record.
        label: Column of the exported table.
        label_values: What the export writes for include and for exclude.
        target: Recall that a certificate is to show.
        seed: Draws the samples, and the order where nothing else is known.
        encoder: Sentence encoder beside words: "auto" if one is installed, "none", or a folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=200)]
    title: Annotated[str, Field(min_length=1)]
    abstract: str | None = None
    id: str | None = None
    doi: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    readers: Annotated[tuple[Reader, ...], Field(min_length=1)] = ("reader",)
    readers_per_record: Annotated[int, Field(ge=1)] = 1
    label: Annotated[str, Field(min_length=1)] = "label"
    label_values: tuple[str, str] = ("included", "excluded")
    target: Annotated[float, Field(gt=0, le=1)] = 0.95
    seed: Annotated[int, Field(ge=0)] = 0
    encoder: str = "auto"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.readers)) < len(self.readers):
            raise ValueError("readers: a name occurs twice; give each reader a name of their own")
        if self.readers_per_record > len(self.readers):
            raise ValueError(
                f"readers_per_record is {self.readers_per_record}, but there are {len(self.readers)} readers; name "
                "more readers, or lower it"
            )
        first, second = self.label_values
        if not first or not second or first == second:
            raise ValueError("label_values: give two different values, such as included and excluded")
        return self

    def check_reader(self, reader: str) -> None:
        """Check that somebody is a reader of this screening.

        Raises:
            ScreeningError: If not.
        """
        if reader not in self.readers:
            raise ScreeningError(
                f'there is no reader "{reader}".{did_you_mean(reader, self.readers)} The readers are '
                f"{', '.join(self.readers)}. Add the name to readers in {FILE}, or use one of these."
            )

    def changed(self, **values: object) -> "Settings":
        """Return the settings with some values changed.

        Raises:
            ScreeningError: If one is invalid.
        """
        return make_settings({**self.model_dump(), **values}, FILE)


def make_settings(values: dict[str, object], where: str) -> Settings:
    """Make settings of plain values.

    Raises:
        ScreeningError: If one is invalid; the message has all of them.
    """
    try:
        # Through JSON's rules, in which a list is a tuple.
        return Settings.model_validate(values, strict=False)
    except ValidationError as error:
        problems = [
            f"{where}: {'.'.join(map(str, each['loc'])) or 'the settings'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)
        ]
        raise ScreeningError.collect(f"{where} is invalid", problems) from None


def read_settings(folder: Path) -> Settings:
    """Read project.json.

    Raises:
        ScreeningError: If it is missing or invalid.
    """
    path = folder / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ScreeningError(
            f"{folder} is no screening: there is no {FILE} in it. Make one: papertune screen import {folder} TABLE"
        ) from None
    except OSError as error:
        raise ScreeningError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from None
    try:
        return Settings.model_validate_json(content, strict=False)
    except ValidationError as error:
        raise ScreeningError(
            f"{path}: {first_problem(error, 'the file')}. Correct it, or copy it from a backup."
        ) from None


def write_settings(folder: Path, settings: Settings) -> None:
    """Write project.json, whole or not at all."""
    write_atomically(folder / FILE, settings.model_dump_json(indent=2) + "\n")


def settings_for(table: Table, name: str, **chosen: object) -> Settings:
    """Make the settings of a screening of a table; columns that are not chosen are guessed by their names.

    Raises:
        ScreeningError: If there is no column with titles, or a chosen column is missing.
    """
    guessed: dict[str, object] = {
        part: next((column for column in names if column in table.columns), None)
        for part, names in (("title", _TITLES), ("abstract", _ABSTRACTS), ("id", _IDS), ("doi", _DOIS))
    }
    values = {**guessed, **{part: value for part, value in chosen.items() if value is not None}}
    for part in ("title", "abstract", "id", "doi"):
        if values[part] is not None:
            table.column(str(values[part]))
    if values["title"] is None:
        raise ScreeningError(
            f"{table.source}: there is no column with titles. The columns are {', '.join(table.columns)}. Name it with "
            "--title."
        )
    return make_settings({"name": name, **values}, table.source)
