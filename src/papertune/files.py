"""Writing to disk: early checks, atomic writes, and an error message for a full disk."""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from papertune.errors import OutputError, PapertuneError

if TYPE_CHECKING:
    from filelock import FileLock

_MIN_FREE_BYTES = 1_000_000


def check_new_file(path: Path, remedy: str) -> None:
    """Check in advance that a file is new and can be written.

    Args:
        path: The file.
        remedy: What to do if it exists.

    Raises:
        OutputError: If it is not.
    """
    try:
        if path.exists():
            raise OutputError(f"{path} exists already. {remedy}")
        if not path.parent.is_dir():
            raise OutputError(f"{path} cannot be written: there is no folder {path.parent}. Choose one that exists.")
    except OSError as error:  # such as a name that is too long
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. Choose another name.") from None
    check_place(path.parent)


def check_new_folder(path: Path) -> None:
    """Check in advance that a folder is new or empty and can be written.

    Raises:
        OutputError: If it is not.
    """
    check_place(path)
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(f"{path} exists and is not empty. Choose a new folder.")


def check_place(path: Path) -> None:
    """Check in advance that a folder can be created, or written to if it exists.

    Raises:
        OutputError: If it cannot.
    """
    try:
        nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
        if not nearest.is_dir():
            raise OutputError(f"{path} cannot be written: {nearest} is not a folder. Choose another place.")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise OutputError(
                f"{path} cannot be written: you have no write permission in {nearest}. Choose another place."
            )
    except OSError as error:  # such as a name that is too long
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from None


@contextmanager
def writing_model_folder(path: Path) -> Iterator[None]:
    """Raise an OutputError that names a model folder if one of its files cannot be written in the block.

    Raises:
        OutputError: If one cannot.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:  # the second on a full disk
        if getattr(error, "errno", None) == errno.EBUSY:
            raise OutputError(
                f"{path} cannot be replaced: a disk is mounted there, or another program uses it. Choose a new folder "
                f"in it, such as {path / 'model'}."
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be written: {reason}. Choose another folder.") from error


@contextmanager
def disk_full_as_output_error(path: Path) -> Iterator[None]:
    """Raise one clear error for the various errors that libraries raise on a full disk.

    Raises:
        OutputError: If the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error, path):
            raise
        raise OutputError(
            f"{path}: the disk is full. The checkpoints that are complete are kept: make room, then add --resume to "
            "the same command."
        ) from error


def _is_disk_full(error: Exception, path: Path) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors has it in its message; torch.save only reports that it could not write.
    in_message = os.strerror(errno.ENOSPC) in str(error)
    return in_message or (isinstance(error, RuntimeError) and shutil.disk_usage(path).free < _MIN_FREE_BYTES)


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for bytes; it replaces `path` at the end of the block, and an error removes it.

    The permissions of a file that is replaced stay. A symbolic link stays, and its target is replaced.
    """
    target = path.resolve()
    temporary = target.with_name(f".papertune-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        move_into_place(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def move_into_place(complete: Path, target: Path) -> None:
    """Rename a complete and synced file to its final name on the same disk; a file of that name is replaced."""
    complete.replace(target)
    _sync_folder(target.parent)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing; text is encoded as UTF-8."""
    with atomic_writer(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def is_temporary(path: Path) -> bool:
    """Whether a file is one that a killed `atomic_writer` left behind."""
    return path.match(".papertune-*.tmp")


def lock_now(path: Path, busy: PapertuneError, place: Path, remedy: str = "Choose another folder.") -> "FileLock":
    """Lock a file against other processes without waiting; the lock of a killed process ends with it.

    Args:
        path: The file, which is made with its folder.
        busy: What is raised if another process has locked it.
        place: What cannot be written if the file cannot.
        remedy: What to do then.

    Raises:
        OutputError: If the file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, thread_local=False)  # any thread may release it
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise busy from None
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}. {remedy}") from None
    return lock


def remove_lock(lock: "FileLock") -> None:
    """Release a lock and remove its file."""
    with suppress(OSError):  # Windows removes no open file
        Path(lock.lock_file).unlink(missing_ok=True)  # before the release: then no other process has locked it
    lock.release()


def _sync_folder(folder: Path) -> None:
    """Make a renaming survive a power cut, where folders can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_entries_file(path: Path, *, overwrite: bool) -> None:
    """Check in advance that a file of JSON objects can be written.

    Raises:
        OutputError: If it cannot.
    """
    if path.suffix not in (".json", ".jsonl"):
        raise OutputError(f"{path}: give the file the suffix .json or .jsonl.")
    if not overwrite:
        check_new_file(path, "Add --overwrite to replace it, or choose another name.")


def write_entries(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write objects as a JSON list, or as JSON lines if the file's name ends in .jsonl.

    Raises:
        OutputError: If the file cannot be written.
    """
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    else:
        text = json.dumps(entries, ensure_ascii=False, indent=2) + "\n"
    try:
        write_atomically(path, text)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
