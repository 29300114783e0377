import json
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from processes import Command, die_at, lines, small_batches, workers_die_once

import papertune

pytest.importorskip("ray")
pytestmark = pytest.mark.once


def without_ray():
    """Make `import ray` fail."""
    sys.modules["ray"] = None  # type: ignore[assignment]


def workers_of_ray():
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:  # the process has just ended
            continue
        if words.startswith(b"ray::MapWorker"):
            found.add(int(entry.name))
    return found


@pytest.fixture(scope="module")
def joined(sample, tmp_path_factory):
    """Return a run whose labels come half from words and half from the model."""
    folder = tmp_path_factory.mktemp("joined") / "run"
    settings = ["training.max_steps=2", 'columns.label.sources=["words", "model"]']
    papertune.train(sample.train, sample.recipe, folder, overrides=settings)
    manifest = json.loads((folder / "run.json").read_text("utf-8"))
    manifest["joins"]["label"]["weights"] = {"words": 0.5, "model": 0.5}
    (folder / "run.json").write_text(json.dumps(manifest))
    return papertune.load_run(folder)


@pytest.fixture(scope="module")
def alone(sample, joined, tmp_path_factory):
    """Return a folder with the output of one process and its complete journal."""
    folder = tmp_path_factory.mktemp("alone")
    dying = partial(die_at, "papertune.inference.journal:Journal", "remove")
    assert Command(command(sample, joined, folder), small_batches, without_ray, dying).end() == -signal.SIGKILL
    return folder


def command(sample, joined, folder, *options):
    files = [joined.directory.path, sample.new, "-o", folder / "out.csv"]
    return ["predict", *files, "--probabilities", "--precision", "fp32", "--quiet", *options]


@pytest.mark.slow
def test_a_killed_worker_does_not_change_the_output(sample, joined, alone, tmp_path):
    """Two workers resume the journal of one process, and one of them dies; the file is the same."""
    entries = (alone / "out.csv.journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "out.csv.journal").write_bytes(b"".join(entries[:9]))
    died = tmp_path / "died"
    arguments = command(sample, joined, tmp_path, "--workers", "2")
    running = Command(arguments, small_batches, partial(workers_die_once, died))
    assert running.end() == 0, running.printed
    assert died.exists()
    assert (tmp_path / "out.csv").read_bytes() == (alone / "out.csv").read_bytes()
    # Ray prints nothing about the lost worker.
    assert running.printed == f"{tmp_path / 'out.csv'}: {sample.ROWS} rows ({sample.ROWS} went through the model)\n"
    assert {entry.name for entry in tmp_path.iterdir()} == {"out.csv", "died"}


@pytest.mark.slow
def test_a_killed_driver_ends_its_workers_and_its_journal_is_resumed(sample, joined, alone, tmp_path):
    journal = tmp_path / "out.csv.journal"
    before = workers_of_ray()
    running = Command(command(sample, joined, tmp_path, "--workers", "2"), small_batches)
    assert running.wait_for(lambda: lines(journal) >= 3), running.printed
    running.send(signal.SIGKILL)
    assert running.end() == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while workers_of_ray() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not workers_of_ray() - before, "workers are still running after their driver has ended"
    assert journal.read_bytes().count(b'{"batch"') >= 1
    running = Command(command(sample, joined, tmp_path), small_batches, without_ray)
    assert running.end() == 0, running.printed
    assert (tmp_path / "out.csv").read_bytes() == (alone / "out.csv").read_bytes()
