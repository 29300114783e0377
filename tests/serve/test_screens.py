"""Screenings over HTTP: reading, saving, several readers, samples, new tables, exports."""

import errno
import os
import threading
import time

import pytest
from fastapi.testclient import TestClient

from papertune.screening import Project
from papertune.serve.app import create_app
from papertune.serve.security.keys import Keys
from papertune.serve.tables import store
from papertune.serve.tables.parsing import parse

ROWS = [
    ("a", "Nudging doctors by reminders on the screen", "Reminders change orders.", "10.1/a"),
    ("b", "Swimming of mice after a second drug dose", "Mice swim longer with the drug.", ""),
    ("c", "Reminders for nurses in small hospitals", "Nurses act on reminders and nudges.", ""),
    ("d", "A drug for rats that do not swim at all", "Rats and mice swim less in water.", ""),
    ("e", "Default orders as a nudge for doctors", "Doctors keep the default order.", ""),
    ("f", "<img src=x onerror=alert(1)> of cages for mice", "Cages of mice cost more than rats.", ""),
]
HEADER = "id,title,abstract,doi\n"


def csv(rows=ROWS, header=HEADER):
    return header + "".join(",".join(row) + "\n" for row in rows)


@pytest.fixture(autouse=True)
def _parsed_in_this_process(monkeypatch):
    """A process for each upload takes a second; test_tables.py has it."""
    monkeypatch.setattr(store, "parse_limited", lambda path, folder, _name: parse(path, folder))


@pytest.fixture
def upload(client):
    def upload(text=None, name="search.csv"):
        answer = client.put("/api/tables", params={"name": name}, content=(text or csv()).encode())
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    return upload


@pytest.fixture
def make(client, upload):
    """Return a function that makes a screening and returns its address."""

    def make(**settings):
        answer = client.post("/api/screens", json={"table": upload(), "encoder": "none", **settings})
        assert answer.status_code == 200, answer.text
        return f"/api/screens/{answer.json()['id']}"

    return make


def server(workspace):
    """Start another server on the work folder."""
    app = create_app(workspace, Keys("t", "s"), port=8765)
    return TestClient(app, headers={"Authorization": "Bearer t"}, base_url="http://localhost:8765")


def sent(number, kind, **fields):
    return {"id": f"event-{number}", "reader": "reader", "kind": kind, **fields}


def decide(client, screen, verdicts, reader="reader"):
    events = [
        {"id": f"{reader}-{record}-{verdict}", "reader": reader, "kind": verdict, "record": record}
        for record, verdict in verdicts.items()
    ]
    answer = client.post(f"{screen}/events", json=events)
    assert answer.status_code == 200, answer.text
    return answer.json()


def message(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]


