"""How a job has ended, from its exit code, its events and what it printed."""

import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from papertune.serve.jobs.event_log import last_error, last_of, read_events
from papertune.serve.jobs.job import ERRORS, EVENTS, PRINTED, Job, without_folder

_MAX_MESSAGE_CHARS = 4000
_SIGNALLED = 128


def end_of(job: Job, folder: Path, returncode: int | None) -> Job:
    """Return a job as it is after its process has ended.

    Args:
        job: The job.
        folder: Its folder.
        returncode: The return code, negative for a signal; None: this server did not start the process, and its last
            event has the code.
    """
    events = read_events(folder / EVENTS, job.since)
    if returncode is None:
        end = last_of(events, "end")
        code = end.get("exit") if end is not None else None
    else:
        code = returncode if returncode >= 0 else _SIGNALLED - returncode
    message: str | None
    if code == 0:
        return replace(job, state="done", exit=code, message=_shown(folder / PRINTED, job))
    if job.stop_requested and (code is None or code >= _SIGNALLED):
        return replace(job, state="stopped", exit=code, message="It was stopped; finished work is kept.")
    if code is None or code >= _SIGNALLED:
        return replace(job, state="interrupted", exit=code, message=_interruption(code))
    message = last_error(events)
    if message is None:
        # A fault of the program: the last line of its traceback; all of it is in the file.
        message = f"{_shown(folder / ERRORS, job).rpartition(chr(10))[2]} (all of it is in jobs/{job.id}/{ERRORS})"
    else:
        message = without_folder(message, job)
    return replace(job, state="failed", exit=code, message=message[:_MAX_MESSAGE_CHARS])


def _interruption(code: int | None) -> str:
    if code is None:
        what = "The process was killed, or the machine was restarted"
    else:
        number = code - _SIGNALLED
        name = next((each.name for each in signal.Signals if each == number), f"signal {number}")
        memory = "; if nobody has sent it, the memory was full" if number == signal.SIGKILL else ""
        what = f"The process was ended by {name}{memory}"
    return f"{what}. Finished work is kept: resume it."


def _shown(path: Path, job: Job) -> str:
    text = ""
    with suppress(OSError):
        text = path.read_text("utf-8", "replace")
    return without_folder(text.strip()[-_MAX_MESSAGE_CHARS:], job)
