"""Jobs over HTTP, with their events as they happen."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header
from fastapi.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from fastapi.sse import format_sse_event

from papertune.errors import changed_texts
from papertune.serve.errors import ServeError
from papertune.serve.jobs.event_log import read_events, without_repeats
from papertune.serve.jobs.job import EVENTS, PAIRS, Job, without_folder
from papertune.serve.jobs.jobs import Jobs
from papertune.serve.jobs.report import report_page
from papertune.serve.jobs.requests import JobRequest

# Seconds between two looks at a file of events, and between two lines that only keep a connection open.
_LOOK_EVERY_S = 0.25
_PING_EVERY_S = 15.0
# Kinds of events that clients see; the others are for the server.
_SHOWN = frozenset({"progress", "loss", "dev", "message"})
# The id of an event: bytes of the file, and for the end the attempt that has ended.
_ID = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,9})-end)?")


def router(jobs: Jobs) -> APIRouter:
    """Return the routes; the processes are watched while the app runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with jobs.watched():
            yield

    router = APIRouter(tags=["jobs"], lifespan=lifespan)

    @router.get("/api/jobs")
    def list_jobs() -> dict[str, Any]:
        """Return all jobs, newest first."""
        return {"jobs": [job.as_json() for job in jobs.all()]}

    @router.post("/api/jobs", status_code=201)
    def begin(request: JobRequest) -> dict[str, Any]:
        """Begin a job: a command in a process of its own, which outlives the page and the server."""
        return jobs.begin(request).as_json()

    @router.get("/api/jobs/{job_id}")
    def show(job_id: str) -> dict[str, Any]:
        """Return a job."""
        return jobs.get(job_id).as_json()

    @router.delete("/api/jobs/{job_id}")
    def delete(job_id: str) -> dict[str, str]:
        """Delete a job that has ended, with its report or pairs; what it has made elsewhere stays."""
        jobs.delete(job_id)
        return {"deleted": job_id}

    @router.post("/api/jobs/{job_id}/stop")
    def stop(job_id: str) -> dict[str, Any]:
        """Ask a job to end; a training writes a checkpoint first. A second time it ends at once."""
        return jobs.stop(job_id).as_json()

    @router.post("/api/jobs/{job_id}/resume")
    def resume(job_id: str) -> dict[str, Any]:
        """Start a job again that was stopped, interrupted or has failed; finished work is kept."""
        return jobs.resume(job_id).as_json()

    @router.get("/api/jobs/{job_id}/events", response_class=StreamingResponse)
    def events(job_id: str, last_event_id: Annotated[str, Header()] = "") -> Response:
        """Stream what a job reports, all of it or what came after Last-Event-ID, until the job has ended."""
        return _events_since(jobs, job_id, last_event_id)

    @router.get("/api/jobs/{job_id}/report", response_class=HTMLResponse)
    def report(job_id: str) -> Response:
        """Return the report of an evaluation, for a sandboxed frame."""
        return report_page(jobs.folder(jobs.get(job_id)))

    @router.get("/api/jobs/{job_id}/pairs", response_class=FileResponse)
    def pairs(job_id: str) -> Response:
        """Return the pairs of answers that a job has made of corrections, as JSON lines."""
        return _pairs_file(jobs, job_id)

    return router


def _events_since(jobs: Jobs, job_id: str, last_id: str) -> Response:
    """Return the stream of what came after an event, or that nothing more will come."""
    job = jobs.get(job_id)
    seen = _ID.fullmatch(last_id)
    since, attempt = (0, None) if seen is None else (int(seen[1]), seen[2])
    try:
        written = (jobs.folder(job) / EVENTS).stat().st_size
    except FileNotFoundError:  # nothing yet, or the job is being deleted
        written = 0
    if since > written:
        since = 0  # no id that was ever sent
    if attempt == str(job.attempts) and job.state != "running":
        return Response(status_code=204)  # an EventSource does not connect again
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(jobs, job_id, since), media_type="text/event-stream", headers=headers)


def _pairs_file(jobs: Jobs, job_id: str) -> Response:
    job = jobs.get(job_id)
    path = jobs.folder(job) / PAIRS
    if not path.is_file():
        message = "this job has no pairs of answers: only a finished `prefer` job has."
        raise ServeError(404, "no_pairs", message, name=job.name)
    return FileResponse(path, media_type="application/jsonl", filename=PAIRS)


async def _stream(jobs: Jobs, job_id: str, since: int) -> AsyncIterator[bytes]:
    """Yield the events of a job in the form of Server-Sent Events until it has ended.

    Args:
        jobs: The jobs.
        job_id: The job.
        since: Bytes of its file of events that the client has.
    """
    idle_s = 0.0
    yield b"retry: 1000\n\n"
    while True:
        # The state is read first: what a job has written before it ended is then sent before its end.
        try:
            job = jobs.get(job_id)
        except ServeError:
            return  # it was deleted, and had ended before
        found = await asyncio.to_thread(read_events, jobs.folder(job) / EVENTS, since)
        for each in without_repeats(found):
            # How far an earlier attempt had come says nothing about this one.
            is_old = each.event["event"] == "progress" and each.end <= job.since
            if each.event["event"] in _SHOWN and not is_old:
                yield _message(each.event["event"], _shown(each.event, job), str(each.end))
        if found:
            since, idle_s = found[-1].end, 0.0
        if job.state != "running":
            end = {name: job.as_json()[name] for name in ("state", "exit", "message", "code", "params", "result_table")}
            yield _message("end", end, f"{since}-{job.attempts}-end")
            return
        if idle_s >= _PING_EVERY_S:
            yield b": still here\n\n"  # writing to a client that has gone is how it is noticed
            idle_s = 0.0
        await asyncio.sleep(_LOOK_EVERY_S)
        idle_s += _LOOK_EVERY_S


def _shown(event: dict[str, Any], job: Job) -> dict[str, Any]:
    shown = {name: value for name, value in event.items() if name != "event"}
    if isinstance(text := shown.get("text"), str):
        shown["text"] = without_folder(text, job.id)
    if isinstance(params := shown.get("params"), dict):
        shown["params"] = changed_texts(params, partial(without_folder, job_id=job.id))
    return shown


def _message(kind: str, data: dict[str, Any], identity: str) -> bytes:
    return format_sse_event(event=kind, data_str=json.dumps(data, allow_nan=False), id=identity)
