"""One file to fill in, and what has been done of it.

OUT/a.parquet                    the file filled in; it appears when it is complete
OUT/a.parquet.partial/           until then:
    facts.json                   what is predicted, with which run, from which file
    00000003.parquet             the fourth piece filled in; beside an unfinished one lies its journal
OUT/a.parquet.lock               while a process works on it
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertune.errors import OutputError, TableError
from papertune.files import move_into_place, write_atomically
from papertune.inference.journal import changed_facts
from papertune.kinds.output_names import ROW
from papertune.tables.formats.parquet_files import read_group_rows

# Enough rows for batches of equal lengths; their text takes about 100 MB.
PIECE_ROWS = 1 << 16
# The name of the facts in the file's own metadata.
_KEY = "papertune"


@dataclass(frozen=True)
class Part:
    """A Parquet file that is filled in.

    Attributes:
        path: The file.
        target: The file filled in.
        pieces: The rows that are filled in together: whole row groups.
    """

    path: Path
    target: Path
    pieces: tuple[range, ...]

    @classmethod
    def open(cls, path: Path, folder: Path) -> "Part":
        """Check a file and plan its pieces; only its footer and its pages' headers are read.

        Raises:
            TableError: If it is no Parquet file, or has no rows.
        """
        try:
            groups = read_group_rows(path, str(path))
        except OSError as error:
            raise TableError(unreadable(path, error)) from None
        if not sum(groups):
            raise TableError(f"{path} has no rows. Leave it out.")
        return cls(path, folder / path.name, tuple(_pieces(groups)))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.pieces[-1].stop

    @property
    def partial(self) -> Path:
        """The folder of what has been done."""
        return self.target.with_name(f"{self.target.name}.partial")

    def piece_file(self, number: int) -> Path:
        """Return the file of a piece that is filled in."""
        return self.partial / f"{number:08}.parquet"

    def facts(self) -> dict[str, str]:
        """Return what identifies the file without reading all of it: its size and its footer.

        The footer has the places of all columns, and usually their smallest and largest values.
        """
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            file.seek(size - 8)
            length = int.from_bytes(file.read(4), "little")
            file.seek(size - 8 - length)
            footer = hashlib.sha256(file.read(length)).hexdigest()
        return {"the bytes of the part": str(size), "the footer of the part": footer}

    def is_finished(self, facts: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Whether the file is filled in already.

        Args:
            facts: What is predicted, with which run, from which file.
            overwrite: Whether a file with another prediction counts as none.

        Raises:
            OutputError: If there is a file that is another prediction, or a folder.
        """
        if not self.target.exists():
            return False
        if self.target.is_dir():
            raise OutputError(f"{self.target} is a folder. Move it away, or choose another folder for the parts.")
        before = _written_facts(self.target)
        if before == facts:
            return True
        if overwrite:
            return False
        what = "is not from this command" if before is None else "; ".join(changed_facts(before, facts))
        raise OutputError(
            f"{self.target} exists and is another prediction ({what}). Add --overwrite to replace it, or choose "
            "another folder."
        )

    def discard_remains(self, facts: Mapping[str, Any]) -> None:
        """Remove what a kill has left between the writing of the file and the end; another prediction's rows stay."""
        with suppress(OSError, ValueError):
            file = self.partial / "facts.json"
            if not file.exists() or json.loads(file.read_text("utf-8")) == facts:
                shutil.rmtree(self.partial)

    def begin(self, facts: Mapping[str, Any], *, overwrite: bool) -> None:
        """Make the folder of what has been done, or check that it belongs to this prediction.

        Raises:
            OutputError: If it belongs to another one, or cannot be written.
        """
        file = self.partial / "facts.json"
        try:
            before = json.loads(file.read_text("utf-8")) if file.exists() else None
            if not isinstance(before, dict | None):
                raise ValueError(before)
            if before is not None and before != facts:
                if not overwrite:
                    what = "; ".join(changed_facts(before, facts))
                    raise OutputError(
                        f"{self.partial} keeps the rows of another prediction ({what}). Finish that one with its own "
                        "command, add --overwrite to discard its rows, or choose another folder."
                    )
                shutil.rmtree(self.partial)
            self.partial.mkdir(exist_ok=True)
            write_atomically(file, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise OutputError(f"{self.partial} cannot be written: {error.strerror or error}. Make room.") from None
        except ValueError:
            raise OutputError(f"{file} is damaged. Delete {self.partial}; its rows are then predicted again.") from None

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Join the pieces to the file, piece by piece, and remove what else was kept.

        Raises:
            OutputError: If the file cannot be written.
        """
        import polars as pl

        own_row = ROW in pl.read_parquet_schema(self.path)
        frames = []
        for number, rows in enumerate(self.pieces):
            frame = pl.scan_parquet(self.piece_file(number), glob=False, hive_partitioning=False)
            if not own_row and ROW in frame.collect_schema():
                # Each piece has counted its own rows.
                frame = frame.with_columns((pl.col(ROW).cast(pl.Int64) + rows.start).cast(pl.String))
            frames.append(frame)
        whole = self.partial / "whole"
        try:
            metadata = {_KEY: json.dumps(facts, ensure_ascii=False)}
            pl.concat(frames).sink_parquet(whole, row_group_size=PIECE_ROWS, maintain_order=True, metadata=metadata)
            with whole.open("rb") as written:
                os.fsync(written.fileno())
            move_into_place(whole, self.target)
            shutil.rmtree(self.partial)
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise OutputError(
                f"{self.target} could not be written: {reason}. Its rows are kept in {self.partial}; make room, then "
                "run the same command."
            ) from error


def unreadable(path: Path, error: OSError) -> str:
    """Return the message about a part that cannot be read."""
    return f"{path} cannot be read: {error.strerror or error}. Check the path and the disk."


def _pieces(groups: Sequence[int]) -> list[range]:
    """Put row groups together to pieces of at least PIECE_ROWS rows; the last one has what is left."""
    pieces: list[range] = []
    begin = end = 0
    for rows in groups:
        end += rows
        if end - begin >= PIECE_ROWS:
            pieces.append(range(begin, end))
            begin = end
    return [*pieces, range(begin, end)] if end > begin else pieces


def _written_facts(file: Path) -> dict[str, Any] | None:
    """Return the facts in the metadata of a file that was filled in; None if there are none."""
    import polars as pl

    try:
        found = json.loads(pl.read_parquet_metadata(file).get(_KEY, "null"))
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return found if isinstance(found, dict) else None
