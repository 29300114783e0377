import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from papertune.serve.app import create_app
from papertune.serve.workspace import Workspace, open_workspace

TOKEN = "a-token-for-tests"


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return open_workspace(tmp_path / "work")


@pytest.fixture
def app(workspace):
    return create_app(workspace, TOKEN)


@pytest.fixture
def client(app):
    with TestClient(app, base_url="http://localhost:8765", headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client
