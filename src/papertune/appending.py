"""Files of lines that only grow. What `append` has returned from survives a kill and a power cut."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from papertune.errors import OutputError, PapertuneError

Entry = TypeVar("Entry")


class AppendedLines(Generic[Entry]):
    """The entries of a file, one a line, oldest first. One process at a time may have it open: the caller has a lock.

    A last line without its line end is what a kill left of an entry that nobody was told about; it is cut off.

    Args:
        path: The file; it is created if it is missing.
        read: Reads a line without its line end; raises PapertuneError if it is no entry.
        write: Returns the line of an entry, with its line end.
        what: What an entry is called in messages, such as "decision".

    Attributes:
        entries: All entries as they stand in the file.

    Raises:
        PapertuneError: If a complete line is no entry; it is of the class that `read` has raised.
        OutputError: If the file cannot be opened.
    """

    def __init__(self, path: Path, read: Callable[[bytes], Entry], write: Callable[[Entry], bytes], what: str) -> None:
        self.path = path
        self._read = read
        self._write = write
        self._what = what
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            self.entries = [self._entry(line, number) for number, line in enumerate(whole.split(b"\n")[:-1], start=1)]
            self._descriptor = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644
            )
            if len(whole) < len(content):
                os.ftruncate(self._descriptor, len(whole))
                os.fsync(self._descriptor)
        except OSError as error:
            raise OutputError(f"{path} cannot be opened: {error.strerror or error}. Check its permissions.") from None
        self._size = len(whole)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries and wait until they are on disk.

        Raises:
            OutputError: If they cannot be written; none of them is then in the file, and the next call may succeed.
        """
        content = b"".join(map(self._write, entries))
        try:
            if os.fstat(self._descriptor).st_size != self._size:
                os.ftruncate(self._descriptor, self._size)  # what an earlier failure has left
            written = 0
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise OutputError(
                f"{self.path}: the {self._what} was not saved: {error.strerror or error}. Make room, or check the "
                "disk, then try again; nothing that was saved before is lost."
            ) from error
        self._size += len(content)
        self.entries += entries

    def close(self) -> None:
        """Close the file; to append later is an error."""
        os.close(self._descriptor)
        self._descriptor = -1  # the number may soon be that of another file

    def _entry(self, line: bytes, number: int) -> Entry:
        try:
            return self._read(line)
        except PapertuneError as error:
            raise type(error)(
                f"{self.path}, line {number} is no {self._what} ({str(error).partition('. Send')[0]}). The file was "
                "damaged or comes from a newer papertune: copy it from a backup, or update papertune."
            ) from None
