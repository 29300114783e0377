"""`papertune serve` under load: rows a second beside `papertune predict`, a full queue, clients that leave.

    python benchmarks/serve.py                     a run of the small model is made first
    python benchmarks/serve.py --run RUN --rounds 4

Check 1. In turns on the same rows: a process that has loaded the run fills in all rows as one table, as
`papertune predict` does; and 16 clients ask a server process for a row each time, until all rows are done. Loading
counts for neither; the seconds of the whole command are shown too. Meanwhile /health is asked every 20 ms. Then 200
requests at once: those that find no place get 429. Check 2, in a server of this process, so that it can be seen what
reaches the model: clients leave while their requests wait; a client leaves while its text is written.

Other programs slow both sides down; the table gives the load of the machine. Last comes one JSON line.
"""

import argparse
import asyncio
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import uvicorn
from fastapi import FastAPI

from papertune.run import load_run
from papertune.serve.answering import openai_api, predict
from papertune.serve.answering import rows as rows_module
from papertune.serve.answering import writing as writing_module
from papertune.serve.answering.opened import RunInMemory
from papertune.serve.answering.worker import ModelWorker
from papertune.serve.errors import handle_errors
from papertune.serve.workspace import Workspace, open_workspace
from papertune.tables import read_table, write_table

from contest import machine, usable_cores  # isort: skip - beside this file
from data import data_file  # isort: skip
from material import SAMPLE_PAPERS  # isort: skip
from speed_tables import answer, show  # isort: skip

TOKEN = "a-token-for-this-benchmark"
NAME = "run"
# Between two questions to /health.
PULSE_S = 0.02
AT_ONCE = 200


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "fill":
        fill_again(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="default: one is made of the sample papers")
    parser.add_argument("--table", type=Path, help="default: papers_dev.csv of PAPERTUNE_DATA, else the sample papers")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2, help="of both sides, in turns")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    answer(parser, measure)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, and print the table."""
    os.environ.setdefault("OMP_NUM_THREADS", str(arguments.threads))
    with tempfile.TemporaryDirectory() as name:
        workspace = open_workspace(Path(name) / "work")
        run = arguments.run or make_run(Path(name) / "made")
        (workspace.runs / NAME).symlink_to(run.resolve())
        rows = rows_of(arguments.table, arguments.rows, run)
        table = Path(name) / "rows.csv"
        write_table(read_table(rows).frame, table)
        rounds, queue = throughput(workspace, run, table, rows, arguments)
        with serving(workspace) as (url, worker):
            left = clients_that_leave(url, worker, rows)
            dropped = dropped_text(url)
    result = {
        "benchmark": "serve",
        "machine": machine(arguments.threads, "cpu"),
        "rows": len(rows),
        "clients": arguments.clients,
        "rounds": rounds,
        "full_queue": queue,
        "clients_that_leave": left,
        "dropped_text": dropped,
    }
    print_result(result, arguments.output)
    return result


def make_run(folder: Path) -> Path:
    """Make a run of the small model in a few steps; its labels mean nothing."""
    import papertune

    settings = ["training.micro_batch_size=4", "training.max_steps=4", "columns.label.sources=['model']"]
    papertune.train(read_table(str(SAMPLE_PAPERS)), "medical-papers", folder, only=["label"], overrides=settings)
    return folder


def rows_of(table: Path | None, count: int, run: Path) -> list[dict[str, str]]:
    """Return rows with the columns that the run reads; the sample papers again and again where there are too few."""
    path = table or (data_file("papers_dev.csv") if "PAPERTUNE_DATA" in os.environ else SAMPLE_PAPERS)
    recipe = load_run(run).recipe
    frame = read_table(str(path)).frame
    names = [name for name in frame.columns if f"{{{name}}}" in recipe.table.document]
    found = frame.select(names).to_dicts()
    rows = [dict(found[number % len(found)]) for number in range(count)]
    for number, row in enumerate(rows):
        row[recipe.table.id or "row"] = str(number)
    return rows


# Check 1: rows a second.


def throughput(
    workspace: Workspace, run: Path, table: Path, rows: Sequence[dict[str, str]], arguments: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Measure both sides in turns, then the full queue."""
    filling = subprocess.Popen(
        [sys.executable, __file__, "fill", str(run), str(table)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    server, url = start_server(workspace)
    try:
        ask_rows(url, rows[:1], 1)  # loads the model
        rounds = []
        for number in range(arguments.rounds):
            load = os.getloadavg()[0]
            plain = fill_once(filling)
            served = ask_rows(url, rows, arguments.clients)
            served["load"] = load
            served["command_s"] = whole_command(run, table) if number == 0 else None
            served["predict_rows_per_s"] = len(rows) / plain["seconds"]
            served["equal_labels"] = sum(a == b for a, b in zip(served.pop("cells"), plain["cells"], strict=True))
            rounds.append(served)
        return rounds, full_queue(url, rows)
    finally:
        filling.kill()
        server.kill()
        filling.communicate()
        server.communicate()


def fill_again(run: Path, table: Path) -> None:
    """Fill in a table each time a line comes, and print the seconds and the cells as JSON; the model is loaded once."""
    opened = load_run(run)
    first = next(iter(opened.recipe.columns))
    opened.predict(read_table(str(table)).take([0]))
    for _ in sys.stdin:
        begin = time.perf_counter()
        filled = opened.predict(str(table))
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "cells": filled[first].to_list()}), flush=True)


