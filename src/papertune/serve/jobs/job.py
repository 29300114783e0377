"""A job as the folder WORK/jobs/ID keeps it.

WORK/jobs/ID/
  job.json         what runs, and how it ended
  events.jsonl     what it reports (`papertune.event_file`)
  stdout.txt       what the last attempt printed
  stderr.txt       messages and tracebacks of all attempts
  table/, ...      copies of the tables that it reads, so that it can be resumed after corrections
  recipe.toml      of a training
  filled.csv, report/, pairs.jsonl    what it makes; a run stands in WORK/runs
"""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from papertune.errors import OutputError, Param, quoted
from papertune.files import write_atomically
from papertune.records import AS_WRITTEN, parse_record
from papertune.serve.errors import ServeError
from papertune.tables import SUFFIXES

Kind = Literal["train", "predict", "evaluate", "prefer"]
State = Literal["running", "done", "failed", "stopped", "interrupted"]

FILLED, REPORT, PAIRS, RECIPE = "filled.csv", "report", "pairs.jsonl", "recipe.toml"
EVENTS, PRINTED, ERRORS = "events.jsonl", "stdout.txt", "stderr.txt"

# The name of a copy that has another format than the file that was brought.
_COPY = re.compile(rf"({'|'.join(map(re.escape, SUFFIXES))})\.parquet\b", re.IGNORECASE)
# What goes on where it was stopped. Only a training needs an option for it.
RESUMABLE: frozenset[State] = frozenset({"failed", "stopped", "interrupted"})


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        id: Its id.
        kind: The command.
        name: What people call it: a training's run, the name of a filled table, else any title.
        created: When it was asked for, in UTC.
        table: Id of the table that it reads.
        run: The run that it makes or uses.
        arguments: Arguments of `papertune`; paths are relative to the work folder.
        attempts: How often it was started.
        since: Bytes of events.jsonl before the last attempt.
        state: How it is.
        stop_requested: Whether somebody has stopped the last attempt.
        ended: When the last attempt ended, in UTC.
        exit: Its exit code, 128 + N after signal N; None: still running, or killed while no server watched it.
        message: How it ended, for people.
        code: What went wrong, for programs; None: nothing did, or it has no code.
        params: The values in the message by name, where there is a code.
        result_table: Id of the table that it has made.
    """

    __pydantic_config__ = AS_WRITTEN

    id: str
    kind: Kind
    name: str
    created: str
    table: str
    run: str | None
    arguments: list[str]
    attempts: int = 1
    since: int = 0
    state: State = "running"
    stop_requested: bool = False
    ended: str | None = None
    exit: int | None = None
    message: str | None = None
    code: str | None = None
    params: dict[str, Param] = field(default_factory=dict)
    result_table: str | None = None

    @property
    def command(self) -> list[str]:
        """The arguments of the next attempt."""
        return [*self.arguments, *(["--resume"] if self.kind == "train" and self.attempts > 1 else [])]

    def as_json(self) -> dict[str, Any]:
        """Return what the page and programs see."""
        shown = (
            "id", "kind", "name", "state", "attempts", "created", "ended", "exit", "message", "code", "params", "table",
            "run", "result_table",
        )  # fmt: skip
        return {name: getattr(self, name) for name in shown} | {"resumable": self.state in RESUMABLE}


def no_such_job(job_id: str) -> ServeError:
    """Return the error for an id that no job has."""
    message = f"there is no job {quoted(job_id)}. Reload the list of jobs."
    return ServeError(404, "not_found", message, what="job", name=job_id)


def read_job(folder: Path) -> Job:
    """Read a job.

    Raises:
        ValueError, OSError: If its file is damaged or cannot be read.
    """
    job = parse_record(Job, (folder / "job.json").read_bytes())
    if job.id != folder.name:
        raise ValueError(f'"id": it is {job.id}, in the folder of another job')
    return job


def write_job(folder: Path, job: Job) -> None:
    """Write a job, or nothing.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        write_atomically(folder / "job.json", json.dumps(asdict(job), indent=2) + "\n")
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error for a job that cannot be kept on disk; raise it from `error`."""
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}. Make room, or check the disk; then retry."
    )


def without_folder(text: str, job_id: str) -> str:
    """Return a message with the names that tables had when they were brought, instead of those of a job's copies."""
    text = re.sub(rf"jobs/{re.escape(job_id)}/(?:(?:table|pairs|dev|truth|baselines|corrected)/)?", "", text)
    return _COPY.sub(r"\1", text)
