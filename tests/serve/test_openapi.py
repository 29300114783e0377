"""Requests made of the OpenAPI description: whatever is sent, the answer is never a status of 500 or more."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from papertune.serve.app import create_app
from papertune.serve.security.keys import Keys
from papertune.serve.workspace import open_workspace

TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    app = create_app(open_workspace(tmp_path_factory.mktemp("work")), Keys(TOKEN, "a-session-for-tests"))
    return schemathesis.openapi.from_asgi(
        "/openapi.json", app, headers={"Authorization": f"Bearer {TOKEN}", "Host": "localhost"}
    )


def test_no_request_of_the_description_is_a_fault_of_the_server(schema):
    for found in schema.get_all_operations():
        operation = found.ok()
        print(operation.label)

        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def send(case):
            answer = case.call(headers={"Authorization": f"Bearer {TOKEN}", "Host": "localhost"})
            assert answer.status_code < 500, answer.text

        send()
