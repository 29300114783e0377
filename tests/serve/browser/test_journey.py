"""The whole way of a librarian through the page, on a real server with a tiny model."""

import csv
import io
from pathlib import Path

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

BAD_TITLE = "<img src=x onerror=\"document.title='hacked'\"> and <b>obesity</b>"


def papers(rows: int) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["title", "abstract", "label", "topics"])
    for row in range(rows):
        is_medical = row % 2 == 0
        title = BAD_TITLE if row == 0 else f"{'Clinic' if is_medical else 'Quarry'} number {row}"
        text = "patients were treated" if is_medical else "stones were counted"
        writer.writerow([title, f"In {row} places {text}.", "medical" if is_medical else "other", "a; b"])
    return out.getvalue()


def cells_of(download) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(download.path()).read_text("utf-8"))))


def is_correction(response) -> bool:
    return response.request.method == "PATCH" and response.ok


def wait_for_end(page) -> None:
    """Wait until a job has ended, and fail with its message if it has failed."""
    ended = page.locator(".page-head .chip").filter(has_not_text="Running")
    ended.wait_for(timeout=300_000)
    assert ended.inner_text() == "Done", page.locator("main").inner_text()


@pytest.mark.slow
@pytest.mark.once
def test_a_table_is_brought_checked_learned_filled_in_corrected_and_downloaded(
    open_page, look_over, tmp_path, tiny_folder
):
    file = tmp_path / "my papers.csv"
    file.write_text(papers(24).replace("other,a; b", "unheard of,a; b", 1), "utf-8")
    page = open_page("#/")

    # The table: its text stays text.
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("heading", name="my papers.csv").wait_for()
    assert page.get_by_role("cell", name=BAD_TITLE).first.is_visible()
    assert page.locator("main img").count() == 0
    expect(page).to_have_title("my papers.csv · papertune")
    look_over(page)

    # The recipe as a form, which survives a refresh; the check stands beside the row.
    page.get_by_role("link", name="Train on it").click()
    page.get_by_label("Kind of label").select_option("label")
    page.get_by_role("button", name="Write the recipe").click()
    page.get_by_role("textbox", name="Labels").fill("medical\nother")
    page.get_by_role("textbox", name="Base model").fill(str(tiny_folder))
    for source in ("States of the base model", "Sentence encoder"):
        page.get_by_role("checkbox", name=source).uncheck()
    finding = page.locator(".findings > .error")
    finding.wait_for()
    assert "unheard of" in finding.inner_text()
    assert "stones were counted" in finding.locator(".row-cells").inner_text()
    assert page.get_by_role("button", name="Start the training").is_disabled()
    for summary in page.locator("summary").all():
        summary.click()
    look_over(page)
    finding.get_by_role("link", name="Correct this cell").click()
    cell = page.get_by_role("textbox", name="label", exact=True).first
    assert cell.input_value() == "unheard of"
    cell.fill("other")
    with page.expect_response(is_correction):
        cell.press("Tab")
    page.go_back()
    page.get_by_role("textbox", name="Labels").wait_for()
    page.reload()
    assert page.get_by_role("textbox", name="Labels").input_value() == "medical\nother"
    page.locator(".findings > .error").wait_for(state="detached")
    page.get_by_text("The recipe as TOML").click()
    assert "sources = [" in page.locator("pre.toml").last.inner_text()
    page.get_by_text("More settings").last.click()
    page.get_by_role("textbox", name="layers", exact=True).fill("")
    page.get_by_role("textbox", name="Name of the run").fill("clinics")
    page.get_by_role("button", name="Start the training").click()

    # The training: a refresh in the middle loses nothing.
    page.get_by_role("heading", name="Training: clinics").wait_for()
    page.reload()
    wait_for_end(page)
    page.get_by_role("heading", name="The run clinics is ready").wait_for()
    page.get_by_role("img", name="Loss on the rows being learned").wait_for()
    look_over(page)

    # Filling in.
    page.get_by_role("link", name="Fill in a table").click()
    page.get_by_label("Table", exact=True).select_option("my papers.csv · 24 rows")
    page.get_by_role("heading", name="Check").wait_for()
    look_over(page)
    page.get_by_role("button", name="Start", exact=True).click()
    wait_for_end(page)
    page.get_by_role("heading", name="my papers-filled.csv").wait_for()
    look_over(page)
    page.get_by_label("Format").select_option("csv")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    filled = cells_of(waiting.value)
    assert len(filled) == 24
    assert {row["label"] for row in filled} <= {"medical", "other"}

    # Correcting: kept over a refresh, and in the download.
    page.get_by_role("link", name="Correct it").click()
    cell = page.get_by_role("combobox", name="label", exact=False).first
    wanted = "other" if cell.input_value() != "other" else "medical"
    with page.expect_response(is_correction):
        cell.select_option(wanted)
    page.get_by_text("All changes are saved.").wait_for()
    look_over(page)
    page.reload()
    assert page.get_by_role("combobox", name="label corrected").first.input_value() == wanted
    page.get_by_label("Format").select_option("csv")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    corrected = cells_of(waiting.value)
    assert corrected[0] == {**filled[0], "label": wanted}
    assert corrected[1:] == filled[1:]

    # The run: chat and report.
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("heading", name="Runs").wait_for()
    page.get_by_role("link", name="clinics").click()
    page.get_by_label("Labelled table").select_option("my papers.csv · 24 rows")
    page.get_by_role("button", name="Evaluate").click()
    wait_for_end(page)
    look_over(page)
    page.get_by_role("link", name="Open the report").click()
    report = page.frame_locator("iframe").locator("body")
    report.wait_for()
    assert "clinics" in report.inner_text()
    look_over(page)
    page.get_by_role("link", name="clinics", exact=True).click()
    page.get_by_role("heading", name="clinics", exact=True).wait_for()
    look_over(page)
    page.get_by_role("link", name="Chat with it").click()
    page.get_by_role("textbox", name="Paper").fill("title: Clinic\nabstract: patients were treated")
    page.get_by_role("textbox", name="Paper").press("Control+Enter")
    page.locator(".message.assistant dd").wait_for()
    page.get_by_role("button", name="Send").wait_for()
    page.reload()
    assert page.locator(".message.assistant dd").inner_text() in {"medical", "other", "–"}
    look_over(page)