def fill_once(filling: "subprocess.Popen[str]") -> dict[str, Any]:
    """Let the process fill in the table."""
    assert filling.stdin is not None
    assert filling.stdout is not None
    filling.stdin.write("\n")
    filling.stdin.flush()
    found: dict[str, Any] = json.loads(filling.stdout.readline())
    return found


def whole_command(run: Path, table: Path) -> float:
    """Return the seconds of `papertune predict`, start and loading included."""
    command = [sys.executable, "-m", "papertune", "predict", str(run), str(table), "--quiet", "--overwrite", "-o"]
    begin = time.perf_counter()
    subprocess.run([*command, str(table.with_name("filled.csv"))], check=True, capture_output=True)
    return time.perf_counter() - begin


def start_server(workspace: Workspace) -> tuple["subprocess.Popen[str]", str]:
    """Start `papertune serve`; return it and its address."""
    server = subprocess.Popen(
        [sys.executable, "-m", "papertune", "serve", "--work", str(workspace.root), "--port", "0"],
        env={**os.environ, "PAPERTUNE_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    found = re.search(r"http://[^/\s]+", server.stdout.readline())
    assert found is not None
    return server, found[0]


def ask_rows(url: str, rows: Sequence[dict[str, str]], clients: int) -> dict[str, Any]:
    """Let clients ask for a row each time until all are done, beside a client that asks for /health.

    The clients are as light as can be: they take their time from the same cores.

    Returns:
        Rows a second, the first column's cells in the order of the rows, statuses, and times of /health in ms.
    """
    left = iter(enumerate(rows))
    cells: list[str] = [""] * len(rows)
    statuses: Counter[int] = Counter()

    def client() -> None:
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=300)) as http:
            for number, row in left:
                body = json.dumps({"run": NAME, "rows": [row]})
                http.request("POST", "/api/predict", body, {"Content-Type": "application/json", **_bearer()})
                reply = http.getresponse()
                content = reply.read()
                statuses[reply.status] += 1
                if reply.status == 200:
                    cells[number] = next(iter(json.loads(content)["rows"][0]["cells"].values()))

    with pulse(url) as times_ms:
        threads = [threading.Thread(target=client) for _ in range(clients)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begin
    return {
        "rows_per_s": len(rows) / seconds,
        "cells": cells,
        "statuses": dict(statuses),
        "health_p50_ms": quantile(times_ms, 0.5),
        "health_p99_ms": quantile(times_ms, 0.99),
        "health_max_ms": max(times_ms),
        "health_asked": len(times_ms),
    }


@contextmanager
def pulse(url: str) -> Iterator[list[float]]:
    """Ask for /health again and again; yield the times in ms, which grow until the end."""
    times_ms: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as http:
            while not ended.is_set():
                begin = time.perf_counter()
                http.request("GET", "/health")
                assert http.getresponse().read() == b'{"status":"ok"}'
                times_ms.append(1000 * (time.perf_counter() - begin))
                ended.wait(PULSE_S)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield times_ms
    finally:
        ended.set()
        thread.join()


def full_queue(url: str, rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Ask for many rows at once; return how often each status came, and the seconds until the last answer."""

    async def ask_all() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=AT_ONCE)
        async with httpx2.AsyncClient(base_url=url, headers=_bearer(), timeout=300, limits=limits) as http:
            bodies = [{"run": NAME, "rows": [rows[number % len(rows)]]} for number in range(AT_ONCE)]
            return await asyncio.gather(*(http.post("/api/predict", json=body) for body in bodies))

    begin = time.perf_counter()
    replies = asyncio.run(ask_all())
    refused = [reply for reply in replies if reply.status_code == 429]
    return {
        "statuses": dict(Counter(reply.status_code for reply in replies)),
        "retry_after": sorted({reply.headers.get("Retry-After", "missing") for reply in refused}),
        "seconds": time.perf_counter() - begin,
    }


# Check 2: clients that leave.


@contextmanager
def serving(workspace: Workspace) -> Iterator[tuple[str, ModelWorker]]:
    """Serve answers in this process; yield the address and the worker."""
    worker = ModelWorker(RunInMemory(workspace.run_path))
    app = FastAPI()
    app.get("/health")(lambda: {"status": "ok"})
    handle_errors(app)
    app.include_router(predict.router(workspace, worker))
    app.include_router(openai_api.router(workspace, worker))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", worker
    finally:
        server.should_exit = True
        thread.join()
        worker.stop()


def clients_that_leave(url: str, worker: ModelWorker, rows: Sequence[dict[str, str]]) -> dict[str, int]:
    """Let clients leave while the model is held; return how many waited, and how many of their rows it was given."""
    whole, given = rows_module.fill_together, []
    begun, may_go_on = threading.Event(), threading.Event()

    def counting(opened: Any, requests: Sequence[Any], listener: Any) -> Any:
        given.extend(row for each in requests for row in each.rows)
        begun.set()
        may_go_on.wait(60)
        return whole(opened, requests, listener)

    def ask(row: dict[str, str], timeout_s: float) -> None:
        body = {"run": NAME, "rows": [row]}
        with suppress(httpx2.TimeoutException):
            httpx2.post(f"{url}/api/predict", json=body, timeout=timeout_s)

    rows_module.fill_together = counting
    try:
        first = threading.Thread(target=ask, args=(rows[0], 300))
        first.start()
        begun.wait(300)
        leaving = [threading.Thread(target=ask, args=({**row, "title": "leaves"}, 2)) for row in rows[:30]]
        for thread in leaving:
            thread.start()
        _until(lambda: len(worker._waiting) == len(leaving))
        for thread in leaving:
            thread.join()
        _until(lambda: all(task.is_gone for task in worker._waiting))
        may_go_on.set()
        first.join()
        ask(rows[0], 300)
    finally:
        rows_module.fill_together = whole
    return {"waited": len(leaving), "given_to_the_model": sum(row.get("title") == "leaves" for row in given)}


def dropped_text(url: str) -> dict[str, float]:
    """Leave while a text is written; return for how many seconds it was written on, and how fast before."""
    whole, times = writing_module.stream, []

    def noting(*arguments: Any, **options: Any) -> Iterator[Any]:
        for token in whole(*arguments, **{**options, "end_ids": ()}):
            times.append(time.monotonic())
            yield token

    writing_module.stream = noting
    try:
        body = {"model": NAME, "prompt": "The", "max_tokens": 1000, "stream": True}
        with httpx2.Client(timeout=300) as http, http.stream("POST", f"{url}/v1/completions", json=body) as reply:
            events = reply.iter_lines()
            while len(times) < 10:
                next(events)
        left = time.monotonic()
        time.sleep(2)
    finally:
        writing_module.stream = whole
    return {
        "written_on_s": max(0.0, times[-1] - left),
        "tokens_after": sum(at > left for at in times),
        "tokens_per_s": 9 / (times[9] - times[0]),
    }


def print_result(result: dict[str, Any], output: Path | None) -> None:
    """Print the table, and write it."""
    head = ["round", "predict rows/s", "served rows/s", "ratio", "equal labels", "/health p50", "p99", "max", "load"]
    lines = [
        [
            str(number),
            f"{each['predict_rows_per_s']:.2f}",
            f"{each['rows_per_s']:.2f}",
            f"{each['rows_per_s'] / each['predict_rows_per_s']:.2f}",
            f"{each['equal_labels']} of {result['rows']}",
            *(f"{each[f'health_{which}_ms']:.0f} ms" for which in ("p50", "p99", "max")),
            f"{each['load']:.1f}",
        ]
        for number, each in enumerate(result["rounds"], start=1)
    ]
    ratios = [each["rows_per_s"] / each["predict_rows_per_s"] for each in result["rounds"]]
    queue, left, dropped = (result[name] for name in ("full_queue", "clients_that_leave", "dropped_text"))
    notes = [
        f"{result['rows']} rows, {result['clients']} clients with a row each time; median ratio "
        f"{statistics.median(ratios):.2f}; statuses {[each['statuses'] for each in result['rounds']]}; the whole "
        f"command `papertune predict` took {result['rounds'][0]['command_s']:.1f} s",
        f"{AT_ONCE} requests at once: {queue['statuses']}, Retry-After {queue['retry_after']}",
        f"{left['waited']} clients left while their requests waited: {left['given_to_the_model']} of them were given "
        f"to the model; a text was written on for {dropped['written_on_s']:.2f} s after its client had left "
        f"({dropped['tokens_per_s']:.0f} tokens/s before)",
    ]
    show("Serving", head, lines, notes, result["machine"], output)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


def _until(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


if __name__ == "__main__":
    main()