class TestScreens:
    def test_a_table_becomes_a_screening_with_guessed_columns(self, client, make):
        screen = client.get(make(criteria=["reminders"], exclude=["mice"], labels=["yes", "no"])).json()
        assert screen["columns"] == {"title": "title", "abstract": "abstract", "id": "id", "doi": "doi"}
        assert (screen["name"], screen["records"], screen["criteria"]) == ("search", 6, ["reminders"])
        assert (screen["exclude"], screen["labels"], screen["readers"]) == (["mice"], ["yes", "no"], ["reader"])
        (listed,) = client.get("/api/screens").json()["screens"]
        assert listed | {"created": ""} == {
            "id": screen["id"], "name": "search", "created": "", "records": 6, "read": 0, "included": 0
        }  # fmt: skip

    def test_one_that_cannot_be_made_leaves_nothing(self, client, upload, workspace):
        table = upload()
        answer = client.post("/api/screens", json={"table": table, "title": "titel"})
        assert message(answer, 400).startswith('search.csv: there is no column "titel". Did you mean "title"?')
        answer = client.post("/api/screens", json={"table": table, "readers_per_record": 2})
        assert "readers_per_record is 2, but there are 1 readers" in message(answer, 400)
        assert list(workspace.screens.iterdir()) == []

    def test_settings_are_changed_and_wrong_ones_refused(self, client, make):
        screen = make()
        changed = client.patch(screen, json={"readers": ["ann", "bo"], "criteria": ["doctors"], "target": 0.9}).json()
        assert (changed["readers"], changed["criteria"], changed["target"]) == (["ann", "bo"], ["doctors"], 0.9)
        assert client.get(screen).json() == changed
        assert "a name occurs twice" in message(client.patch(screen, json={"readers": ["a", "a"]}), 400)

    def test_after_a_restart_everything_is_there(self, client, make, workspace):
        screen = make()
        decide(client, screen, {0: "include", 1: "exclude"})
        before = client.get("/api/screens").json()
        damaged = workspace.screens / "000009-x"
        damaged.mkdir()
        (damaged / "project.json").write_text("{")
        (workspace.screens / ".new-left").mkdir()
        client.__exit__(None, None, None)  # as when the server ends
        with server(workspace) as again:
            found = again.get("/api/screens").json()["screens"]
            assert found[1:] == before["screens"]
            assert found[0]["error"].startswith(f"{damaged / 'project.json'}: the file: Invalid JSON")
            assert again.get(f"{screen}/progress").json()["include"] == 1
        assert not (workspace.screens / ".new-left").exists()
        client.__enter__()

    def test_names_cannot_lead_elsewhere(self, client):
        for name in ("none", "..", "%2e%2e", ".new-x"):
            assert client.get(f"/api/screens/{name}/progress").status_code == 404

    def test_a_screening_that_the_command_line_has_open_is_refused(self, client, make, workspace):
        screen = make()
        client.__exit__(None, None, None)
        folder = next(workspace.screens.iterdir())
        with Project(folder), server(workspace) as other:
            assert "is open in another process" in message(other.get(screen), 400)
        client.__enter__()


