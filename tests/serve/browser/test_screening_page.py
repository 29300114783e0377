"""Screening in a browser: by keyboard, with a refresh in the middle, several readers, a full disk, a killed server."""

import csv
import io
import json
import sys
import time
from pathlib import Path

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

pytestmark = [pytest.mark.slow, pytest.mark.once]

TITLES = ["Reminders for doctors", "Mice that swim", "Nudges for nurses", "Rats in water", "Defaults for doctors"]
ROWS = "title,abstract\n" + "".join(f"{title} number {n},We studied {title.lower()}.\n"
                                    for n in range(3) for title in TITLES)  # fmt: skip


@pytest.fixture
def api(server, browser):
    """Return a function that sends a request as the page does."""
    context = browser.new_context(storage_state=server.cookies)

    def ask(method, path, body=None):
        answer = context.request.fetch(
            f"{server.address}api/{path}", method=method, data=body, headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert answer.ok, answer.text()
        return answer.body()

    yield ask
    context.close()


@pytest.fixture
def make(api, upload):
    """Return a function that makes a screening of 15 papers and returns its id."""

    def make(**settings):
        body = {"table": upload("search.csv", ROWS), "encoder": "none", **settings}
        return json.loads(api("POST", "screens", body))["id"]

    return make


def title_of(page):
    return page.locator("#record-title").inner_text()


def press(page, key):
    """Press a key that decides, and wait for the next record."""
    before = title_of(page)
    page.keyboard.press(key)
    expect(page.locator("#record-title")).not_to_have_text(before)
    return before


def recent(page):
    return [" ".join(text.split()) for text in page.locator(".recent-list button").all_inner_texts()]


def until_ranked(api, screen):
    for _ in range(600):
        if json.loads(api("GET", f"screens/{screen}/progress"))["ranking"] == "decisions":
            return
        time.sleep(0.1)
    raise AssertionError("the decisions were not learned")


def saved(page):
    page.get_by_text("All decisions are saved.").wait_for()


def without_encoder(route):
    """Let the form make a screening as it does, but without the encoder, which takes seconds to load."""
    request = route.request
    if request.method != "POST":
        route.continue_()
        return
    route.continue_(post_data=json.dumps({**request.post_data_json, "encoder": "none"}))


def test_a_search_is_screened_by_keyboard_and_becomes_a_table_to_train_on(open_page, upload, look_over, api):
    page = open_page(f"#/screens?table={upload('my search.csv', ROWS)}")
    page.route("**/api/screens", without_encoder)
    page.get_by_label("Include if").fill("reminders or nudges\nfor health workers")
    page.get_by_role("button", name="Begin to screen").click()
    page.locator("#record-title").wait_for()
    assert page.locator("h1").inner_text() == "my search"
    assert page.locator(".screen-side li").first.inner_text() == "reminders or nudges"

    # The buttons stand where they stood, however long the text is; each decision is one key.
    button = page.get_by_role("button", name="Exclude", exact=True)
    place = button.bounding_box()
    decided = {}
    for _ in range(8):
        key = "i" if "doctors" in title_of(page) else "e"
        decided[press(page, key)] = key
        assert button.bounding_box() == place
    expect(page.locator("#record-title")).to_be_focused()
    assert len(recent(page)) == 8
    unsure = press(page, "u")
    assert recent(page)[0] == f"? unsure {unsure}"
    saved(page)

    # Words for and against are marked; the legend says which is which.
    screen = page.url.split("/screens/")[1]
    until_ranked(api, screen)
    page.reload()
    page.locator(".legend-line mark.for").wait_for()
    assert page.locator("mark.against").count() > 0
    page.get_by_label("Mark words").uncheck()
    assert page.locator("mark").count() == 0

    # Undo, and a new decision from the list of the last ones.
    page.keyboard.press("z")
    expect(page.locator("#record-title")).to_have_text(unsure)
    decided[press(page, "e")] = "e"
    changed = next(iter(decided))
    page.get_by_role("button", name=changed).click()
    page.get_by_text("Your decision:").wait_for()
    decided[press(page, "e")] = "e"

    # A note and a tag; what is typed decides nothing.
    current = title_of(page)
    page.keyboard.press("n")
    page.keyboard.type("the dose is unclear")
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    page.keyboard.type("dose")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="1 dose", exact=True, pressed=True).wait_for()
    page.keyboard.press("1")
    page.get_by_role("button", name="dose", pressed=False).wait_for()
    page.keyboard.press("1")
    assert title_of(page) == current
    page.get_by_label("Keys decide").uncheck()
    page.keyboard.press("e")
    assert title_of(page) == current
    look_over(page)
    saved(page)

    # The other pages, and the export.
    page.get_by_role("link", name="History").click()
    page.locator(".list li").nth(len(decided) - 1).wait_for()
    page.get_by_role("link", name="Progress").click()
    page.get_by_text("9 of 15 records are read (60%).").wait_for()
    page.get_by_text("Reading all 6 is cheaper in the end").wait_for()
    look_over(page)
    rows = list(csv.DictReader(io.StringIO(api("GET", f"screens/{screen}/export").decode())))
    found = {row["title"]: row["label"] for row in rows if row["label"]}
    assert found == {title: {"i": "included", "e": "excluded"}[key] for title, key in decided.items()}
    (noted,) = [row for row in rows if row["screening_note"]]
    assert (noted["title"], noted["screening_note"], noted["screening_tags"]) == (
        current,
        "the dose is unclear",
        "dose",
    )
    page.get_by_role("button", name="Make a labelled table").click()
    page.get_by_role("heading", name="Train on this table").wait_for()


