import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from papertune.serve.jobs import process
from papertune.serve.jobs.jobs import Jobs
from papertune.serve.jobs.requests import JobRequest
from papertune.serve.tables.store import Tables

RECIPE = {
    "table": {"document": "{title}"},
    "columns": {"label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}},
}
# Far more than a process needs, on a machine with other work.
LIMIT_S = 60


@pytest.fixture
def stand_in(monkeypatch, workspace) -> Callable[..., None]:
    """Return a function that says what the stand-in for papertune does; see stand_in.py."""
    command = (sys.executable, "-P", str(Path(__file__).with_name("stand_in.py")))
    monkeypatch.setattr(process, "PROGRAM", command)

    def does(**plan: Any) -> None:
        (workspace.root / "plan.json").write_text(json.dumps(plan), "utf-8")

    does()
    return does


class Server:
    """The jobs of a work folder, as a server has them that can be ended and started again.

    Attributes:
        table: Id of a table.
    """

    def __init__(self, workspace: Any, table: Path) -> None:
        self.workspace = workspace
        self.table = table.name
        shutil.copytree(table, workspace.tables / table.name)
        self.tables = Tables(workspace)
        self.ended: list[Jobs] = []
        self.jobs = Jobs(workspace, self.tables)

    def starts_again(self) -> None:
        """Forget all but what is on disk. The processes are kept from being reaped by Python."""
        self.ended.append(self.jobs)
        self.tables = Tables(self.workspace)
        self.jobs = Jobs(self.workspace, self.tables)

    def trains(self, name: str = "run", **parts: Any) -> str:
        """Begin a training, and return its id; `parts` are those of the recipe."""
        request = {"kind": "train", "table": self.table, "name": name, "recipe": RECIPE | parts}
        return self.jobs.begin(JobRequest.model_validate(request)).id

    def waits_for(self, condition: Callable[[], Any]) -> Any:
        """Look at the processes until a condition is true; return its value."""
        deadline = time.monotonic() + LIMIT_S
        while not (found := condition()):
            assert time.monotonic() < deadline, [job.as_json() for job in self.jobs.all()]
            self.jobs.look()
            time.sleep(0.01)
        return found

    def end_of(self, job: str) -> Any:
        """Wait until a job has ended, and return it."""
        self.waits_for(lambda: self.jobs.get(job).state != "running")
        return self.jobs.get(job)

    def has_ended(self, job: str) -> None:
        """Wait until a process has reported its end, without looking how it ended."""
        deadline = time.monotonic() + LIMIT_S
        while '"end"' not in self.events(job):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def events(self, job: str) -> str:
        """Return what is in the file of events of a job."""
        path = self.workspace.jobs / job / "events.jsonl"
        return path.read_text("utf-8") if path.exists() else ""

    def reaches(self, job: str, step: int) -> None:
        """Wait until a job has reported the loss of a step."""
        self.waits_for(lambda: f'"loss", "step": {step},' in self.events(job))


@pytest.fixture
def server(workspace, stand_in, read_table_folder) -> Iterator[Server]:
    made = Server(workspace, read_table_folder)
    yield made
    (workspace.root / "go").touch()
    for job in made.jobs.all():
        made.end_of(job.id)
    for ended in made.ended:
        ended.look()
