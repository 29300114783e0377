import json

import pytest

from papertune.cli.progress import TerminalListener
from papertune.events import Progress


def rows(done, total, rate=0.5):
    return Progress("rows", done, total, rate, (total - done) / rate)


def estimates(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("about ")]


def test_each_pass_of_rows_begins_with_an_estimate(capsys):
    listener = TerminalListener("comparing")
    for done, total in ((2, 6), (6, 6), (3, 9), (9, 9), (9, 9)):
        listener.progress(rows(done, total))
    # The last pass was complete with its first batch.
    assert capsys.readouterr().err.splitlines() == [
        "about 8 s to go for 6 rows",
        "comparing: 2/6  0.50 rows/s, 8 s left",
        "comparing: 6/6  0.50 rows/s, 0 s left",
        "about 12 s to go for 9 rows",
        "comparing: 9/9  0.50 rows/s, 0 s left",
        "about 0 s to go for 9 rows",
        "comparing: 9/9  0.50 rows/s, 0 s left",
    ]


@pytest.mark.parametrize("other", [(2, 6), (4, 6), (5, 9)])
def test_the_pass_after_a_stopped_one_begins_with_an_estimate(other, capsys):
    listener = TerminalListener("comparing")
    for done, total in ((1, 6), (4, 6), other, (6, 6)):
        listener.progress(rows(done, total))
    assert len(estimates(capsys)) == 2 + (other[1] == 9)


def test_rows_within_a_training_have_a_title_of_their_own_and_no_estimate(capsys):
    with TerminalListener("training", rows_title="dev rows") as listener:
        listener.progress(Progress("training", 10, 10, 3.0, 0.0, 0.5))
        listener.progress(rows(6, 6, rate=2.0))
        listener.progress(Progress("training", 10, 10, 3.0, 0.0))
    assert capsys.readouterr().err.splitlines() == [
        "training: 10/10  loss 0.500, 3.00 rows/s, 0 s left",
        "dev rows: 6/6  2.00 rows/s, 0 s left",
        "training: 10/10  3.00 rows/s, 0 s left",
    ]


def test_more_numbers_of_a_training_stand_behind_its_loss(capsys):
    with TerminalListener("training") as listener:
        listener.progress(Progress("training", 3, 3, 1.5, 0.0, -0.02, {"reward": 0.25, "no spread": 0.5}))
    assert capsys.readouterr().err.splitlines() == [
        "training: 3/3  loss -0.020, reward 0.250, no spread 0.500, 1.50 rows/s, 0 s left"
    ]


def test_quiet_prints_nothing(capsys):
    with TerminalListener("predicting", quiet=True) as listener:
        listener.message("loading")
        listener.progress(rows(3, 6))
        listener.progress(rows(6, 6))
    assert capsys.readouterr().err == ""


def test_a_command_reports_to_its_file_of_events_what_it_prints_and_logs(here, papertune, monkeypatch):
    file = here / "events.jsonl"
    monkeypatch.setenv("PAPERTUNE_EVENTS", str(file))
    assert papertune("train", "papers.csv", "-r", "recipe.toml", "-o", "run", "--dev", "papers.csv", "-q").code == 0
    events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert (events[0]["event"], events[-1]["event"], events[-1]["exit"]) == ("start", "end", 0)
    logged = [json.loads(line) for line in (here / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [(each["step"], each["loss"]) for each in events if each["event"] == "loss"]
    assert losses == [(each["step"], each["loss"]) for each in logged if "loss" in each]
    assert losses
    scores = [(each["step"], each["score"]) for each in events if each["event"] == "dev" and each["name"] == "score"]
    assert scores == [(each["step"], each["score"]) for each in logged if "score" in each]
    assert scores
    texts = [each["text"] for each in events if each["event"] == "message" and each["level"] == "note"]
    assert texts[0].startswith("loading ")
    assert {each["phase"] for each in events if each["event"] == "progress"} == {"training", "rows"}


def test_an_error_and_a_warning_are_events_without_their_first_word(here, papertune, monkeypatch):
    file = here / "events.jsonl"
    monkeypatch.setenv("PAPERTUNE_EVENTS", str(file))
    error = papertune("check", "missing.csv", "-r", "recipe.toml").error
    events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert events[1]["level"] == "error"
    assert events[1]["text"] == error.strip()
    assert events[2]["exit"] == 2
