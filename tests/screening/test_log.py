"""events.jsonl under kills, repeated events, a full disk and damage; the state beside a plain replay."""

import errno
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.errors import OutputError, ScreeningError
from papertune.screening.events import Added, Decided, Noted, Sampled, Tagged, Undone, event_line, read_event
from papertune.screening.log import EventLog
from papertune.screening.state import State

TOTAL = 4
FIRST = Added(id="first", at="t", reader="ann", file="tables/0001.parquet", rows=5, duplicates={4: 0})

ids = st.integers(0, 11).map(str)
readers = st.sampled_from(["ann", "bo"])
records = st.integers(0, TOTAL - 1)
base = {"id": ids, "at": st.just("t"), "reader": readers}
verdicts = st.sampled_from(["include", "exclude", "unsure"])
events = st.one_of(
    st.builds(Decided, **base, record=records, verdict=verdicts, settles=st.booleans()),
    st.builds(Noted, **base, record=records, text=st.text(st.characters(codec="utf-8"), max_size=5)),
    st.builds(Tagged, **base, record=records, tags=st.lists(st.sampled_from(["x", "y"])).map(tuple)),
    st.builds(Undone, **base, event=ids),
    st.builds(Sampled, **base, records=st.just((1,)), unseen=st.just(2)),
)


def plain(happened):
    """Return outcomes, notes, tags and samples by reading all events again for each record, the slow way."""
    known, undone = {}, set()
    samples = []
    for event in happened:
        if event.id in known:
            continue
        known[event.id] = event
        if event.type == "undone" and known.get(event.event, event).type in ("decided", "noted", "tagged"):
            undone.add(event.event)
        if event.type == "sampled":
            samples.append({record for record in range(TOTAL) if plain_outcome(known, undone, record)})
    outcomes = {record: plain_outcome(known, undone, record) for record in range(TOTAL)}
    marks = [event for event in known.values() if event.id not in undone]
    notes = {(e.record, e.reader): e.text for e in marks if e.type == "noted"}
    tags = {(e.record, e.reader): e.tags for e in marks if e.type == "tagged"}
    return {r: o for r, o in outcomes.items() if o}, {k: v for k, v in notes.items() if v}, tags, samples


def plain_outcome(known, undone, record):
    decided = [e for e in known.values() if e.type == "decided" and e.id not in undone and e.record == record]
    settling = [e.verdict for e in decided if e.settles]
    if settling:
        return settling[-1]
    last = {e.reader: e.verdict for e in decided}
    firm = set(last.values()) - {"unsure"}
    return "conflict" if len(firm) == 2 else firm.pop() if firm else "unsure" if last else None


def same_as_plain(state, happened):
    outcomes, notes, tags, samples = plain(happened)
    assert state.outcomes == outcomes
    assert {(r, reader): text for r in range(TOTAL) for reader, text in state.notes(r).items()} == notes
    for record in range(TOTAL):
        assert set(state.tags(record)) == {tag for (r, _), each in tags.items() if r == record for tag in each}
    assert [set(sample.seen) for sample in state.samples] == samples


@given(happened=st.lists(events, max_size=25), cut=st.floats(0, 1))
def test_a_kill_at_any_byte_leaves_the_events_before_it(tmp_path_factory, happened, cut):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    lines = [event_line(event) for event in (FIRST, *happened)]
    content = b"".join(lines)
    path.write_bytes(content[: round(cut * len(content))])
    whole = path.read_bytes().count(b"\n")
    log = EventLog(path)
    assert log.entries == [FIRST, *happened][:whole]
    same_as_plain(State(log.entries), happened[: max(0, whole - 1)])
    # What comes after the kill is whole again, and known events change nothing.
    log.append(happened)
    log.close()
    again = EventLog(path)
    again.close()
    assert again.entries == [FIRST, *happened][:whole] + happened
    if whole:
        same_as_plain(State(again.entries), happened[: whole - 1] + happened)


@given(event=events)
def test_an_event_is_read_as_it_was_written(event):
    assert read_event(event_line(event)) == event


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "the event: Unable to extract tag using discriminator 'type'. Send an event as the API describes it."),
        (
            '{"type": "decided", "id": "1", "reader": "ann", "record": -1, "verdict": "include"}',
            "decided.record: Input should be greater than or equal to 0. Send an event as the API describes it.",
        ),
        (
            '{"type": "noted", "id": "a b", "reader": "ann", "record": 1, "text": ""}',
            "noted.id: String should match pattern '^[A-Za-z0-9._-]+$'. Send an event as the API describes it.",
        ),
    ],
)
def test_what_is_no_event_is_refused(line, message):
    with pytest.raises(ScreeningError) as caught:
        read_event(line)
    assert str(caught.value) == message


@given(
    st.one_of(
        st.binary(max_size=40), st.text(max_size=40), st.recursive(st.none() | st.integers(), st.lists).map(json.dumps)
    )
)
def test_any_other_line_is_an_error_and_never_a_crash(line):
    with pytest.raises(ScreeningError):
        read_event(line)


def test_a_damaged_line_names_its_place(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(event_line(FIRST) + b"\0\0\n" + event_line(FIRST))
    with pytest.raises(ScreeningError) as caught:
        EventLog(path)
    assert str(caught.value).startswith(f"{path}, line 2 is no decision (the event: Invalid JSON")
    assert str(caught.value).endswith("comes from a newer papertune: copy it from a backup, or update papertune.")


def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append([FIRST])
    write, room = os.write, [40]

    def full(descriptor, content):
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = write(descriptor, content[: room[0]])
        room[0] -= part
        return part

    decided = Decided(id="1", at="t", reader="ann", record=0, verdict="include")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OutputError) as caught:
            log.append([decided])
    assert str(caught.value) == (
        f"{path}: the decision was not saved: No space left on device. Make room, or check the disk, then try "
        "again; nothing that was saved before is lost."
    )
    assert path.read_bytes() == event_line(FIRST)
    log.append([decided])
    log.close()
    assert path.read_bytes() == event_line(FIRST) + event_line(decided)
    assert log.entries == [FIRST, decided]
