import errno
import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from papertune.errors import OutputError, PapertuneWarning
from papertune.event_file import began
from papertune.run_directory import RunDirectory
from papertune.serve.errors import ServeError
from papertune.serve.jobs import jobs as jobs_module
from papertune.serve.jobs.event_log import last_of, read_events, without_repeats
from papertune.serve.jobs.job import write_job
from papertune.serve.jobs.jobs import Jobs
from papertune.serve.jobs.requests import JobRequest
from papertune.serve.workspace import open_workspace, set_aside


def pid_of(server, job):
    path = server.workspace.jobs / job / "events.jsonl"
    return server.waits_for(lambda: last_of(read_events(path), "start"))["pid"]


def curve(server, job):
    events = without_repeats(read_events(server.workspace.jobs / job / "events.jsonl"))
    return [(each.event["step"], each.event["loss"]) for each in events if each.event["event"] == "loss"]


def test_a_job_ends_with_what_its_command_has_printed(server, stand_in):
    stand_in(prints=f"runs/run: trained\njobs/{'x' * 3}/table/papers.csv")
    job = server.trains()
    assert server.jobs.get(job).as_json() | {"created": ""} == {
        "id": job,
        "kind": "train",
        "name": "run",
        "state": "running",
        "attempts": 1,
        "created": "",
        "ended": None,
        "exit": None,
        "message": None,
        "code": None,
        "params": {},
        "table": server.table,
        "run": "run",
        "result_table": None,
        "resumable": False,
    }
    ended = server.end_of(job)
    assert (ended.state, ended.exit, ended.message) == ("done", 0, "runs/run: trained\njobs/xxx/table/papers.csv")
    assert curve(server, job) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_user_error_is_the_one_message_of_a_failed_job_without_the_folder_of_the_job(server, stand_in):
    stand_in(error="jobs/{}/table/papers.csv, row 3: no.")
    job = server.trains()
    stand_in(error=f"jobs/{job}/table/papers.csv, row 3: the cell is empty. Fill it in.")
    ended = server.end_of(job)
    assert (ended.state, ended.exit) == ("failed", 2)
    again = server.end_of(server.jobs.resume(job).id)
    assert (again.state, again.message) == ("failed", "papers.csv, row 3: the cell is empty. Fill it in.")
    assert (again.code, again.params) == (None, {})


def test_a_user_error_keeps_its_code_and_values_until_the_job_is_resumed(server, stand_in):
    stand_in(error="papers.csv has no rows.", code="no_rows", params={"table": "papers.csv", "odd": [1]})
    ended = server.end_of(server.trains())
    server.starts_again()
    kept = server.jobs.get(ended.id).as_json()
    assert (kept["code"], kept["params"]) == ("no_rows", {"table": "papers.csv"})
    stand_in(error="runs/run: the disk is full. Make room.", code="not_written")
    server.jobs.resume(ended.id)
    assert server.jobs.get(ended.id).code is None
    assert server.end_of(ended.id).code == "disk_full"


@pytest.mark.parametrize(
    ("fault", "code"),
    [("a bug", "fault"), ("DefaultCPUAllocator: can't allocate memory: you tried", "out_of_memory"),
     ("[Errno 28] No space left on device", "disk_full")],
)  # fmt: skip
def test_the_code_of_a_fault_says_whether_memory_or_disk_was_full(server, stand_in, fault, code):
    stand_in(crashes=fault)
    assert server.end_of(server.trains()).code == code


def test_a_fault_of_the_program_is_reported_by_the_last_line_of_its_traceback(server, stand_in):
    stand_in(crashes="a bug")
    job = server.end_of(server.trains())
    assert (job.state, job.exit) == ("failed", 1)
    assert job.message == f"ValueError: a bug (all of it is in jobs/{job.id}/stderr.txt)"


def test_a_stopped_training_is_resumed_by_the_same_command_and_repeats_no_step_of_the_curve(server, stand_in):
    stand_in(steps=5, waits_after=3)
    job = server.trains()
    server.reaches(job, 3)
    assert server.jobs.stop(job).state == "running"
    stopped = server.end_of(job)
    assert (stopped.state, stopped.exit, stopped.as_json()["resumable"]) == ("stopped", 143, True)
    assert stopped.message == "It was stopped; finished work is kept."
    stand_in(**{"steps": 5, "from": 2})
    server.jobs.resume(job)
    done = server.end_of(job)
    assert (done.state, done.attempts, done.command[-1]) == ("done", 2, "--resume")
    assert curve(server, job) == [(step, 1 / step) for step in (1, 2, 3, 4, 5)]
    with pytest.raises(ServeError, match=r'^"run" is done, so nothing is to be resumed\.$'):
        server.jobs.resume(job)
    with pytest.raises(ServeError, match=r'^"run" is not running; it is done\. Reload\.$'):
        server.jobs.stop(job)


