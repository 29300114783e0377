import errno
import json
import math
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune import event_file
from papertune.errors import PapertuneWarning
from papertune.event_file import EventFile, began, event_listener, reported_events
from papertune.events import SILENT, Progress


def events(path):
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert all(isinstance(each.pop("time"), float) for each in found)
    return found


def test_each_kind_of_report_is_a_line(tmp_path):
    path = tmp_path / "events.jsonl"
    file = EventFile(path)
    file.message("read")
    file.message("odd", "warning")
    file.progress(Progress("training", 1, 2, 3.0, 4.0, 0.5))
    file.metrics(1, {"loss": 0.5, "learning_rate": 0.1, "grad_norm": 2.0})
    file.metrics(1, {"score": 0.75, "eval_label_macro_f1": math.nan, "eval_runtime": 2.0})
    file.end(0)
    assert events(path) == [
        {"event": "message", "level": "note", "text": "read"},
        {"event": "message", "level": "warning", "text": "odd"},
        {"event": "progress", "phase": "training", "done": 1, "total": 2, "rate": 3.0, "left": 4.0},
        {"event": "loss", "step": 1, "loss": 0.5},
        {"event": "dev", "step": 1, "score": 0.75, "name": "score"},
        {"event": "dev", "step": 1, "score": None, "name": "label_macro_f1"},
        {"event": "dev", "step": 1, "score": 2.0, "name": "runtime"},
        {"event": "end", "exit": 0},
    ]


def test_progress_is_written_twice_a_second_and_at_the_end_of_each_pass(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    now = 100.0
    monkeypatch.setattr(event_file, "time", SimpleNamespace(monotonic=lambda: now, time=time.time))
    file = EventFile(path)
    for stage, done, total, at in (
        ("rows", 1, 9, 100.0),
        ("rows", 2, 9, 100.4),
        ("rows", 3, 9, 100.6),
        ("training", 1, 4, 100.7),
        ("rows", 1, 8, 100.8),
        ("rows", 7, 8, 100.9),
        ("rows", 8, 8, 101.0),
    ):
        now = at
        file.progress(Progress(stage, done, total, 1.0, 0.0))
    shown = [(each["phase"], each["done"]) for each in events(path)]
    assert shown == [("rows", 1), ("rows", 3), ("training", 1), ("rows", 1), ("rows", 8)]


class Disk:
    """Takes as many bytes of each write as it is told, or none; then all."""

    def __init__(self, room):
        self.room = list(room)
        self.write = os.write

    def __call__(self, descriptor, content):
        if not self.room:
            return self.write(descriptor, content)
        if (taken := self.room.pop(0)) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.write(descriptor, content[:taken]) if taken else 0


REPORTS = st.lists(st.one_of(st.text(max_size=5), st.just(Progress("rows", 9, 9, 1.0, 0.0))), max_size=12)
ROOM = st.lists(st.one_of(st.none(), st.integers(0, 300)), max_size=12)


@given(REPORTS, ROOM)
def test_a_full_disk_loses_no_message_and_leaves_whole_lines_once_there_is_room(tmp_path_factory, reports, room):
    path = tmp_path_factory.getbasetemp() / "full.jsonl"
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", Disk(room))
        file = EventFile(path)
        for each in reports:
            file.progress(each) if isinstance(each, Progress) else file.message(each)
    file.end(0)
    found = events(path)
    assert [each["text"] for each in found if each["event"] == "message"] == [r for r in reports if isinstance(r, str)]
    assert found[-1] == {"event": "end", "exit": 0}
    assert len(found) <= len(reports) + 1


def test_what_waits_for_room_is_limited(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setattr(event_file, "MAX_WAITING_BYTES", 1000)
    file = EventFile(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk([None] * 100))
        for number in range(100):
            file.message(f"message {number}")
    file.end(0)
    found = events(path)
    assert [each["text"] for each in found[:-1]] == [f"message {number}" for number in range(len(found) - 1)]
    assert 5 < len(found) < 20


def report_and_exit(code):
    with reported_events():
        event_listener().message("working")
        sys.exit(code)


def test_a_process_reports_its_start_and_its_end(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("PAPERTUNE_EVENTS", str(path))
    for code, expected in ((0, 0), (2, 2), (None, 0), ("words", 1)):
        with pytest.raises(SystemExit):
            report_and_exit(code)
        start, _, end = events(path)
        assert start == {"event": "start", "pid": os.getpid(), "began": began(os.getpid())}
        assert end == {"event": "end", "exit": expected}
        path.unlink()
    with pytest.raises(ZeroDivisionError), reported_events():
        raise ZeroDivisionError
    assert events(path)[-1] == {"event": "end", "exit": 1}
    assert event_listener() is SILENT


def test_only_the_first_of_several_processes_reports(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERTUNE_EVENTS", str(tmp_path / "events.jsonl"))
    monkeypatch.setenv("RANK", "1")
    with reported_events():
        event_listener().message("working")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_opened_is_a_warning(tmp_path, monkeypatch):
    path = tmp_path / "missing" / "events.jsonl"
    monkeypatch.setenv("PAPERTUNE_EVENTS", str(path))
    with pytest.warns(PapertuneWarning) as caught, reported_events():
        event_listener().message("working")
    (warning,) = caught
    assert str(warning.message) == (
        f"PAPERTUNE_EVENTS: {path} cannot be written: No such file or directory. Nothing is reported there."
    )


@pytest.mark.parametrize("has_proc", [True, False])
def test_a_process_is_told_from_others_by_when_it_began(has_proc, monkeypatch):
    if not has_proc:
        monkeypatch.setattr(event_file, "_PROC", event_file.Path("/no/proc"))
    first = subprocess.Popen(["sleep", "60"])
    here = began(first.pid)
    assert here == began(first.pid)
    assert here is not None
    assert here != began(1) or not has_proc  # `ps` counts in seconds
    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert not has_proc or began(first.pid) is None  # it has ended, and nobody has asked how
    first.wait()
    assert began(first.pid) is None
