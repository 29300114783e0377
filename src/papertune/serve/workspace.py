"""The work folder of a server, and names in it that cannot lead out of it.

WORK/tables/ID/     uploaded and filled tables (tables/)
WORK/jobs/ID/       commands in processes of their own (jobs/)
WORK/runs/NAME/     runs, as `papertune train` writes them, or links to them
WORK/screens/ID/    screenings (screens/)
"""

import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from papertune.errors import OutputError, quoted
from papertune.files import check_place
from papertune.run_directory import RunDirectory
from papertune.serve.errors import ServeError

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", re.ASCII)
# What is being deleted; hidden, and so in no list.
_ASIDE = ".removed-"


@dataclass(frozen=True)
class Workspace:
    """A work folder; `open_workspace` makes what is missing.

    Attributes:
        root: The folder, absolute.
        run: Name of the run that the page opens with, or None.
    """

    root: Path
    run: str | None = None

    @property
    def tables(self) -> Path:
        """Folder of the tables."""
        return self.root / "tables"

    @property
    def jobs(self) -> Path:
        """Folder of the jobs."""
        return self.root / "jobs"

    @property
    def runs(self) -> Path:
        """Folder of the runs."""
        return self.root / "runs"

    @property
    def screens(self) -> Path:
        """Folder of the screenings."""
        return self.root / "screens"

    def table_path(self, table_id: str) -> Path:
        """Return the folder of a table; ServeError 404 if there is none."""
        return _existing(self.tables, table_id, "table")

    def run_path(self, name: str) -> Path:
        """Return the folder of a run; ServeError 404 if there is none."""
        return _existing(self.runs, name, "run")

    def job_path(self, job_id: str) -> Path:
        """Return the folder of a job; ServeError 404 if there is none."""
        return _existing(self.jobs, job_id, "job")

    def screen_path(self, screen_id: str) -> Path:
        """Return the folder of a screening; ServeError 404 if there is none."""
        return _existing(self.screens, screen_id, "screening")

    def new_run_path(self, name: str) -> Path:
        """Return the folder of a run that does not exist yet.

        Raises:
            ServeError: 400 if the name is invalid, 409 if there is such a run.
        """
        if not is_name(name):
            raise ServeError(
                400,
                "invalid_name",
                f"{quoted(name)} cannot be the name of a run. Use up to 64 letters of a-z and A-Z, digits, dots, "
                "hyphens and underscores, and no dot at the beginning.",
                "name",
                name=name,
            )
        path = self.runs / name
        if path.is_symlink() or path.exists():
            message = f"there is a run {quoted(name)} already. Choose another name."
            raise ServeError(409, "exists", message, "name", name=name)
        return path


def open_workspace(root: Path, run: str | None = None) -> Workspace:
    """Make the folders that are missing.

    Raises:
        OutputError: If they cannot be made or written.
    """
    check_place(root)
    workspace = Workspace(root.absolute(), run)
    try:
        for folder in (workspace.tables, workspace.jobs, workspace.runs, workspace.screens):
            folder.mkdir(parents=True, exist_ok=True)
            check_place(folder)
            for leftover in folder.glob(f"{_ASIDE}*"):
                remove(leftover)
    except OSError as error:
        raise OutputError(f"{root} cannot be written: {error.strerror or error}. Choose another place.") from None
    return workspace


def is_name(text: str) -> bool:
    """Whether a text can be an id or a name: it is one part of a path and not hidden."""
    return _NAME.fullmatch(text) is not None


def make_folder(parent: Path) -> Path:
    """Make a folder for a new table, job or screening; its name is the id.

    Ids sort in the order of making, whatever the clock says.
    """
    while True:
        numbers = [int(path.name[:6]) for path in parent.iterdir() if path.name[:6].isdecimal()]
        path = parent / f"{max(numbers, default=0) + 1:06}-{secrets.token_hex(4)}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def changed_at(run: Path) -> int:
    """Return when a run was last trained or calibrated, in nanoseconds; 0: it is unfinished."""
    manifest = RunDirectory(run).manifest_file
    return manifest.stat().st_mtime_ns if manifest.is_file() else 0


def set_aside(folder: Path) -> Path:
    """Take a table, job or run out of its list, at once, so that a kill leaves no half of it; return what to remove.

    Raises:
        OutputError: If it cannot be moved.
    """
    hidden = folder.with_name(f"{_ASIDE}{folder.name}-{secrets.token_hex(4)}")
    try:
        return folder.rename(hidden)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be deleted: {error.strerror or error}. Check who may write there, then delete it again."
        ) from error


def remove(hidden: Path) -> None:
    """Remove what was set aside: a folder, or the link to one elsewhere; what is left of it goes at the next start."""
    if hidden.is_symlink():
        hidden.unlink(missing_ok=True)
    else:
        shutil.rmtree(hidden, ignore_errors=True)


def _existing(folder: Path, name: str, what: str) -> Path:
    path = folder / name
    if not is_name(name) or path.parent != folder or not path.is_dir():
        message = f"there is no {what} {quoted(name)}. It may have been deleted: reload."
        raise ServeError(404, "not_found", message, what=what, name=name)
    return path