def test_a_job_is_deleted_once_it_has_ended_and_stays_deleted(server, stand_in):
    stand_in(waits_after=1)
    job = server.trains()
    with pytest.raises(ServeError, match=r'^"run" is running\. Stop it, and delete it when it has ended\.$') as caught:
        server.jobs.delete(job)
    assert caught.value.status == 409
    (server.workspace.root / "go").touch()
    server.end_of(job)
    server.jobs.delete(job)
    assert list(server.workspace.jobs.iterdir()) == []
    assert server.jobs.all() == []
    with pytest.raises(ServeError, match=r"^there is no job "):
        server.jobs.delete(job)


def test_a_deletion_that_a_kill_cut_off_is_ended_by_the_next_server(server, stand_in):
    job = server.trains()
    server.end_of(job)
    run = server.workspace.runs / "run"
    elsewhere = server.workspace.root / "elsewhere"
    for folder in (run, elsewhere):
        folder.mkdir()
    (server.workspace.runs / "link").symlink_to(elsewhere)
    hidden = [set_aside(path) for path in (server.workspace.jobs / job, run, server.workspace.runs / "link")]
    assert all(path.exists() and path.name.startswith(".removed-") for path in hidden)
    open_workspace(server.workspace.root)
    server.starts_again()
    assert server.jobs.all() == []
    assert not any(os.path.lexists(path) for path in hidden)
    assert elsewhere.exists()


def test_a_run_is_in_use_while_a_job_makes_it_or_starts_from_it(server, stand_in):
    runs = [server.workspace.runs / name for name in ("run", "start", "other")]
    stand_in(waits_after=1)
    job = server.trains(method={"kind": "lora", "start_from": "runs/start"})
    for run in runs:
        run.mkdir()
    for run in runs[:2]:
        with pytest.raises(ServeError) as caught, server.jobs.unused(run):
            pass
        assert caught.value.status == 409
        assert caught.value.message == (
            f'"{run.name}" is in use by "run" (train). Wait until that has ended, or stop it.'
        )
    with server.jobs.unused(runs[2]):
        pass
    (server.workspace.root / "go").touch()
    server.end_of(job)
    with server.jobs.unused(runs[0]):
        pass


def test_a_run_is_in_use_while_a_job_uses_another_one_whose_model_it_is(server, stand_in, monkeypatch):
    whole, used = (server.workspace.runs / name for name in ("whole", "used"))
    for run in (whole, used):
        run.mkdir()
    (used / "recipe.toml").write_text('model = "runs/whole/model"\n', "utf-8")
    monkeypatch.setattr(RunDirectory, "read", lambda _: None)
    stand_in(waits_after=1)
    request = {"kind": "predict", "table": server.table, "name": "filled", "run": "used"}
    server.jobs.begin(JobRequest.model_validate(request))
    with pytest.raises(ServeError, match=r'^"whole" is in use by "filled" \(predict\)\.'), server.jobs.unused(whole):
        pass


def test_a_run_is_needed_while_another_one_has_its_model_in_it(server):
    whole, other, start = (server.workspace.runs / name for name in ("whole", "other", "start"))
    for run in (whole, other, start):
        run.mkdir()
    (other / "recipe.toml").write_text('model = "runs/whole/model"\n[method]\nstart_from = "runs/start"\n', "utf-8")
    with pytest.raises(ServeError) as caught, server.jobs.unused(whole):
        pass
    assert (caught.value.status, caught.value.code) == (409, "run_needed")
    assert caught.value.message == 'the base model of "other" is in "whole". Delete "other" first.'
    for run in (start, other):
        with server.jobs.unused(run):
            pass
    set_aside(other)  # its files are still being removed
    with server.jobs.unused(whole):
        pass


def test_a_run_that_is_deleted_while_a_job_with_it_begins_is_missed_before_the_process_starts(
    server, stand_in, monkeypatch
):
    run = server.workspace.runs / "old"
    run.mkdir()
    monkeypatch.setattr(RunDirectory, "read", lambda _: None)
    whole = jobs_module.prepare

    def deleted_meanwhile(*arguments):
        prepared = whole(*arguments)
        set_aside(run)
        return prepared

    monkeypatch.setattr(jobs_module, "prepare", deleted_meanwhile)
    monkeypatch.setattr(jobs_module, "start_process", None)
    request = {"kind": "predict", "table": server.table, "name": "filled", "run": "old"}
    with pytest.raises(ServeError, match='there is no run "old"'):
        server.jobs.begin(JobRequest.model_validate(request))
    assert list(server.workspace.jobs.iterdir()) == []


