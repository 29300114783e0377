"""The jobs of a work folder: begun, watched, stopped, resumed, and found again after a restart of the server."""

import logging
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any

from papertune.errors import OutputError, PapertuneError, PapertuneWarning, coded, quoted
from papertune.serve.errors import ServeError
from papertune.serve.jobs.ending import end_of
from papertune.serve.jobs.event_log import last_of, read_events
from papertune.serve.jobs.job import EVENTS, FILLED, RESUMABLE, Job, cannot_write, no_such_job, read_job, write_job
from papertune.serve.jobs.preparing import needing_run, prepare, uses_run
from papertune.serve.jobs.process import is_alive, start_process, terminate
from papertune.serve.jobs.requests import JobRequest
from papertune.serve.tables.store import Tables
from papertune.serve.workspace import Workspace, make_folder, remove, set_aside

# Seconds between two looks at the processes.
_LOOK_EVERY_S = 0.2
# A command that was begun just before the server was killed writes its start event after so many seconds at most.
_START_LIMIT_S = 20.0

_log = logging.getLogger(__name__)


class Jobs:
    """The jobs of a work folder. One server at a time has them.

    Args:
        workspace: The work folder.
        tables: Its tables.
    """

    def __init__(self, workspace: Workspace, tables: Tables) -> None:
        self._workspace = workspace
        self._tables = tables
        self._lock = threading.RLock()  # guards what follows; files of tables are never read or written with it
        self._looking = threading.Lock()
        self._processes: dict[str, Popen[bytes]] = {}
        self._found: dict[str, dict[str, Any]] = {}  # start events of processes that an earlier server has started
        self._opened = time.monotonic()
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None
        self._jobs = {job.id: job for job in _read_all(workspace.jobs)}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the processes while the context is open; they go on after it."""
        self._watcher = threading.Thread(target=self._watch, name="jobs", daemon=True)
        self._watcher.start()
        try:
            yield
        finally:
            self._closing.set()
            self._watcher.join()

    def all(self) -> list[Job]:
        """Return the jobs, newest first."""
        return sorted(list(self._jobs.values()), key=lambda job: job.id, reverse=True)

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            ServeError: 404 if there is none.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise no_such_job(job_id)
        return job

    def folder(self, job: Job) -> Path:
        """Return the folder of a job."""
        return self._workspace.jobs / job.id

    def is_training(self) -> bool:
        """Whether a training runs."""
        return any(job.kind == "train" and job.state == "running" for job in list(self._jobs.values()))

    def begin(self, request: JobRequest) -> Job:
        """Begin a job.

        Raises:
            ServeError: 400 if the request does not fit, 404 if something is missing, 409 if another training runs or
                the name is that of a run.
            RecipeError, RunError, OutputError: If the recipe or the run is invalid, or the disk is full.
        """
        is_training = request.kind == "train"
        if is_training:
            self._check_no_training()
        folder = make_folder(self._workspace.jobs)
        try:
            prepared = prepare(self._workspace, self._tables, folder, request)
            run = request.name if is_training else request.run
            job = Job(folder.name, request.kind, request.name, _now(), prepared.table, run, prepared.arguments)
            with self._lock:
                if is_training:
                    self._check_no_training()  # another one may have begun meanwhile
                for name in prepared.reads:
                    self._workspace.run_path(name)  # it may have been deleted meanwhile
                write_job(folder, job)
                self._start(job)
        except BaseException as error:
            self._jobs.pop(folder.name, None)
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise cannot_write(folder, error) from error
            raise
        return job

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended.

        Raises:
            ServeError: 404 if there is none, 409 if it runs.
            OutputError: If its folder cannot be moved.
        """
        with self._lock:
            job = self.get(job_id)
            if job.state == "running":
                raise ServeError(
                    409,
                    "job_running",
                    f"{quoted(job.name)} is running. Stop it, and delete it when it has ended.",
                    name=job.name,
                )
            hidden = set_aside(self.folder(job))
            del self._jobs[job_id]
        remove(hidden)

    @contextmanager
    def unused(self, run: Path) -> Iterator[None]:
        """Hold back what begins or ends while a run is deleted that nothing uses.

        Raises:
            ServeError: 409 if a running job makes or reads the run, or another run needs it.
        """
        with self._lock:
            for job in self.all():
                if job.state == "running" and uses_run(self._workspace, job, run):
                    raise ServeError(
                        409,
                        "run_in_use",
                        f"{quoted(run.name)} is in use by {quoted(job.name)} ({job.kind}). Wait until that has ended, "
                        "or stop it.",
                        name=run.name,
                        job=job.name,
                        kind=job.kind,
                    )
            if (other := needing_run(self._workspace, run)) is not None:
                raise ServeError(
                    409,
                    "run_needed",
                    f"the base model of {quoted(other)} is in {quoted(run.name)}. Delete {quoted(other)} first.",
                    name=run.name,
                    other=other,
                )
            yield

    def stop(self, job_id: str) -> Job:
        """Ask the process of a job to end; a second time it ends at once, without a checkpoint.

        Raises:
            ServeError: 409 if the job does not run, or begins at this moment.
        """
        with self._lock:
            job = self.get(job_id)
            if job.state != "running":
                message = f"{quoted(job.name)} is not running; it is {job.state}. Reload."
                raise ServeError(409, "not_running", message, name=job.name, state=job.state)
            process = self._processes.get(job.id)
            start = None if process else self._find(job)
            if process is None and start is None:
                message = f"{quoted(job.name)} is just starting. Stop it in a few seconds."
                raise ServeError(409, "starting", message, name=job.name)
            self._keep(replace(job, stop_requested=True))
            if process is not None:
                process.terminate()
            elif start is not None:
                terminate(start)
            return self._jobs[job.id]

    def resume(self, job_id: str) -> Job:
        """Start a job again that was stopped, interrupted, or has failed; finished work is kept.

        Raises:
            ServeError: 409 if it runs or is done, or if another training runs.
            OutputError: If the process cannot be started.
        """
        with self._lock:
            job = self.get(job_id)
            if job.state not in RESUMABLE:
                message = f"{quoted(job.name)} is {job.state}, so nothing is to be resumed."
                raise ServeError(409, "not_resumable", message, name=job.name, state=job.state)
            if job.kind == "train":
                self._check_no_training()
            events = self.folder(job) / EVENTS
            since = events.stat().st_size if events.exists() else 0
            again = replace(job, attempts=job.attempts + 1, since=since, state="running", stop_requested=False)
            again = replace(again, ended=None, exit=None, message=None, code=None, params={})
            self._keep(again)
            try:
                self._start(again)
            except OSError as error:
                self._keep(job)
                raise cannot_write(self.folder(job), error) from error
            return again

    def look(self) -> None:
        """Notice which processes have ended, and keep how."""
        with self._looking:
            for job in self.all():
                if job.state == "running":
                    # Without room on the disk, or if its files cannot be read, it is kept at a later look.
                    with suppress(OutputError, OSError):
                        self._look_at(job.id)

    def _look_at(self, job_id: str) -> None:
        with self._lock:
            job, process = self._jobs[job_id], self._processes.get(job_id)
            if self._is_running(job, process):
                return
        try:
            ended = end_of(job, self.folder(job), None if process is None else process.returncode)
            if ended.state == "done" and job.kind == "predict":
                ended = self._with_table(ended)
        except (OutputError, OSError):
            raise
        except Exception as error:  # the watcher goes on with the other jobs
            _log.exception("job %s", job.id)
            fault = f"a fault of papertune: {type(error).__name__}: {error}. Resume it."
            ended = replace(job, state="failed", message=fault, code="fault", result_table=None)
        with self._lock:
            self._keep(replace(ended, ended=_now()))
            self._processes.pop(job.id, None)
            self._found.pop(job.id, None)

    def _is_running(self, job: Job, process: "Popen[bytes] | None") -> bool:
        if process is not None:
            return process.poll() is None
        start = self._find(job)
        if start is None:
            return time.monotonic() - self._opened < _START_LIMIT_S
        return is_alive(start)

    def _find(self, job: Job) -> dict[str, Any] | None:
        """Return the start event of a process that an earlier server has started; None until it is there."""
        if job.id not in self._found:
            start = last_of(read_events(self.folder(job) / EVENTS, job.since), "start")
            if start is None:
                return None
            self._found[job.id] = start
        return self._found[job.id]

    def _with_table(self, job: Job) -> Job:
        """Make a table of what a job has filled in; after a kill in the middle it is made once all the same."""
        if job.result_table is not None:
            with suppress(ServeError):
                self._tables.meta(job.result_table)
                return job
        name = job.name if Path(job.name).suffix.lower() == ".csv" else f"{job.name}.csv"
        path = self._tables.start("filled.csv")
        with self._lock:
            self._keep(replace(self._jobs[job.id], result_table=path.parent.name))
        try:
            shutil.copyfile(self.folder(job) / FILLED, path)
            self._tables.finish(path, name)
        except OSError as error:
            self._tables.drop(path)
            raise cannot_write(path, error) from error
        except OutputError:
            raise
        except PapertuneError as error:
            code, params = coded(error)
            failed = replace(job, state="failed", message=str(error), code=code, params=dict(params))
            return replace(failed, result_table=None)
        return replace(job, result_table=path.parent.name)

    def _start(self, job: Job) -> None:
        self._processes[job.id] = start_process(job.command, self.folder(job), self._workspace.root)
        self._jobs[job.id] = job

    def _keep(self, job: Job) -> None:
        write_job(self.folder(job), job)
        self._jobs[job.id] = job

    def _check_no_training(self) -> None:
        running = next((job for job in self.all() if job.kind == "train" and job.state == "running"), None)
        if running is not None:
            raise ServeError(
                409,
                "busy",
                f"the training {quoted(running.name)} is running, and one runs at a time. Wait, or stop it.",
                name=running.name,
            )

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_EVERY_S):
            self.look()


def _read_all(folder: Path) -> Iterator[Job]:
    """Read the jobs of a folder; one that cannot be read is left out with a warning."""
    for each in sorted(folder.iterdir()):
        if not (each / "job.json").exists():
            shutil.rmtree(each, ignore_errors=True)  # a kill came before it was begun
            continue
        try:
            yield read_job(each)
        except (OSError, ValueError) as error:
            warnings.warn(
                f"{each / 'job.json'} is damaged: {error}. Its job is not shown. Restore or delete it.",
                PapertuneWarning,
                stacklevel=3,
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
