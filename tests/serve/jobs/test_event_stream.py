import asyncio
import json
from itertools import pairwise

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from papertune.serve.app import create_app
from papertune.serve.jobs import routes
from papertune.serve.jobs.event_log import Reported, read_events, without_repeats
from papertune.serve.security.keys import Keys

TOKEN = "a-token-for-tests"


def sent(text):
    """Return the events in a stream as (kind, data, id)."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            data = json.loads(fields["data"])
            data.pop("time", None)
            found.append((fields["event"], data, fields["id"]))
    return found


def make_app(server):
    return create_app(server.workspace, Keys(TOKEN, "a-session-for-tests"), port=8765)


@pytest.fixture
def get(server, ended):
    """Return a function that streams all events of a job after an id."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with TestClient(make_app(server), base_url="http://localhost:8765", headers=headers) as client:

        def get(job, last=""):
            return client.get(f"/api/jobs/{job}/events", headers={"Last-Event-ID": last} if last else {})

        yield get


@pytest.fixture
def ended(server, stand_in):
    """Return the id of a training that was stopped after step 3 and resumed after step 2."""
    stand_in(steps=4, waits_after=3)
    job = server.trains()
    server.reaches(job, 3)
    server.jobs.stop(job)
    server.end_of(job)
    stand_in(**{"steps": 4, "from": 2})
    server.jobs.resume(job)
    return server.end_of(job).id


def test_a_stream_has_the_whole_curve_once_and_ends_with_the_job(ended, get):
    events = sent(get(ended).text)
    assert [(data["step"], data["loss"]) for kind, data, _ in events if kind == "loss"] == [
        (1, 1.0),
        (2, 0.5),
        (3, 1 / 3),
        (4, 0.25),
    ]
    assert [data for kind, data, _ in events if kind == "progress"] == [
        {"phase": "training", "done": 4, "total": 4, "rate": 1.0, "left": 0.0}
    ]
    assert events[-1][:2] == (
        "end",
        {"state": "done", "exit": 0, "message": "done", "code": None, "params": {}, "result_table": None},
    )


@pytest.fixture
def failed(server, stand_in):
    """Return the id of a training that has failed with an error about its copy of a table."""
    stand_in(error="no")
    job = server.end_of(server.trains()).id
    path = f"jobs/{job}/table/papers.xlsx.parquet"
    stand_in(error=f"{path} has no rows.", code="no_rows", params={"table": path, "count": 0})
    return server.end_of(server.jobs.resume(job).id).id


def test_the_values_in_messages_name_tables_as_they_were_brought(failed, get):
    said = [data for kind, data, _ in sent(get(failed).text) if kind in ("message", "end")]
    assert [each["params"] for each in said[-2:]] == [{"table": "papers.xlsx", "count": 0}] * 2


def test_a_resumed_job_shows_no_progress_of_its_last_attempt_but_its_curve(server, stand_in):
    stand_in(steps=4, waits_after=3)
    job = server.trains()
    server.reaches(job, 3)
    server.jobs.stop(job)
    server.end_of(job)
    stand_in(**{"steps": 4, "from": 4, "waits_after": 4})
    server.jobs.resume(job)
    found = follow(make_app(server), job, lambda text: '"step": 3' in text)
    assert [each["step"] for each in found["loss"]] == [1, 2, 3]
    assert "progress" not in found


def test_a_stream_goes_on_after_any_event_without_gaps_or_repeats(ended, get):
    whole = sent(get(ended).text)
    assert len({identity for *_, identity in whole}) == len(whole) == 6
    for number, (*_, identity) in enumerate(whole[:-1], start=1):
        assert sent(get(ended, identity).text) == whole[number:]


def test_a_client_that_has_seen_the_end_is_told_not_to_connect_again(ended, get, server):
    (*_, (_, _, last)) = sent(get(ended).text)
    assert get(ended, last).status_code == 204
    # After another attempt there is more to see.
    assert sent(get(ended, last.replace("-2-end", "-1-end")).text)[-1][0] == "end"


def test_an_id_that_was_never_sent_begins_anew(ended, get):
    whole = sent(get(ended).text)
    for identity in ("x", "-1", "999999999999999", "1-", "\u0663"):
        assert sent(get(ended, identity.encode()).text) == whole


def test_events_are_sent_as_they_happen_and_messages_without_the_folder_of_the_job(server, stand_in):
    stand_in(waits_after=2)
    job = server.trains()
    path = server.workspace.jobs / job / "events.jsonl"
    server.reaches(job, 2)
    with path.open("a", encoding="utf-8") as file:
        line = {"event": "message", "level": "warning", "text": f"jobs/{job}/table/papers.csv, row 3: odd"}
        file.write(f"{json.dumps(line)}\n")
    (message,) = follow(make_app(server), job, lambda text: "odd" in text)["message"]
    assert message == {"level": "warning", "text": "papers.csv, row 3: odd"}


def test_a_client_that_goes_is_noticed(server, stand_in, monkeypatch):
    stand_in(waits_after=1)
    job = server.trains()
    server.reaches(job, 1)
    monkeypatch.setattr(routes, "_PING_EVERY_S", 0.0)
    assert "loss" in follow(make_app(server), job, lambda text: ": still here" in text)


def follow(app, job, until):
    """Read a stream until it has something, then go away; return its data by kind. It ends in five seconds."""
    text = ""
    seen = asyncio.Event()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/api/jobs/{job}/events",
        "raw_path": f"/api/jobs/{job}/events".encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost:8765"), (b"authorization", f"Bearer {TOKEN}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8765),
    }
    asked = False

    async def receive():
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await seen.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        nonlocal text
        text += message.get("body", b"").decode()
        if until(text):
            seen.set()

    async def read():
        await asyncio.wait_for(app(scope, receive, send), 60)

    asyncio.run(read())
    found = {}
    for kind, data, _ in sent(text):
        found.setdefault(kind, []).append(data)
    return found


@given(st.lists(st.one_of(st.binary(max_size=20), st.just(b'{"event": "loss", "step": 1}'))), st.binary(max_size=9))
def test_any_bytes_are_read_as_the_whole_lines_that_are_events(tmp_path_factory, lines, torn):
    path = tmp_path_factory.getbasetemp() / "events-of-bytes.jsonl"
    lines = [line.replace(b"\n", b"") for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in lines) + torn.replace(b"\n", b""))
    found = read_events(path)
    assert [each.event for each in found if each.event["event"] == "loss"] == [
        {"event": "loss", "step": 1} for line in lines if line == b'{"event": "loss", "step": 1}'
    ]
    for place in (each.end for each in found):
        assert read_events(path, place) == [each for each in found if each.end > place]


KEYS = st.one_of(
    st.builds(lambda step: {"event": "loss", "step": step}, st.integers(1, 3)),
    st.builds(
        lambda step, name: {"event": "dev", "step": step, "name": name}, st.integers(1, 3), st.sampled_from("ab")
    ),
    st.sampled_from([{"event": "progress"}, {"event": "message"}]),
)


@given(st.lists(KEYS))
def test_of_a_point_of_the_curve_the_last_event_is_kept(events):
    made = [Reported(number, event) for number, event in enumerate(events)]
    plain = [
        each
        for number, each in enumerate(made)
        if each.event["event"] == "message" or each.event not in [later.event for later in made[number + 1 :]]
    ]
    kept = without_repeats(made)
    assert kept == plain
    assert all(one.end < other.end for one, other in pairwise(kept))


def test_without_a_file_there_are_no_events(tmp_path):
    assert read_events(tmp_path / "events.jsonl") == []