def test_a_table_that_was_filled_in_is_read_while_other_jobs_are_asked_for(server, stand_in, monkeypatch):
    (server.workspace.runs / "old").mkdir()
    monkeypatch.setattr(RunDirectory, "read", lambda _: None)
    stand_in()
    request = {"kind": "predict", "table": server.table, "name": "filled", "run": "old"}
    job = server.jobs.begin(JobRequest.model_validate(request)).id
    server.has_ended(job)
    reading, may_end = threading.Event(), threading.Event()
    finish = server.tables.finish

    def slowly(path, name):
        reading.set()
        assert may_end.wait(60)
        return finish(path, name)

    monkeypatch.setattr(server.tables, "finish", slowly)
    watcher = threading.Thread(target=server.end_of, args=[job])
    watcher.start()
    assert reading.wait(60)
    assert server.jobs.stop(job).stop_requested
    may_end.set()
    watcher.join()
    assert server.jobs.get(job).state == "done"
    assert server.tables.meta(server.jobs.get(job).result_table).rows == 1


def test_a_job_goes_on_while_no_server_runs_and_is_found_again_by_the_next_one(server, stand_in):
    stand_in(steps=3, waits_after=2)
    job = server.trains()
    server.reaches(job, 2)
    server.starts_again()
    server.jobs.look()
    assert server.jobs.get(job).state == "running"
    assert server.jobs.is_training()
    (server.workspace.root / "go").touch()
    ended = server.end_of(job)
    assert (ended.state, ended.exit, ended.message) == ("done", 0, "done")
    assert curve(server, job) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_job_that_ended_while_no_server_ran_is_what_its_last_event_says(server, stand_in):
    job = server.trains()
    server.has_ended(job)
    write_job(server.workspace.jobs / job, replace(server.jobs.get(job), state="running", exit=None, message=None))
    server.starts_again()
    assert server.end_of(job).state == "done"


def test_a_found_job_is_stopped_too(server, stand_in):
    stand_in(waits_after=1)
    job = server.trains()
    server.reaches(job, 1)
    server.starts_again()
    server.jobs.stop(job)
    assert server.end_of(job).state == "stopped"


@pytest.mark.parametrize("found", [False, True])
def test_a_killed_job_is_interrupted_and_can_be_resumed(found, server, stand_in):
    stand_in(waits_after=2)
    job = server.trains()
    server.reaches(job, 2)
    if found:
        server.starts_again()
    os.kill(pid_of(server, job), signal.SIGKILL)
    ended = server.end_of(job)
    why = {
        False: "The process was ended by SIGKILL; if nobody has sent it, the memory was full",
        True: "The process was killed, or the machine was restarted",
    }
    assert (ended.state, ended.exit) == ("interrupted", None if found else 137)
    assert ended.message == f"{why[found]}. Finished work is kept: resume it."
    stand_in()
    server.jobs.resume(job)
    assert server.end_of(job).state == "done"


def test_another_process_with_the_same_pid_is_not_the_job(server, stand_in):
    job = server.end_of(server.trains())
    here = began(os.getpid())
    assert here is not None
    other = json.dumps({"event": "start", "pid": os.getpid(), "began": f"{here}0"})
    (server.workspace.jobs / job.id / "events.jsonl").write_text(f"{other}\n", "utf-8")
    write_job(server.workspace.jobs / job.id, replace(job, state="running", since=0))
    server.starts_again()
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
    try:
        server.jobs.stop(job.id)
        assert server.end_of(job.id).state == "stopped"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught == []


def test_a_job_that_no_process_was_started_for_is_interrupted_after_a_while(server, monkeypatch):
    job = server.end_of(server.trains())
    (server.workspace.jobs / job.id / "events.jsonl").unlink()
    write_job(server.workspace.jobs / job.id, replace(job, state="running"))
    server.starts_again()
    server.jobs.look()
    assert server.jobs.get(job.id).state == "running"  # its process may be about to report
    with pytest.raises(ServeError, match=r'^"run" is just starting\. Stop it in a few seconds\.$'):
        server.jobs.stop(job.id)
    monkeypatch.setattr(jobs_module, "_START_LIMIT_S", 0.0)
    assert server.end_of(job.id).state == "interrupted"


def test_one_training_runs_at_a_time_and_never_in_the_place_of_a_run(server, stand_in):
    stand_in(waits_after=1)
    job = server.trains("first")
    assert server.jobs.is_training()
    with pytest.raises(ServeError) as caught:
        server.trains("second")
    assert (caught.value.status, caught.value.code) == (409, "busy")
    assert caught.value.message == 'the training "first" is running, and one runs at a time. Wait, or stop it.'
    server.jobs.stop(job)
    server.end_of(job)
    assert not server.jobs.is_training()
    (server.workspace.runs / "second").mkdir()
    with pytest.raises(ServeError) as caught:
        server.trains("second")
    assert (caught.value.status, caught.value.code) == (409, "exists")
    assert [each.name for each in server.jobs.all()] == ["first"]
    assert [path.name for path in server.workspace.jobs.iterdir()] == [job]


