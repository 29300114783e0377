"""The frame of the page, and pages that need no run."""

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

PAGES = {
    "#/": "What would you like to do?",
    "#/tables": "Tables",
    "#/runs": "Runs",
    "#/jobs": "Jobs",
    "#/fill": "Fill in a table",
    "#/runs/none/report": "Report of none",
    "#/no/such/page": "Page not found",
}


@pytest.mark.slow
def test_no_page_has_barriers_and_each_fits_a_phone(open_page, look_over, upload):
    upload("some.csv", "title,label\nA paper,1\n")
    page = open_page("#/", allow=["404"])
    for hash, title in PAGES.items():
        page.evaluate("hash => { location.hash = hash; }", hash)
        page.get_by_role("heading", name=title, level=1).wait_for()
        look_over(page)


def test_the_first_language_is_the_browser_s_and_a_choice_is_remembered(open_page):
    page = open_page("#/", locale="zh-TW")
    assert page.locator("h1").inner_text() == "您想做什么？"
    page.get_by_role("button", name="English").click()
    page.reload()
    assert page.locator("h1").inner_text() == "What would you like to do?"
    page.locator("html[lang=en]").wait_for()


def test_a_chosen_theme_is_remembered_and_overrides_the_system_s(open_page):
    page = open_page("#/", scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_label("Colours").select_option("dark")
    dark = page.evaluate(background)
    page.reload()
    page.locator("h1").wait_for()
    assert page.evaluate(background) == dark != light


def test_the_keyboard_reaches_the_content_and_the_heading_is_read_after_a_change_of_page(open_page):
    page = open_page("#/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.get_by_role("link", name="Jobs").press("Enter")
    expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_focused()
    expect(page).to_have_title("Jobs · papertune")


def test_a_file_that_is_no_table_is_refused_with_the_message_of_the_server(open_page, tmp_path):
    file = tmp_path / "notes.docx"
    file.write_text("not a table")
    page = open_page("#/tables", allow=["415"])
    page.locator("input[type=file]").set_input_files(file)
    message = page.get_by_role("alert")
    message.wait_for()
    assert 'unknown suffix ".docx"' in message.inner_text()
    page.get_by_role("button", name="中文").click()
    expect(message).to_contain_text("“notes.docx”没有可识别的后缀")


def test_a_deleted_table_leaves_the_list(open_page, upload):
    upload("to keep.csv", "title\nA paper\n")
    table = upload("to delete.csv", "title\nA paper\n")
    page = open_page(f"#/tables/{table}")
    page.locator(".grid").wait_for()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("link", name="to keep.csv").first.wait_for()
    assert page.get_by_text("to delete.csv").count() == 0


def test_a_correction_waits_while_the_server_is_away_and_is_saved_afterwards(open_page, upload):
    table = upload("away.csv", "title,label\nA paper,1\n")
    page = open_page(f"#/tables/{table}/correct", allow=["ERR_INTERNET_DISCONNECTED"])
    cell = page.get_by_role("textbox", name="label")
    cell.wait_for()
    page.context.set_offline(True)
    cell.fill("0")
    cell.press("Tab")
    page.get_by_text("1 change is not saved yet").wait_for()
    page.context.set_offline(False)
    page.get_by_text("All changes are saved.").wait_for()
    page.reload()
    assert page.get_by_role("textbox", name="label corrected").input_value() == "0"