def test_what_a_full_disk_refuses_is_shown_and_sent_again(open_page, make):
    page = open_page(f"#/screens/{make()}", allow=["507"])
    page.locator("#record-title").wait_for()
    full = {"error": {"message": "the decision was not saved: No space left on device.", "code": "disk_full"}}
    page.route("**/events", lambda route: route.fulfill(status=507, json=full))
    press(page, "i")
    page.get_by_text("1 decision is not saved yet").wait_for()
    page.get_by_text("the decision was not saved: No space left on device.").wait_for()
    # Another tab sends what this one has left.
    context = page.context
    page.close()
    other = context.new_page()
    other.goto(page.url)
    other.locator(".recent-list button").wait_for()
    saved(other)


def test_two_readers_settle_their_conflict(open_page, make, api, look_over):
    screen = make(readers=["ann", "bo"], readers_per_record=2)
    events = [{"id": reader, "reader": reader, "kind": verdict, "record": 0}
              for reader, verdict in (("ann", "include"), ("bo", "exclude"))]  # fmt: skip
    api("POST", f"screens/{screen}/events", events)
    page = open_page(f"#/screens/{screen}/conflicts")
    page.get_by_text("1 record is included by one reader and excluded by another.").wait_for()
    look_over(page)
    page.get_by_role("button", name="Settle: include").click()
    page.get_by_text("There is no conflict.").wait_for()
    page.get_by_role("link", name="Read").click()
    page.get_by_label("Reading as").select_option("bo")
    page.locator("#record-title").wait_for()
    assert recent(page) == [f"− excluded {TITLES[0]} number 0"]
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Wanted recall").wait_for()
    look_over(page)


def test_a_certificate_in_plain_words(open_page, make, api):
    screen = make()
    api("POST", f"screens/{screen}/events",
        [{"id": f"e{n}", "reader": "reader", "kind": "exclude" if n else "include", "record": n} for n in range(5)],
    )  # fmt: skip
    page = open_page(f"#/screens/{screen}/progress")
    page.get_by_label("Size").fill("10")
    page.get_by_role("button", name="Draw the sample").click()
    page.get_by_role("dialog").get_by_role("button", name="Draw the sample").click()
    page.get_by_text("10 of the 10 records of the sample are not read yet.").wait_for()
    api("POST", f"screens/{screen}/events",
        [{"id": f"s{n}", "reader": "reader", "kind": "exclude", "record": n} for n in range(5, 15)],
    )  # fmt: skip
    page.reload()
    page.get_by_text("Certified: at least 95% of the relevant records are found").wait_for()
    page.get_by_text("With 97.5% confidence, at least 100% of the relevant records are found.").wait_for()


def test_kills_lose_nothing_and_double_nothing(browser, tmp_path):
    import serve_screening

    table = serve_screening.make_table(300)
    outcome = serve_screening.screen(browser, tmp_path / "work", table, 24, 2, "none", 0.0)
    assert len(outcome.pressed) == 24
    assert outcome.exported == outcome.pressed
    assert outcome.twice == []
    assert len(outcome.to_title_ms) == 24
    assert "24 records decided by keys, 24 exported, 24 of them the same, 0 events twice" in (
        serve_screening.report(outcome, 1.0)
    )