def test_what_cannot_be_begun_leaves_nothing(server, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(jobs_module, "start_process", full)
    with pytest.raises(OutputError, match=r"cannot be written: No space left on device\. Make room, or check the disk"):
        server.trains()
    assert server.jobs.all() == []
    assert list(server.workspace.jobs.iterdir()) == []


def test_a_job_whose_end_finds_no_room_on_the_disk_is_kept_later(server, monkeypatch):
    job = server.trains()
    server.has_ended(job)
    with monkeypatch.context() as patch:

        def full(*_):
            raise OutputError("full")

        patch.setattr(jobs_module, "write_job", full)
        for _ in range(20):
            server.jobs.look()
        assert server.jobs.get(job).state == "running"
    assert server.end_of(job).state == "done"


def test_an_event_that_makes_no_sense_fails_its_job_and_no_other(server, stand_in):
    job = server.trains()
    server.has_ended(job)
    with (server.workspace.jobs / job / "events.jsonl").open("a", encoding="utf-8") as events:
        events.write('{"event": "end", "exit": "soon"}\n')
    server.starts_again()
    ended = server.end_of(job)
    assert (ended.state, ended.message.partition(":")[0]) == ("failed", "a fault of papertune")
    assert server.end_of(server.trains("another")).state == "done"


def test_a_damaged_job_is_left_out_with_a_warning(server):
    job = server.end_of(server.trains()).id
    path = server.workspace.jobs / job / "job.json"
    path.write_text('{"id": 3', "utf-8")
    with pytest.warns(
        PapertuneWarning, match=r"job\.json is damaged: .* Its job is not shown\. Restore or delete it\.$"
    ):
        assert Jobs(server.workspace, server.tables).all() == []
    assert path.exists()


def test_jobs_do_not_inherit_the_token_of_the_server(server, monkeypatch):
    monkeypatch.setenv("PAPERTUNE_TOKEN", "secret")
    monkeypatch.setattr("papertune.serve.jobs.process.PROGRAM", ("/bin/sh", "-c", "env"))
    job = server.end_of(server.trains()).id
    printed = (server.workspace.jobs / job / "stdout.txt").read_text("utf-8")
    assert f"PAPERTUNE_EVENTS={server.workspace.jobs / job / 'events.jsonl'}" in printed
    assert "secret" not in printed


class TestFilledTables:
    @pytest.fixture
    def filling(self, server, monkeypatch):
        (server.workspace.runs / "run").mkdir()
        monkeypatch.setattr("papertune.run_directory.RunDirectory.read", lambda _: None)
        request = {"kind": "predict", "table": server.table, "run": "run", "name": "New papers"}
        return JobRequest.model_validate(request)

    def test_a_filled_table_becomes_one_table_also_if_the_server_is_killed_meanwhile(self, filling, server):
        job = server.end_of(server.jobs.begin(filling).id)
        assert job.state == "done"
        assert server.tables.meta(job.result_table).name == "New papers.csv"
        for was_finished in (True, False):
            write_job(server.workspace.jobs / job.id, replace(job, state="running"))
            if not was_finished:
                (server.workspace.tables / job.result_table / "meta.json").unlink()
            server.starts_again()
            again = server.end_of(job.id)
            assert again.state == "done"
            assert (again.result_table == job.result_table) is was_finished
            assert server.tables.meta(again.result_table).rows == 1
            assert len(server.tables.all()) == 2

    def test_a_fault_of_the_program_in_it_fails_the_job_and_not_the_server(self, filling, server, monkeypatch, caplog):
        def broken(*_):
            raise RuntimeError("a bug")

        monkeypatch.setattr(server.tables, "finish", broken)
        job = server.end_of(server.jobs.begin(filling).id)
        assert (job.state, job.message) == ("failed", "a fault of papertune: RuntimeError: a bug. Resume it.")
        assert "Traceback" in caplog.text

    def test_a_file_that_is_no_table_fails_the_job(self, filling, server):
        job = server.jobs.begin(filling).id
        server.has_ended(job)
        Path(server.workspace.jobs / job / "filled.csv").write_text("", "utf-8")
        ended = server.end_of(job)
        assert (ended.state, ended.result_table) == ("failed", None)
        assert ended.message == "New papers.csv is empty: it has no bytes. Export the table again."
        assert len(server.tables.all()) == 1
