"""The server as a process: started, killed, ended, two of them on one folder."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from papertune.errors import OutputError
from papertune.serve.server import _listening, name_of_run, serve
from papertune.serve.workspace import is_name, make_folder, open_workspace

TOKEN = "a-token-for-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Server:
    """`papertune serve` in a process of its own."""

    def __init__(self, work, *arguments):
        command = [sys.executable, "-m", "papertune", "serve", "--work", str(work), "--port", "0", *arguments]
        environment = {**os.environ, "PAPERTUNE_TOKEN": TOKEN}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        first = self.process.stdout.readline()
        self.url = re.search(r"http://\S+", first)[0]
        self.client = httpx2.Client(base_url=self.url, headers=BEARER, timeout=30)

    def end(self, how):
        self.client.close()
        self.process.send_signal(how)
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.fixture
def start():
    servers = []

    def begin(*arguments):
        servers.append(Server(*arguments))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.once
def test_corrections_survive_a_kill_and_none_is_doubled(start, tmp_path):
    server = start(tmp_path)
    table = server.client.put("/api/tables?name=a.csv", content=b"n\n" + b"0\n" * 1000).json()["id"]
    numbers, saved = itertools.count(), []

    def correct(url):
        with suppress(httpx2.HTTPError), httpx2.Client(base_url=url, headers=BEARER) as client:
            for number in numbers:
                body = [{"id": str(number), "row": number, "column": "n", "value": str(number + 1)}]
                assert client.patch(f"/api/tables/{table}/cells", json=body).status_code == 200
                saved.append(number)

    threads = [threading.Thread(target=correct, args=(server.url,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(saved) < 60:
        time.sleep(0.01)
    server.end(signal.SIGKILL)
    for thread in threads:
        thread.join()
    with (tmp_path / "tables" / table / "corrections.jsonl").open("ab") as log:
        log.write(b'{"id": "torn')

    server = start(tmp_path)
    # The client cannot know whether the last requests arrived, so it sends them again.
    again = [{"id": str(n), "row": n, "column": "n", "value": str(n + 1)} for n in range(max(saved) + 4)]
    answer = server.client.patch(f"/api/tables/{table}/cells", json=again).json()
    assert answer["saved"] <= 4 + 3
    assert answer["cells"] == len(again)
    lines = (tmp_path / "tables" / table / "corrections.jsonl").read_text().splitlines()
    assert sorted(int(json.loads(line)["id"]) for line in lines) == list(range(len(again)))
    cells = server.client.get(f"/api/tables/{table}/download").text.split()[1:]
    assert cells[: len(again)] == [str(number + 1) for number in range(len(again))]


@pytest.mark.slow
@pytest.mark.once
def test_ctrl_c_ends_the_server_although_a_client_is_sending(start, tmp_path):
    server = start(tmp_path)
    assert server.client.get("/health").json() == {"status": "ok"}
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as sending:
        sending.sendall(
            f"PUT /api/tables?name=a.csv HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Length: 1000\r\n\r\nhalf".encode()
        )
        while not list((tmp_path / "tables").iterdir()):
            time.sleep(0.01)
        assert server.end(signal.SIGINT) == 0
    assert list((tmp_path / "tables").iterdir()) == []


def test_a_second_server_on_one_folder_is_refused(tmp_path):
    def tell(address):
        with pytest.raises(OutputError) as caught:
            serve(tmp_path, None, "127.0.0.1", 0, TOKEN, print)
        assert str(caught.value) == (
            f"{tmp_path} is served already at {address}. Open that page, end that server, or choose another folder "
            "with --work."
        )
        raise InterruptedError  # instead of serving for ever

    for _ in range(2):  # the first one has freed the folder
        with pytest.raises(InterruptedError):
            serve(tmp_path, None, "127.0.0.1", 0, TOKEN, tell)


@pytest.mark.parametrize(
    ("host", "token", "pattern"),
    [
        ("127.0.0.1", None, r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}"),
        ("127.0.0.1", TOKEN, r"http://127\.0\.0\.1:\d+/"),
        ("::1", None, r"http://\[::1\]:\d+/\?token=[\w-]{32}"),
    ],
)
def test_the_address_has_a_token_unless_it_was_chosen(tmp_path, host, token, pattern):
    told = []

    def tell(address):
        told.append(address)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        serve(tmp_path, None, host, 0, token, tell)
    assert re.fullmatch(pattern, told[0])


def test_a_run_elsewhere_is_linked_by_a_free_name(tmp_path):
    workspace = open_workspace(tmp_path / "work")
    runs = [tmp_path / name / "my run" for name in "ab"]
    for run in runs:
        run.mkdir(parents=True)
        (run / "run.json").write_text("{}")
    assert [name_of_run(workspace, run) for run in (*runs, *runs)] == ["my-run", "my-run-2", "my-run", "my-run-2"]
    assert (workspace.runs / "my-run").resolve() == runs[0]
    assert name_of_run(workspace, workspace.runs / "my-run-2") == "my-run-2"


def test_a_run_of_the_work_folder_is_known_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = open_workspace(tmp_path / "work")
    (workspace.runs / "papers").mkdir()
    (workspace.runs / "papers" / "run.json").write_text("{}")
    assert name_of_run(workspace, Path("papers")) == "papers"


def test_ids_are_names_in_the_order_of_making(tmp_path):
    made = [make_folder(tmp_path).name for _ in range(12)]
    assert sorted(made) == made
    assert all(map(is_name, made))


def test_answers_are_sent_at_once():
    with _listening("127.0.0.1", 0) as listening:
        # Else asyncio does not set TCP_NODELAY, and an answer on a connection that is kept waits for 40 ms.
        assert listening.proto == socket.IPPROTO_TCP
