"""Screens a table by keyboard in Chromium while the server is killed again and again.

    python benchmarks/serve_screening.py --rows 20000 --labels 1000 --kills 20 --encoder auto

It prints how many decisions the export has, which differ from what was pressed, and two times: from a key to the next
title in the page, and of the request that stores a decision, both as the browser measures them. The abstracts are made
up: 200 words of 60,000. PAPERTUNE_CHROMIUM names the browser.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

TOKEN = "benchmark"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
WORDS, WORDS_A_TEXT, TOPICS = 60_000, 200, 20
# Until a killed server answers again, while other programs run.
PATIENCE_MS = 120_000
# Keys are counted, and the time until the title has changed and was painted.
MEASURE = """
() => {
  performance.setResourceTimingBufferSize(20000);
  window.times = [];
  let pressed = 0;
  addEventListener("keydown", () => { pressed = performance.now(); }, true);
  let last = document.querySelector(".record")?.dataset.record;
  new MutationObserver(() => {
    const now = document.querySelector(".record")?.dataset.record;
    if (now === undefined || now === last) return;
    last = now;
    const begun = pressed;
    requestAnimationFrame(() => window.times.push(performance.now() - begun));
  }).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-record"] });
}
"""
STORED = """
() => performance.getEntriesByType("resource")
  .filter((entry) => entry.name.endsWith("/events") && entry.responseStatus === 200)
  .map((entry) => entry.duration)
