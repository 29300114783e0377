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


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    app = create_app(open_workspace(tmp_path_factory.mktemp("work")), Keys("a-token-for-tests", "a-session-for-tests"))
    with TestClient(app, base_url=URL, headers=BEARER) as client:
        yield client


@pytest.fixture(scope="module")
def real(client):
    """Return the ids of things that exist, by the name that a path or a body has for them."""
    table = client.put("/api/tables?name=papers.csv", content=TABLE.encode()).json()["id"]
    screen = client.post("/api/screens", json={"table": table, "criteria": [], "readers": ["ann"]}).json()["id"]
    return {"table_id": table, "table": table, "screen_id": screen, "reader": "ann"}


NASTY = [10**30, -1, 1e308, "", "\0", "x" * 5000, "../..", "=1", None, True]
# A query has no such values.
NASTY_IN_BODIES = [*NASTY, "\ud800", "x" * 100_000, [], {}, [[[]]]]


def with_real(values, real):
    return {name: real.get(name, value) for name, value in values.items()} if isinstance(values, dict) else values


def test_no_request_of_the_description_is_a_fault_of_the_server(client, real):
    operations = [found.ok() for found in schemathesis.openapi.from_dict(client.app.openapi()).get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        try_requests(client, operation, real)


def try_requests(client, operation, real):
    may_exist = (operation.method.upper(), operation.path) not in NOT_ON_REAL_THINGS

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), exists=st.booleans(), data=st.data())
    def send(case, exists, data):
        if exists and may_exist:
            case.path_parameters = with_real(case.path_parameters, real)
            case.query = with_real(case.query, real)
            case.body = with_real(case.body, real)
        for part, values in ((case.query, NASTY), (case.body, NASTY_IN_BODIES)):
            if isinstance(part, dict) and part and data.draw(st.booleans()):
                part[data.draw(st.sampled_from(sorted(part)))] = data.draw(st.sampled_from(values))
        sent = case.as_transport_kwargs(base_url=URL, headers=BEARER)
        # In ASCII, since JSON can name half of a character, which no other encoding can.
        body = json.dumps(sent["json"]) if "json" in sent else sent.get("data")
        headers = {name: value for name, value in sent["headers"].items() if name.lower() != "host"}
        headers |= {"Content-Type": "application/json"} if "json" in sent else {}
        answer = client.request(sent["method"], sent["url"], params=sent.get("params"), headers=headers, content=body)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert error["message"]
            assert "code" in error

    send()
