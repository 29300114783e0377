import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")
playwright.expect.set_options(timeout=120_000)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(__file__).parent / "axe" / "axe.min.js"


@dataclass
class Server:
    """A server of this process."""

    address: str
    work: Path
    cookies: Any


# One for each module: while playwright is there, asyncio.run works nowhere else in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = os.environ.get("PAPERTUNE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in PAPERTUNE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests of a module, and the cookies of a browser that has opened its link."""
    from forked_jobs import forking, serving

    work = tmp_path_factory.mktemp("serve") / "work"
    with forking(), serving(work) as link:
        context = browser.new_context()
        context.new_page().goto(link)
        cookies = context.storage_state()
        context.close()
        yield Server(link.partition("?")[0], work, cookies)


@pytest.fixture
def open_page(browser: Any, server: Server) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page by its hash. Errors on the console fail the test, unless `allow` has them."""
    contexts, mistakes = [], []

    def report(message: Any, allow: Sequence[str]) -> None:
        if message.type == "error" and not any(part in message.text for part in allow):
            mistakes.append(message.text)

    def open_at(
        hash: str = "#/", *, width: int = 1100, locale: str = "en", scheme: str = "light", allow: Sequence[str] = ()
    ) -> Any:
        context = browser.new_context(
            storage_state=server.cookies,
            viewport={"width": width, "height": 800},
            locale=locale,
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", lambda message: report(message, allow))
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


@pytest.fixture(scope="session")
def find_barriers() -> Callable[..., list[str]]:
    """Return a function that names what axe finds on a page that is serious or critical; with all rules, or some."""

    def find(page: Any, rules: Sequence[str] = ()) -> list[str]:
        if not page.evaluate("typeof window.axe !== 'undefined'"):
            page.evaluate(AXE.read_text("utf-8"))
        options = {"resultTypes": ["violations"], "iframes": False}
        if rules:
            options["runOnly"] = {"type": "rule", "values": list(rules)}
        found = page.evaluate("options => axe.run(document, options)", options)
        return [
            f"{each['id']}: {node['html'][:200]}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"][:3]
        ]

    return find


@pytest.fixture(scope="session")
def look_over(find_barriers: Callable[..., list[str]]) -> Callable[[Any], None]:
    """Return a function that looks at an open page: light on a desk in English, dark on a phone in Chinese."""

    def look(page: Any) -> None:
        english = page.locator("h1").inner_text()
        assert find_barriers(page) == []
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 360, "height": 740})
        page.get_by_role("button", name="中文").click()
        page.locator("html[lang=zh-CN]").wait_for()
        assert find_barriers(page, ["color-contrast", "scrollable-region-focusable"]) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="English").click()
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1100, "height": 800})
        page.get_by_role("heading", level=1, name=english, exact=True).wait_for()

    return look
