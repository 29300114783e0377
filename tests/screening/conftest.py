from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from papertune.screening import Project

ROWS = [
    {
        "id": "a",
        "title": "Nudging doctors by reminders on the screen",
        "abstract": "Reminders change orders.",
    },
    {"id": "b", "title": "Swimming of mice after a second drug dose", "abstract": "Mice swim longer with the drug."},
    {"id": "c", "title": "Reminders for nurses in small hospitals", "abstract": "Nurses act on reminders and nudges."},
    {"id": "d", "title": "A drug for rats that do not swim at all", "abstract": "Rats and mice swim less in water."},
    {"id": "e", "title": "Default orders as a nudge for doctors", "abstract": "Doctors keep the default order."},
    {"id": "f", "title": "Costs of cages for mice in two cities", "abstract": "Cages of mice cost more than rats."},
]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Return a function that makes a screening of `ROWS`, without an encoder; it is closed after the test."""
    opened: list[Project] = []

    def make(rows: list[dict[str, str]] = ROWS, name: str = "s", **settings: Any) -> Project:
        project = Project.create(tmp_path / name, rows, encoder="none", **settings)
        opened.append(project)
        return project

    yield make
    for project in opened:
        if not project.closed:
            project.close()
