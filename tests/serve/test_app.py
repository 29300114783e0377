from fastapi.testclient import TestClient

from papertune.serve.app import create_app


def test_the_session_names_the_work_folder_and_no_run(client, workspace):
    answer = client.get("/api/session").json()
    assert answer["work"] == str(workspace.root)
    assert answer["run"] is None


def test_health_needs_nothing(client):
    assert client.get("/health").json() == {"status": "ok"}


def test_an_unknown_route_is_an_error_in_json(client):
    answer = client.get("/api/nothing")
    assert answer.status_code == 404
    assert answer.json() == {"error": {"message": "Not Found", "code": "not_found"}}


def test_nothing_is_exported_whatever_the_environment_says(workspace, keys, monkeypatch, caplog):
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:1")
    with TestClient(
        create_app(workspace, keys), base_url="http://localhost", headers={"Authorization": f"Bearer {keys.token}"}
    ) as client:
        assert client.get("/health").json() == {"status": "ok"}
    assert caplog.messages == []