class TestReading:
    def test_the_next_records_come_with_their_words(self, client, make):
        screen = make()
        assert not client.get(f"{screen}/next", params={"n": 1}).json()["records"][0]["words_learned"]
        decide(client, screen, {0: "include", 1: "exclude"})
        wait_for_ranking(client, screen)
        found = client.get(f"{screen}/next", params={"n": 3}).json()
        assert (found["exhausted"], found["basis"], len(found["records"])) == (False, "decisions", 3)
        first = found["records"][0]
        assert (first["record"], first["id"], first["reason"]) == (2, "c", "ranking")
        assert first["words_learned"]
        assert "reminders" in first["words_for"]
        assert first["title_parts"][0] == ["Reminders", 1]
        assert "".join(part for part, _ in first["abstract_parts"]) == first["abstract"]
        assert {record["record"] for record in found["records"]}.isdisjoint({0, 1})

    def test_one_record_shows_what_the_reader_has_done(self, client, make):
        screen = make()
        client.post(f"{screen}/events", json=[
            sent(1, "include", record=0), sent(2, "note", record=0, text="check"), sent(3, "tag", record=0, tags=["x"]),
        ])  # fmt: skip
        record = client.get(f"{screen}/records/0").json()
        shown = {name: record[name] for name in ("verdict", "event", "note", "tags", "link")}
        assert shown == {
            "verdict": "include", "event": "event-1", "note": "check", "tags": ["x"], "link": "https://doi.org/10.1/a"
        }  # fmt: skip
        assert client.get(screen).json()["tags"] == ["x"]
        wrong = client.get(f"{screen}/records/6")
        assert message(wrong, 400) == "there is no record 7; the screening has 6. Choose one of these."

    def test_events_that_come_twice_count_once_and_an_undo_takes_back(self, client, make):
        screen = make()
        event = sent(1, "include", record=0)
        for _ in range(2):
            answer = client.post(f"{screen}/events", json=[event, sent(2, "unsure", record=1)]).json()
        assert answer["progress"] == {
            "records": 6, "read": 2, "include": 1, "exclude": 0, "unsure": 1, "conflict": 0
        }  # fmt: skip
        client.post(f"{screen}/events", json=[sent(3, "exclude", record=0)])
        history = client.get(f"{screen}/history").json()
        assert [(each["record"], each["verdict"]) for each in history["decisions"]] == [(0, "exclude"), (1, "unsure")]
        client.post(f"{screen}/events", json=[sent(4, "undo", event_id="event-3")])
        assert [each["verdict"] for each in client.get(f"{screen}/history").json()["decisions"]] == [
            "unsure", "include"
        ]  # fmt: skip
        page = client.get(f"{screen}/history", params={"n": 1, "offset": 1}).json()
        assert ([each["record"] for each in page["decisions"]], page["more"]) == ([0], False)

    @pytest.mark.parametrize(
        ("event", "text"),
        [
            (sent(1, "include", record=6), "there is no record 7; the screening has 6. Choose one of these."),
            (sent(1, "maybe", record=1), "does not match any of the expected tags"),
            (sent(1, "include", record=1) | {"id": "a b"}, "String should match pattern"),
            (sent(1, "include", record=1) | {"reader": "bo"}, 'there is no reader "bo".'),
            (sent(1, "undo", event_id="x"), '"x" is no decision, note or tag, so it cannot be undone.'),
        ],
    )
    def test_an_event_that_does_not_fit_stores_nothing(self, client, make, event, text):
        screen = make()
        assert text in message(client.post(f"{screen}/events", json=[sent(0, "include", record=0), event]), 400)
        assert client.get(f"{screen}/progress").json()["read"] == 0

    def test_a_full_disk_is_507_and_the_same_event_is_stored_later(self, client, make, monkeypatch):
        screen = make()

        def full(descriptor, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            refused = client.post(f"{screen}/events", json=[sent(1, "include", record=0)])
        assert "No space left on device. Make room" in message(refused, 507)
        assert refused.json()["error"]["code"] == "disk_full"
        assert client.get(f"{screen}/progress").json()["read"] == 0
        assert client.post(f"{screen}/events", json=[sent(1, "include", record=0)]).json()["progress"]["read"] == 1

    def test_two_tabs_at_once_lose_nothing(self, client, make, workspace):
        screen = make()
        events = [sent(f"{tab}-{number}", "include", record=number % 6) for tab in range(2) for number in range(20)]
        threads = [
            threading.Thread(target=lambda part=events[start::2]: [
                client.post(f"{screen}/events", json=[event]) for event in part
            ]) for start in range(2)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for _ in range(10):
            assert client.get(f"{screen}/history").status_code == 200
            assert client.get(f"{screen}/progress").status_code == 200
        for thread in threads:
            thread.join()
        lines = next(workspace.screens.glob("*/events.jsonl")).read_text().splitlines()
        assert sum('"decided"' in line for line in lines) == 40

    def test_a_clock_that_jumps_changes_nothing(self, client, make, monkeypatch, workspace):
        screen = make()
        decide(client, screen, {0: "include"})
        log = next(workspace.screens.glob("*/events.jsonl"))
        log.write_bytes(log.read_bytes().replace(b'"at":"20', b'"at":"21'))  # the first events are from the future
        decide(client, screen, {0: "exclude", 1: "include"})
        history = client.get(f"{screen}/history").json()["decisions"]
        assert [(each["record"], each["verdict"]) for each in history] == [(1, "include"), (0, "exclude")]


class TestReaders:
    def test_conflicts_are_shown_and_settled_and_reading_is_blind(self, client, make):
        screen = make(readers=["ann", "bo"], readers_per_record=2)
        decide(client, screen, {0: "include", 1: "exclude", 2: "include"}, "ann")
        decide(client, screen, {0: "exclude", 1: "exclude"}, "bo")
        assert client.get(f"{screen}/records/2", params={"reader": "bo"}).json()["verdict"] is None
        (conflict,) = client.get(f"{screen}/conflicts").json()["conflicts"]
        assert (conflict["record"], conflict["verdicts"]) == (0, {"ann": "include", "bo": "exclude"})
        (agreement,) = client.get(f"{screen}/progress").json()["agreement"]
        assert (agreement["readers"], agreement["records"], agreement["kappa"]) == (["ann", "bo"], 2, 0.0)
        settled = {"id": "s", "reader": "bo", "kind": "include", "record": 0, "settles": True}
        assert client.post(f"{screen}/events", json=[settled]).json()["progress"]["conflict"] == 0
        assert client.get(f"{screen}/conflicts").json()["conflicts"] == []

    def test_an_unknown_reader_is_refused(self, client, make):
        assert message(client.get(f"{make()}/next", params={"reader": "an"}), 400).startswith(
            'there is no reader "an". The readers are reader.'
        )


class TestProgress:
    def test_the_curve_and_the_certificate(self, client, make):
        screen = make()
        empty = client.get(f"{screen}/certificate").json()
        assert (empty["sample"], empty["certificate"], empty["cost"]["sizes"]) == (None, None, [])
        decide(client, screen, {0: "include", 1: "exclude"})
        sample = client.post(f"{screen}/sample", json={"size": 4}).json()["sample"]
        assert sample == {"size": 4, "unseen": 4, "left": 4, "added": 0, "undecided": 4, "open": 0}
        again = client.post(f"{screen}/sample", json={"size": 1})
        assert message(again, 400).startswith("4 records of the last sample have no decision yet. Read them first")
        offered = client.get(f"{screen}/next").json()["records"]
        assert [record["reason"] for record in offered] == ["sample"] * 4
        decide(client, screen, {record: "exclude" for record in range(2, 6)})
        judged = client.get(f"{screen}/certificate").json()["certificate"]
        assert (judged["certified"], judged["lower_bound"], judged["hits"], judged["size"]) == (True, 1.0, 0, 4)
        progress = client.get(f"{screen}/progress").json()
        assert progress["curve"] == [[1, 1], [2, 1], [3, 1], [4, 1], [5, 1], [6, 1]]
        assert (progress["since_last"], progress["readers"]) == (5, {"reader": 6})
        assert client.get(f"{screen}/next").json()["exhausted"]

    def test_earlier_decisions_and_new_results_are_added(self, client, make, upload):
        screen = make()
        prior = upload(csv([("a", "", "yes"), ("b", "", "no"), ("q", "", "no"), ("c", "", "?")], "id,title,verdict\n"))
        answer = client.post(
            f"{screen}/prior", json={"table": prior, "label": "verdict", "include": ["yes"], "exclude": ["no"]}
        ).json()
        assert answer == {
            "included": 1, "excluded": 1, "other": {"?": 1}, "unknown": 1,
            "first_unknown": "search.csv, row 3 below the header"
        }  # fmt: skip
        more = upload(csv([("a", ROWS[0][1], "", "10.1/a"), ("z", "A new study of prompts for surgeons", "", "")]))
        added = client.post(f"{screen}/tables", json={"table": more}).json()
        assert added == {"rows": 2, "new": 1, "duplicates": 1, "records": 7}


class TestExports:
    @pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "jsonl", "json", "parquet", "csv-spreadsheet", "ris"])
    def test_each_format_has_all_records(self, client, make, kind, tmp_path, workspace):
        from papertune.tables import read_table

        screen = make(name="Meine Übersicht")
        decide(client, screen, {0: "include", 1: "exclude", 2: "unsure"})
        answer = client.get(f"{screen}/export", params={"format": kind})
        suffix = kind.removesuffix("-spreadsheet")
        assert f'filename="Meine _bersicht.{suffix}"' in answer.headers["content-disposition"]
        path = tmp_path / f"export.{suffix}"
        path.write_bytes(answer.content)
        table = read_table(path)
        assert len(table) == 6
        if kind != "ris":
            assert table.column("label") == ["included", "excluded", "", "", "", ""]
        assert list(workspace.screens.glob("*/cache/download-*")) == []

    def test_the_decisions_become_a_table_of_the_work_folder(self, client, make):
        screen = make()
        empty = client.post(f"{screen}/table", json={})
        assert message(empty, 400) == (
            "no record is included or excluded yet, so there is nothing to write. Decide some first."
        )
        decide(client, screen, {0: "include", 1: "exclude"})
        table = client.post(f"{screen}/table", json={"name": "decided"}).json()
        assert (table["name"], table["rows"]) == ("decided.parquet", 2)
        rows = client.get(f"/api/tables/{table['id']}/rows").json()["rows"]
        assert [row["cells"]["label"] for row in rows] == ["included", "excluded"]


def wait_for_ranking(client, screen):
    for _ in range(200):
        if client.get(f"{screen}/progress").json()["ranking"] == "decisions":
            return
        time.sleep(0.02)
    raise AssertionError("no ranking")
