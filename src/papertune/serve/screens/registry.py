"""The screenings of a work folder that are open."""

import secrets
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneError
from papertune.screening import Project
from papertune.screening.events import Added
from papertune.screening.log import read_events
from papertune.screening.project import write_project
from papertune.screening.settings import FILE, read_settings
from papertune.screening.state import State
from papertune.serve.workspace import Workspace, is_name, make_folder
from papertune.tables import Table

# A screening that is being made; it becomes visible when it is complete.
_UNFINISHED = ".new-"


class Screens:
    """Opens screenings when they are asked for, and keeps them open.

    Args:
        workspace: The work folder.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._open: dict[str, Project] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Remove what a kill left of screenings that were being made."""
        for folder in self._workspace.screens.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self._workspace.screens.iterdir():
            with suppress(OSError):
                for leftover in folder.glob("cache/download-*"):
                    leftover.unlink()
                folder.rmdir()  # an empty one only

    def close(self) -> None:
        """Close all screenings."""
        with self._lock:
            for project in self._open.values():
                project.close()
            self._open.clear()

    def get(self, screen_id: str) -> Project:
        """Return a screening; a ServeError with status 404 if there is none."""
        path = self._workspace.screen_path(screen_id)
        with self._lock:
            if screen_id not in self._open:
                self._open[screen_id] = Project(path)
            return self._open[screen_id]

    def create(self, table: Table, **settings: Any) -> tuple[str, Project]:
        """Make a screening of a table, whole or not at all; return its id and itself."""
        unfinished = self._workspace.screens / f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            write_project(unfinished, table, **settings)
            folder = make_folder(self._workspace.screens)
            folder.rmdir()
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return folder.name, self.get(folder.name)

    def summaries(self) -> list[dict[str, Any]]:
        """Return name, numbers and time of each screening, the newest first; of a damaged one the error."""
        found = []
        for folder in self._workspace.screens.iterdir():
            if is_name(folder.name) and (folder / FILE).is_file():
                try:
                    found.append(self._summary(folder))
                except PapertuneError as error:
                    found.append({"id": folder.name, "name": folder.name, "created": "", "error": str(error)})
        return sorted(found, key=lambda each: each["id"], reverse=True)

    def _summary(self, folder: Path) -> dict[str, Any]:
        project = self._open.get(folder.name)
        settings = project.settings if project else read_settings(folder)
        if project:
            state, added = project.state, project.added
        else:
            events = read_events(folder / "events.jsonl")
            state, added = State(events), [event for event in events if isinstance(event, Added)]
        outcomes = list(state.outcomes.values())
        return {
            "id": folder.name,
            "name": settings.name,
            "created": _first_time(added),
            "records": state.total,
            "read": len(outcomes),
            "included": outcomes.count("include"),
        }


def _first_time(added: Sequence[Added]) -> str:
    with suppress(IndexError):
        return added[0].at
    return ""
