"""How a job has ended, from its exit code, its events and what it printed."""

import errno
import os
import re
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from papertune.errors import Sentence, coded, reworded
from papertune.serve.jobs.event_log import last_error, last_of, read_events
from papertune.serve.jobs.job import ERRORS, EVENTS, PRINTED, Job, without_folder

_MAX_MESSAGE_CHARS = 4000
_SIGNALLED = 128
# How Python, PyTorch and a GPU's driver say that there is no memory left.
_NO_MEMORY = re.compile(r"\bMemoryError\b|OutOfMemoryError|can't allocate memory|out of memory|Cannot allocate memory")


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
    if code == 0:
        return replace(job, state="done", exit=code, message=_shown(folder / PRINTED, job))
    if job.stop_requested and (code is None or code >= _SIGNALLED):
        return replace(job, state="stopped", exit=code, message="It was stopped; finished work is kept.")
    if code is None or code >= _SIGNALLED:
        return replace(job, state="interrupted", exit=code, message=_interruption(code))
    error = last_error(events)
    if error is None:
        # A fault of the program: the last line of its traceback; all of it is in the file.
        last = _shown(folder / ERRORS, job).rpartition("\n")[2]
        error = Sentence(f"{last} (all of it is in jobs/{job.id}/{ERRORS})", "fault")
    else:
        error = reworded(error, partial(without_folder, job_id=job.id))
    what, params = coded(error)
    if any(os.strerror(number) in error for number in (errno.ENOSPC, errno.EDQUOT)) or "the disk is full" in error:
        what, params = "disk_full", {}
    elif _NO_MEMORY.search(error):
        what, params = "out_of_memory", {}
    failed = replace(job, state="failed", exit=code, message=error[:_MAX_MESSAGE_CHARS])
    return replace(failed, code=what or None, params=dict(params))


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
    return without_folder(text.strip()[-_MAX_MESSAGE_CHARS:], job.id)
