"""What `papertune doctor` finds and does not print, and the completions of a shell."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from http.client import InvalidURL
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
from huggingface_hub import constants

from papertune.pipelines.doctor import diagnosis, machine, network, packages


@pytest.fixture(autouse=True)
def _caches(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path / "cache"))
    # Neither the models nor the disk of this machine count.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**11))


def section(printed, title):
    lines = printed.split(f"{title}\n")[1].split("\n\n")[0].splitlines()
    return {line[2:21].strip(): line[21:] for line in lines}


def test_it_names_versions_devices_folders_and_extras(papertune, tmp_path):
    (tmp_path / "cache" / "model").mkdir(parents=True)
    (tmp_path / "cache" / "model" / "weights").write_bytes(bytes(3_000_000))
    ended = papertune("doctor")
    assert (ended.code, ended.err) == (0, "")
    versions = section(ended.out, "Versions")
    assert versions["torch"] == metadata.version("torch")
    assert {"papertune", "Python", "transformers", "polars"} <= versions.keys()
    assert section(ended.out, "Devices")["used"] in ("cpu", "cuda")
    assert section(ended.out, "Folders")["unpacked models"].startswith(f"{tmp_path / 'cache'}, 3 MB, ")
    assert {"serve", "ray", "small model"} <= section(ended.out, "Extras").keys()
    assert "dev" not in section(ended.out, "Extras")


def test_the_json_has_the_same(papertune):
    found = json.loads(papertune("doctor", "--json").out)
    assert found["problems"] == []
    assert found["network"] is None
    assert {"name": "torch", "wanted": ">=2.6", "installed": metadata.version("torch"), "fits": True} in found[
        "packages"
    ]
    assert {each["name"] for each in found["extras"]} > {"serve", "ray"}


@pytest.mark.parametrize(("setting", "auto"), [("none", "fp32, since bf16 would be slow"), ("bf16", "bf16")])
def test_what_the_cpu_is_used_for_is_what_the_models_ask(papertune, monkeypatch, setting, auto):
    monkeypatch.setenv("PAPERTUNE_CPU", setting)
    printed = papertune("doctor").out
    assert section(printed, "CPU")["precision auto"] == auto
    assert section(printed, "Settings")["PAPERTUNE_CPU"] == setting


def test_nothing_private_is_printed(papertune, tmp_path, monkeypatch):
    home = tmp_path / "home-of-ann"
    home.mkdir()
    monkeypatch.setattr("pathlib.Path.home", lambda: home)
    monkeypatch.setenv("PAPERTUNE_CACHE", str(home / "cache"))
    monkeypatch.setenv("PAPERTUNE_TOKEN", "very-secret")
    monkeypatch.setenv("SOME_PASSWORD", "very-secret")
    monkeypatch.chdir(home)
    for arguments in ([], ["--json"]):
        printed = papertune("doctor", *arguments).out
        assert "very-secret" not in printed
        assert "home-of-ann" not in printed
        assert "~/cache" in printed


def test_what_is_missing_is_one_error_with_the_commands(papertune, monkeypatch):
    real = packages.version

    def version(name):
        if name == "polars":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "peft" else real(name)

    monkeypatch.setattr(packages, "version", version)
    assert papertune("doctor").error == (
        "papertune will not work as it should (2 problems):\n"
        '  - peft is 0.1, which does not fit. Install it: pip install "peft>=0.19"\n'
        '  - polars is missing. Install it: pip install "polars>=1.30"\n'
    )


def test_a_missing_extra_is_no_problem_but_has_its_command(papertune, monkeypatch):
    real = packages.version

    def version(name):
        if name == "ray":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(packages, "version", version)
    ended = papertune("doctor")
    assert ended.code == 0
    assert section(ended.out, "Extras")["ray"] == 'lacks ray: pip install "papertune[ray]"'


def test_full_and_closed_folders_are_problems():
    cache = machine.Folder("unpacked models", "~/cache", 10, 10**8, disk=1, is_writable=True)
    work = replace(cache, what="working directory", path=".")
    closed = replace(cache, path="/data", disk=2, is_writable=False)
    found = replace(diagnosis.diagnose(), folders=(cache, work, closed))
    # One disk is one problem, and a closed folder has no use for free bytes.
    assert found.problems == (
        "/data (unpacked models) cannot be written. Change its permissions, or choose another folder.",
        "~/cache (unpacked models), . (working directory): only 0.1 GB are free. Make room.",
    )


def test_a_cache_with_models_may_be_for_reading_only(papertune, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    access = os.access
    closed = {tmp_path / "cache"}
    monkeypatch.setattr(machine.os, "access", lambda path, mode: path not in closed and access(path, mode))
    ended = papertune("doctor")
    assert f"{tmp_path / 'cache'} (unpacked models) cannot be written." in ended.error
    (tmp_path / "cache" / "weights").write_bytes(b"1")
    ended = papertune("doctor")
    assert (ended.code, ended.err) == (0, "")
    assert section(ended.out, "Folders")["unpacked models"].endswith(", for reading only")


def test_the_network_is_asked_only_if_it_is_wanted(papertune, monkeypatch):
    asked = []

    def closed(request, timeout):
        asked.append(request.get_method())
        raise URLError(OSError(101, "Network is unreachable"))

    monkeypatch.setattr(network, "urlopen", closed)
    papertune("doctor")
    assert asked == []
    ended = papertune("doctor", "--network")
    assert asked == ["HEAD"]
    assert "cannot be reached (Network is unreachable). Use models that are on this machine.\n" in ended.error


def test_the_password_of_the_hub_is_neither_shown_nor_sent(monkeypatch):
    sent = []

    def refused(request, timeout):
        sent.append(request.full_url)
        raise InvalidURL("nonnumeric port: 'x'")

    monkeypatch.setattr(constants, "ENDPOINT", "https://ann:very-secret@hub.example:x/models")
    monkeypatch.setattr(network, "urlopen", refused)
    assert network.reach() == network.Reached("hub.example", "nonnumeric port: 'x'")
    assert sent == ["https://hub.example:x/models"]


def test_a_cache_below_a_closed_folder_is_a_problem_and_no_crash(monkeypatch, tmp_path):
    """Root may look into every folder, so the refusal is made up."""
    closed = tmp_path / "closed"
    closed.mkdir()
    real, access = Path.exists, os.access

    def exists(path, **options):
        if closed in path.parents:
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(Path, "exists", exists)
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and access(path, mode))
    monkeypatch.setenv("PAPERTUNE_CACHE", str(closed / "cache"))
    found = machine.folders()[0]
    assert (found.path, found.size, found.is_writable) == (str(closed / "cache"), None, False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_the_program(papertune, shell):
    script = papertune("completion", shell).out
    assert f"_PAPERTUNE_COMPLETE=complete_{shell}" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_an_unknown_shell_is_refused(papertune):
    ended = papertune("completion", "tcsh")
    assert ended.code == 2
    assert all(word in ended.err for word in ("tcsh", "bash", "zsh", "fish"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_offers_commands_options_and_words(papertune, tmp_path):
    """A shell with the script completes as a user would with the Tab key."""
    (tmp_path / "completion.bash").write_text(papertune("completion", "bash").out, "utf-8")
    program = tmp_path / "papertune"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'papertune'\nfrom papertune.cli import main\nmain()\n", "utf-8"
    )
    program.chmod(0o755)
    script = 'source completion.bash; COMP_WORDS=(./papertune "$@"); COMP_CWORD=$#; _papertune_completion ./papertune; '

    def offered(*words):
        command = ["bash", "-c", f'{script}echo "${{COMPREPLY[@]}}"', "bash", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()

    assert offered("pre") == ["predict", "prefer"]
    assert offered("predict", "--sh") == ["--shard"]
    assert offered("predict", "run", "--precision", "b") == ["bf16"]
