import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from papertune.serve.app import create_app
from papertune.serve.jobs.job import Job, write_job

OLD = Path(__file__).parents[1] / "data" / "run_format_3" / "run"

COLUMNS = [
    {"name": "label", "kind": "label", "labels": ["1", "0"]},
    {"name": "topics", "kind": "labels", "labels": ["heart", "graph", "aspirin"]},
    {"name": "Keywords", "kind": "keywords"},
    {"name": "ranked", "kind": "ranked_keywords"},
]


@pytest.fixture
def old(workspace):
    """Return the folder of a finished run in the work folder; it is a link."""
    folder = workspace.runs / "old"
    folder.symlink_to(OLD, target_is_directory=True)
    return folder


def test_a_finished_run_is_listed_with_its_columns_and_measures(old, client):
    (run,) = client.get("/api/runs").json()["runs"]
    assert (run["name"], run["complete"], run["method"], run["stage"]) == ("old", True, "lora", "sft")
    assert run["columns"] == COLUMNS
    assert run["measures"].keys() >= {"dev_score", "steps", "seconds"}
    one = client.get("/api/runs/old").json()
    assert one | {"recipe": 0, "toml": 0, "curve": 0} == run | {"recipe": 0, "toml": 0, "curve": 0}
    assert one["toml"] == (OLD / "recipe.toml").read_text("utf-8")
    assert one["recipe"]["columns"].keys() == {column["name"] for column in COLUMNS}
    assert [point["step"] for point in one["curve"]] == [1, 3]


def test_unfinished_and_damaged_runs_are_listed_with_what_is_wrong(workspace, client):
    damaged = workspace.runs / "damaged"
    shutil.copytree(OLD, damaged)
    (damaged / "run.json").write_text("{", "utf-8")
    unfinished = workspace.runs / "unfinished"
    shutil.copytree(OLD, unfinished)
    (unfinished / "run.json").unlink()
    (unfinished / "training").mkdir(exist_ok=True)
    (unfinished / "training" / "plan.json").write_text("{}", "utf-8")
    (workspace.runs / "empty").mkdir()
    (workspace.runs / ".hidden").mkdir()
    runs = {run["name"]: run for run in client.get("/api/runs").json()["runs"]}
    assert {name: run["message"].removeprefix(f"{workspace.runs}/") for name, run in runs.items()} == {
        "damaged": "damaged/run.json is damaged: Expecting property name enclosed in double quotes: line 1 column 2 "
        "(char 1). Train again, or restore the file.",
        "unfinished": "unfinished: its training has not finished. Continue it with `papertune train ... --resume`.",
        "empty": "empty is not a run directory: it has no run.json. `papertune train` creates one.",
    }
    assert not any(run["complete"] for run in runs.values())
    assert runs["unfinished"]["columns"] == COLUMNS
    assert client.get("/api/runs/empty").json()["curve"] == []
    assert client.get("/api/runs/other").status_code == 404


def test_a_deleted_run_is_gone_and_of_a_linked_one_only_the_link(old, workspace, client):
    own = workspace.runs / "own"
    shutil.copytree(OLD, own)
    for name in ("own", "old"):
        answer = client.delete(f"/api/runs/{name}")
        assert (answer.status_code, answer.json()) == (200, {"deleted": name})
    assert list(workspace.runs.iterdir()) == []
    assert (OLD / "run.json").is_file()
    assert client.delete("/api/runs/own").json()["error"]["message"] == (
        'there is no run "own". It may have been deleted: reload.'
    )


def test_the_run_that_the_page_opens_with_can_be_deleted(old, workspace, keys, client):
    opened = create_app(replace(workspace, run="old"), keys)
    with TestClient(opened, base_url=client.base_url, headers=client.headers) as another:
        assert another.get("/api/session").json()["run"] == "old"
        another.delete("/api/runs/old")
        assert another.get("/api/session").json()["run"] is None


def test_a_run_without_an_evaluation_has_no_report(old, client):
    missing = client.get("/api/runs/old/report")
    assert (missing.status_code, missing.json()["error"]["message"]) == (
        404,
        "there is no report yet: only a finished evaluation has one. Evaluate the run.",
    )


@pytest.fixture
def report_after(old, workspace, keys, client):
    """Return a function that makes jobs, and returns the answer with the report of the run."""

    def report(made):
        make_jobs(workspace, made)
        with TestClient(create_app(workspace, keys), base_url=client.base_url, headers=client.headers) as another:
            return another.get("/api/runs/old/report")

    return report


def make_jobs(workspace, made):
    for number, (kind, run, state) in enumerate(each.split() for each in made.split(", ")):
        folder = workspace.jobs / f"00000{number}-0"
        (folder / "report").mkdir(parents=True)
        (folder / "report" / "report.html").write_text(f"<p>{number}</p>", "utf-8")
        job = Job(folder.name, kind, "n", f"2026-01-01T00:0{number}", "t", run, [], state=state)
        write_job(folder, job)


def test_the_report_of_a_run_is_that_of_its_last_evaluation(report_after, workspace):
    (workspace.jobs / "000009-0").mkdir()
    page = report_after(
        "train old done, evaluate old done, evaluate old done, evaluate new done, predict old done, evaluate old failed"
    )
    assert page.text == "<p>2</p>"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'; style-src 'unsafe-inline';")


def test_a_report_names_a_table_as_it_was_brought(report_after, workspace, monkeypatch):
    write = Path.write_text

    def with_table(path, text, *encoding):
        return write(path, text.replace("0</p>", f"jobs/{path.parts[-3]}/table/my papers.csv.parquet</p>"), *encoding)

    monkeypatch.setattr(Path, "write_text", with_table)
    assert report_after("evaluate old done").text == "<p>my papers.csv</p>"


def test_a_run_does_not_have_the_report_of_a_deleted_one_of_the_same_name(report_after):
    assert report_after("train old done, evaluate old done, train old done, predict old done").status_code == 404