"""


class Server:
    """`papertune serve`, which can be killed and started again on the same port."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.port = "0"
        self.start()
        self.address = re.search(r"http://\S+", self.process.stdout.readline())[0]  # type: ignore[index, union-attr]
        self.port = re.search(r":(\d+)/", self.address)[1]  # type: ignore[index]

    def start(self) -> None:
        """Start it, and do not wait until it answers."""
        command = [sys.executable, "-m", "papertune", "serve", "--work", str(self.work), "--port", self.port]
        environment = {**os.environ, "PAPERTUNE_TOKEN": TOKEN}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """Send a request as a program does, and return the body of the answer."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Content-Type": "application/json"} if data else {})
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.read()


@dataclass
class Outcome:
    """What came out of a screening.

    Attributes:
        pressed: The decision of each record by the keys, by its number.
        exported: The same by the export.
        twice: Ids of events that stand twice in events.jsonl.
        to_title_ms: From each key to the next title; waiting for a killed server is left out.
        to_store_ms: Of each request that stored a decision.
        waits: How often the page had nothing left to show because the server was away.
    """

    pressed: dict[int, str] = field(default_factory=dict)
    exported: dict[int, str] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    to_title_ms: list[float] = field(default_factory=list)
    to_store_ms: list[float] = field(default_factory=list)
    waits: int = 0


def make_table(rows: int, seed: int = 0) -> pl.DataFrame:
    """Return made-up papers of some topics; the first topic is the relevant one."""
    draw = np.random.default_rng(seed)
    words = np.array([f"{'abcdefghijklmnop'[n % 16]}{n:x}" for n in range(WORDS)])
    popularity = 1 / np.arange(1, WORDS + 1)
    popularity /= popularity.sum()
    topic = draw.integers(0, TOPICS, rows)
    titles, abstracts = [], []
    for row in range(rows):
        own = words[draw.integers(0, 60, 8) + 100 * (topic[row] + 1)]
        text = draw.permutation(np.concatenate([draw.choice(words, WORDS_A_TEXT - 8, p=popularity), own]))
        titles.append(f"paper {row} topic{topic[row]} {' '.join(text[:8])}")
        abstracts.append(" ".join(text[8:]))
    return pl.DataFrame({"id": [f"p{row}" for row in range(rows)], "title": titles, "abstract": abstracts})


def screen(browser: Any, work: Path, table: pl.DataFrame, labels: int, kills: int, encoder: str, pause_s: float,
           seed: int = 0) -> Outcome:  # fmt: skip
    """Screen a table by keyboard, and kill the server at random moments.

    Args:
        browser: Playwright's browser.
        work: Folder for the server.
        table: The papers, with "topic0" in the titles of relevant ones.
        labels: Number of decisions.
        kills: Number of kills.
        encoder: "auto" or "none".
        pause_s: Time between two keys.
        seed: Draws the moments.
    """
    server = Server(work)
    draw = random.Random(seed)
    outcome = Outcome()
    try:
        upload = json.loads(server.ask("PUT", "api/tables?name=papers.csv", table.write_csv().encode()))
        made = json.loads(server.ask("POST", "api/screens", {"table": upload["id"], "encoder": encoder}))
        page = browser.new_context().new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{server.address}?token={TOKEN}")
        page.locator("h1").wait_for()
        page.goto(f"{server.address}#/screens/{made['id']}")
        page.locator(".record").wait_for()
        page.evaluate(MEASURE)
        moments = set(draw.sample(range(1, labels), kills))
        for place in range(labels):
            _press(page, outcome)
            if place in moments:
                time.sleep(draw.uniform(0, 0.05))
                server.kill()
                server.start()
            time.sleep(pause_s)
        page.get_by_text("All decisions are saved.").wait_for()
        outcome.to_title_ms = page.evaluate("window.times")
        outcome.to_store_ms = page.evaluate(STORED)
        _wait_for(server)
        _read_export(server.ask("GET", f"api/screens/{made['id']}/export?format=csv&decided_only=true"), outcome)
        page.context.close()
    finally:
        server.kill()
    events = [json.loads(line) for line in (work / "screens" / made["id"] / "events.jsonl").read_text().splitlines()]
    ids = [event["id"] for event in events]
    outcome.twice = [each for each in set(ids) if ids.count(each) > 1]
    return outcome


def _press(page: Any, outcome: Outcome) -> None:
    """Decide about the record that is shown, and wait for the next one."""
    record = page.locator(".record")
    if not record.count():
        outcome.waits += 1
        record.wait_for()
        page.evaluate("document.activeElement?.blur()")
    number = int(record.get_attribute("data-record"))
    verdict = "included" if "topic0 " in page.locator("#record-title").inner_text() else "excluded"
    outcome.pressed[number] = verdict
    page.keyboard.press(verdict[0])
    page.wait_for_function("n => document.querySelector('.record')?.dataset.record !== n", arg=str(number))


def _wait_for(server: Server) -> None:
    until = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < until:
        try:
            server.ask("GET", "health")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the server does not answer")


def _read_export(content: bytes, outcome: Outcome) -> None:
    frame = pl.read_csv(content, infer_schema=False)
    numbers = [int(name.removeprefix("p")) for name in frame["id"]]
    assert len(set(numbers)) == len(numbers)
    outcome.exported = dict(zip(numbers, frame["label"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--encoder", choices=["auto", "none"], default="auto")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two keys")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("PAPERTUNE_CHROMIUM") or shutil.which("chromium")
    table = make_table(arguments.rows)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        started = time.monotonic()
        outcome = screen(browser, Path(folder) / "work", table, arguments.labels, arguments.kills, arguments.encoder,
                         arguments.pause, arguments.seed)  # fmt: skip
        browser.close()
    print(report(outcome, time.monotonic() - started), flush=True)


def report(outcome: Outcome, seconds: float) -> str:
    """Return the numbers as lines."""
    same = sum(outcome.exported.get(record) == verdict for record, verdict in outcome.pressed.items())
    lines = [
        f"{len(outcome.pressed)} records decided by keys, {len(outcome.exported)} exported, {same} of them the same, "
        f"{len(outcome.twice)} events twice, {outcome.waits} waits, {seconds:.0f} s",
    ]
    for name, times in (("key to next title", outcome.to_title_ms), ("decision stored", outcome.to_store_ms)):
        median, high, top = np.percentile(times, [50, 95, 100])
        lines.append(f"{name}: {len(times)} times, median {median:.0f} ms, 95% {high:.0f} ms, at most {top:.0f} ms")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
