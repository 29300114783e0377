import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
AXE = Path(__file__).parent / "axe" / "axe.min.js"


@dataclass
class Server:
    """`papertune serve` in a process of its own."""

    address: str
    work: Path
    cookies: Any


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    chromium = os.environ.get("PAPERTUNE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in PAPERTUNE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all browser tests, and the cookies of a browser that has opened its link."""
    work = tmp_path_factory.mktemp("serve") / "work"
    command = [sys.executable, "-m", "papertune", "serve", "--work", str(work), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PAPERTUNE_TOKEN", None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1) as process:
        assert process.stdout is not None
        printed = process.stdout.readline()
        found = re.search(r"open (http://\S+)", printed)
        assert found, printed
        context = browser.new_context()
        context.new_page().goto(found[1])
        cookies = context.storage_state()
        context.close()
        yield Server(found[1].partition("?")[0], work, cookies)
        process.terminate()


@pytest.fixture
def open_page(browser: Any, server: Server) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page of the server by its hash; what its console reports fails the test."""
    contexts, mistakes = [], []

    def open_at(hash: str = "#/", *, width: int = 1100, locale: str = "en", scheme: str = "light") -> Any:
        context = browser.new_context(
            storage_state=server.cookies,
            viewport={"width": width, "height": 800},
            locale=locale,
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: mistakes.append(f"dialog: {dialog.message}") or dialog.dismiss())
        page.goto(server.address + hash)
        page.locator("h1").wait_for()
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert mistakes == []


@pytest.fixture
def upload(server: Server, browser: Any) -> Iterator[Callable[[str, str], str]]:
    """Return a function that puts a table on the server and returns its id."""
    context = browser.new_context(storage_state=server.cookies)

    def put(name: str, content: str) -> str:
        address = f"{server.address}api/tables?name={name}"
        answer = context.request.put(address, data=content.encode(), headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.ok, answer.text()
        return str(answer.json()["id"])

    yield put
    context.close()


@pytest.fixture
def find_barriers() -> Callable[[Any], list[str]]:
    """Return a function that names what axe finds on a page that is serious or critical."""

    def find(page: Any) -> list[str]:
        if not page.evaluate("typeof window.axe !== 'undefined'"):
            page.evaluate(AXE.read_text("utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations'], iframes: false})")
        return [
            f"{each['id']}: {node['html'][:120]}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"][:3]
        ]

    return find
