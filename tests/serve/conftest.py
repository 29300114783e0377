from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from papertune.serve.app import create_app
from papertune.serve.security.keys import Keys
from papertune.serve.tables.store import Tables
from papertune.serve.workspace import Workspace, open_workspace

TOKEN, SESSION = "a-token-for-tests", "a-session-for-tests"


PAPERS = b"title,label\nThe heart,1\nA graph,0\n"


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


@pytest.fixture(scope="session")
def read_table_folder(tmp_path_factory) -> Path:
    """Return the folder of a table in a work folder; to read a table needs a process, which takes a second."""
    tables = Tables(open_workspace(tmp_path_factory.mktemp("tables") / "work"))
    path = tables.start("papers.csv")
    path.write_bytes(PAPERS)
    tables.finish(path, "papers.csv")
    return path.parent
