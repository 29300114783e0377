"""Mistakes before the server starts: one message each, exit code 2."""

import builtins
import socket
import sys

import pytest

pytest.importorskip("fastapi")


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


def test_another_address_than_this_machines_own_needs_a_token(papertune, work):
    ended = papertune("serve", "--work", work, "--host", "0.0.0.0", "--port", 0)
    assert ended.error == (
        "at 0.0.0.0 other machines can reach the server, so it needs a token that you choose: --token, or the variable "
        "PAPERTUNE_TOKEN. Without --host, only this machine can reach it.\n"
    )
    assert not work.exists()


def test_a_short_token_is_refused(papertune, work, monkeypatch):
    monkeypatch.setenv("PAPERTUNE_TOKEN", "short")
    assert papertune("serve", "--work", work, "--port", 0).error.startswith("the token has less than 8 characters")


def test_a_port_that_is_in_use_is_named(papertune, work):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = papertune("serve", "--work", work, "--port", port)
    assert ended.error == f"port {port} is in use. Choose another one: --port, or --port 0 for any.\n"


def test_a_host_that_is_not_this_machine_is_refused(papertune, work, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    ended = papertune("serve", "--work", work, "--host", "gpu.example", "--token", "long enough", "--port", 0)
    assert ended.error == ("gpu.example is no address of this machine: Name or service not known. Correct --host.\n")


def test_a_file_is_no_work_folder(papertune, work):
    work.write_text("x")
    ended = papertune("serve", "--work", work)
    assert ended.error == f"{work} cannot be written: {work} is not a folder. Choose another place.\n"


def test_a_folder_that_is_no_run_is_refused(papertune, work, tmp_path):
    ended = papertune("serve", tmp_path / "run", "--work", work, "--port", 0)
    assert ended.error == (
        f"{tmp_path / 'run'} is not a run: it has no run.json. Name the output folder of papertune train.\n"
    )


def test_without_the_extra_the_install_command_is_named(papertune, work, monkeypatch):
    imported = builtins.__import__

    def without_fastapi(name, *rest):
        if name == "papertune.serve.server":
            raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")
        return imported(name, *rest)

    monkeypatch.delitem(sys.modules, "papertune.serve.server", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_fastapi)
    assert papertune("serve", "--work", work).error == (
        'papertune serve needs packages that are not installed: pip install "papertune[serve]"\n'
    )
