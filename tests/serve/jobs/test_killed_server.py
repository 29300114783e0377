"""Check 4 of the server with a real training: closing, killing and restarting the server changes nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
import torch
from safetensors.torch import load_file

import papertune

LIMIT_S = 240
TOKEN = "a-token-for-tests"
WORDS = ["heart", "graph", "aspirin", "network", "trial", "method", "patients", "learning", "effect", "study", "neural"]


class RealServer:
    """`papertune serve` in a process of its own."""

    def __init__(self, work):
        self.work = work
        self.process = subprocess.Popen(
            [sys.executable, "-m", "papertune", "serve", "--work", work, "--port", "0"],
            env={**os.environ, "PAPERTUNE_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = ""
        while not self.address:
            line = self.process.stdout.readline()
            assert line, "the server has not started"
            if found := re.search(r"http://[^/]+", line):
                self.address = found[0]

    def asks(self, path, body=None, *, method=None):
        """Return the answer of a route; a body of bytes is sent as it is."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        method = method or ("GET" if body is None else "POST")
        request = urllib.request.Request(self.address + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.read().decode()

    def state_of(self, job):
        return json.loads(self.asks(f"/api/jobs/{job}"))["state"]

    def waits_for(self, job, state):
        wait_until(lambda: self.state_of(job) != "running")
        assert self.state_of(job) == state, self.asks(f"/api/jobs/{job}")

    def is_killed(self):
        self.process.send_signal(signal.SIGKILL)
        with self.process:
            pass


def wait_until(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def papers():
    rows = ["uuid,title,abstract,label"]
    for n in range(24):
        words = [WORDS[(n * 5 + i * (1 + n % 3)) % len(WORDS)] for i in range(3 + n % 7)]
        rows.append(f"p{n:03},{words[0]} {n},{' '.join(words)},{n % 2}")
    return "\n".join(rows) + "\n"


def recipe(model):
    label = {"kind": "label", "question": "Is it medical?", "labels": ["1", "0"], "sources": ["model"]}
    return {
        "model": str(model),
        "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
        "columns": {"label": label},
        "method": {"rank": 4, "dropout": 0.2},
        "training": {"epochs": 4, "micro_batch_size": 2, "logging_steps": 1, "save_steps": 15},
    }


@pytest.mark.slow
@pytest.mark.once
def test_a_training_survives_a_killed_server_and_a_stop_with_the_same_curve_and_weights(tmp_path, tiny_folder):
    (tmp_path / "papers.csv").write_text(papers(), "utf-8")
    chosen = recipe(tiny_folder)
    undisturbed = papertune.train(tmp_path / "papers.csv", chosen, tmp_path / "undisturbed")

    server = RealServer(tmp_path / "work")
    try:
        table = json.loads(server.asks("/api/tables?name=papers.csv", papers().encode(), method="PUT"))["id"]
        request = {"kind": "train", "table": table, "name": "run", "recipe": chosen}
        job = json.loads(server.asks("/api/jobs", request))["id"]
        events = server.work / "jobs" / job / "events.jsonl"
        wait_until(lambda: events.exists() and '"loss"' in events.read_text("utf-8"))
        server.is_killed()

        training = json.loads(events.read_text("utf-8").splitlines()[0])["pid"]
        os.kill(training, signal.SIGSTOP)  # it would end while the next server starts
        server = RealServer(tmp_path / "work")
        assert server.state_of(job) == "running"
        server.asks(f"/api/jobs/{job}/stop", b"")
        os.kill(training, signal.SIGCONT)
        server.waits_for(job, "stopped")
        server.asks(f"/api/jobs/{job}/resume", b"")
        server.waits_for(job, "done")
        stream = server.asks(f"/api/jobs/{job}/events")
        assert curve(stream) == losses_of(undisturbed)
        assert_same_weights(server.work / "runs" / "run", tmp_path / "undisturbed")
    finally:
        server.is_killed()


def curve(stream):
    data = re.findall(r"^event: loss\ndata: (.*)$", stream, re.MULTILINE)
    return [(each["step"], each["loss"]) for each in map(json.loads, data)]


def losses_of(run):
    return [(each["step"], each["loss"]) for each in run.directory.metric_entries() if "loss" in each]


def assert_same_weights(one, other):
    first, second = (load_file(each / "adapter" / "adapter_model.safetensors") for each in (one, other))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
