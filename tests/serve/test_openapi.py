"""Requests made of the OpenAPI description: whatever is sent, the answer is never a status of 500 or more."""

import json

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from papertune.serve.app import create_app
from papertune.serve.security.keys import Keys
from papertune.serve.workspace import open_workspace

schemathesis = pytest.importorskip("schemathesis")
pytestmark = [pytest.mark.slow, pytest.mark.once]

URL = "http://localhost:8765"
BEARER = {"Authorization": "Bearer a-token-for-tests"}
TABLE = "title,abstract,label\n" + "".join(f"paper {n},about {n},{'ab'[n % 2]}\n" for n in range(12))
EXAMPLES = 6
# A job is a command in a process of its own; a table that is gone is found by the other requests.
NOT_ON_REAL_THINGS = {("POST", "/api/jobs"), ("DELETE", "/api/tables/{table_id}")}
NASTY = [10**30, -1, 1e308, "", "\0", "x" * 5000, "../..", "=1", None, True]
# A query has no such values.
NASTY_IN_BODIES = [*NASTY, "\ud800", "x" * 100_000, [], {}, [[[]]]]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return create_app(open_workspace(tmp_path_factory.mktemp("work")), Keys("a-token-for-tests", "a-session-for-tests"))


def cases_of(operation):
    """Return requests of an operation, each with the nasty values that take the places of others, if any.

    They are made before they are sent: Python 3.11 cannot parse in two threads at once, and Hypothesis parses.
    """
    cases = []
    nasty = st.none() | st.tuples(st.integers(0, 20), st.sampled_from(NASTY), st.sampled_from(NASTY_IN_BODIES))

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), exists=st.booleans(), nasty=nasty)
    def collect(case, exists, nasty):
        may_exist = (operation.method.upper(), operation.path) not in NOT_ON_REAL_THINGS
        cases.append((case, exists and may_exist, nasty))

    collect()
    return cases


def with_real(values, real):
    return {name: real.get(name, value) for name, value in values.items()} if isinstance(values, dict) else values


def with_nasty(values, number, value):
    if not isinstance(values, dict) or not values:
        return values
    name = sorted(values)[number % len(values)]
    return {**values, name: value}


def send(client, case, real, nasty):
    case.path_parameters = with_real(case.path_parameters, real)
    case.query = with_real(case.query, real)
    case.body = with_real(case.body, real)
    if nasty is not None:
        number, in_query, in_body = nasty
        case.query = with_nasty(case.query, number, in_query)
        case.body = with_nasty(case.body, number, in_body)
    sent = case.as_transport_kwargs(base_url=URL, headers=BEARER)
    # In ASCII, since JSON can name half of a character, which no other encoding can.
    body = json.dumps(sent["json"]) if "json" in sent else sent.get("data")
    headers = {name: value for name, value in sent["headers"].items() if name.lower() != "host"}
    headers |= {"Content-Type": "application/json"} if "json" in sent else {}
    return client.request(sent["method"], sent["url"], params=sent.get("params"), headers=headers, content=body)


def test_no_request_of_the_description_is_a_fault_of_the_server(app):
    operations = [found.ok() for found in schemathesis.openapi.from_dict(app.openapi()).get_all_operations()]
    assert len(operations) > 30
    cases = [case for operation in operations for case in cases_of(operation)]
    with TestClient(app, base_url=URL, headers=BEARER) as client:
        table = client.put("/api/tables?name=papers.csv", content=TABLE.encode()).json()["id"]
        screen = client.post("/api/screens", json={"table": table, "criteria": [], "readers": ["ann"]}).json()["id"]
        real = {"table_id": table, "table": table, "screen_id": screen, "reader": "ann"}
        for case, exists, nasty in cases:
            answer = send(client, case, real if exists else {}, nasty)
            assert answer.status_code < 500, (case, answer.text)
            if answer.status_code >= 400:
                error = answer.json()["error"]
                assert error["message"], case
                assert "code" in error, case
