import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from papertune.serve.app import create_app
from papertune.serve.security.keys import Keys
from papertune.serve.workspace import Workspace, open_workspace

TOKEN, SESSION = "a-token-for-tests", "a-session-for-tests"


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return open_workspace(tmp_path / "work")


@pytest.fixture
def keys() -> Keys:
    return Keys(TOKEN, SESSION)


@pytest.fixture
def app(workspace, keys):
    return create_app(workspace, keys, port=8765)


@pytest.fixture
def client(app):
    with TestClient(app, base_url="http://localhost:8765", headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client
