"""Trainings that are stopped and go on, preferences of corrections, and what is deleted, on a real server."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import papertune

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

PAPERS = "title,answer\n" + "".join(f"Paper {n},It is a {('trial', 'review')[n % 2]}.\n" for n in range(8))


def recipe(model: Path, **training: Any) -> dict[str, Any]:
    return {
        "model": str(model),
        "table": {"document": "{title}"},
        "columns": {"answer": {"kind": "text", "question": "What is it?", "max_new_tokens": 8}},
        "method": {"rank": 4},
        "training": {"precision": "fp32", "micro_batch_size": 4, "learning_rate": 0.02, "warmup_steps": 1, **training},
    }


@pytest.fixture
def begin(server, browser) -> Iterator[Callable[..., str]]:
    """Return a function that begins a job and returns its id; what still runs in the end is killed."""
    context = browser.new_context(storage_state=server.cookies, extra_http_headers={"Sec-Fetch-Site": "same-origin"})
    address = f"{server.address}api/jobs"

    def start(**request: Any) -> str:
        answer = context.request.post(address, data=request)
        assert answer.ok, answer.text()
        return str(answer.json()["id"])

    yield start
    for job in context.request.get(address).json()["jobs"]:
        if job["state"] == "running":
            context.request.post(f"{address}/{job['id']}/stop")
    context.close()


def wait_for_state(page: Any, state: str) -> None:
    expect(page.locator(".page-head .chip")).to_have_text(state)


def stop_at_any_step(page: Any) -> int:
    """Stop the training that is shown, and return the step of its checkpoint."""
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "Stopped")
    expect(page.locator(".log li", has_text="after step")).not_to_have_count(0)
    found = re.search(r"after step (\d+)", page.locator(".log li", has_text="after step").last.text_content())
    assert found is not None
    return int(found[1])


@pytest.mark.slow
@pytest.mark.once
def test_a_training_that_was_stopped_goes_on_from_its_checkpoint_and_its_run_is_deleted_only_afterwards(
    open_page, upload, begin, tiny_folder
):
    table = upload("papers.csv", PAPERS)
    job = begin(kind="train", table=table, name="long", recipe=recipe(tiny_folder, max_steps=9000))
    page = open_page(f"#/jobs/{job}", allow=["409"])
    page.get_by_role("img", name="Loss on the rows being learned").wait_for()
    stopped = stop_at_any_step(page)

    page.get_by_role("button", name="Go on").click()
    facts = page.locator(".now-facts")
    facts.wait_for()
    assert int(facts.inner_text().split(" of ")[0].replace(",", "")) >= stopped
    page.get_by_text("Show the numbers").first.click()
    later = (stopped // 10 + 2) * 10
    expect(page.get_by_role("cell", name=f"{later:,}", exact=True)).to_be_visible()
    cells = page.locator(".numbers tbody td:nth-child(2)").all_inner_texts()
    steps = [int(cell.replace(",", "")) for cell in cells]
    assert steps == sorted(set(steps))
    assert steps[0] < stopped

    page.evaluate("location.hash = '#/runs/long'")
    page.get_by_role("heading", name="long", level=1).wait_for()
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    assert "its weights leave the work folder" in dialog.inner_text()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text('"long" is in use by "long" (train).')
    page.go_back()
    facts.wait_for()
    assert stop_at_any_step(page) >= later
    page.go_forward()
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Runs", level=1).wait_for()
    expect(page.get_by_role("link", name="long", exact=True)).to_have_count(0)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.filterwarnings("ignore::papertune.PapertuneWarning")
def test_corrections_become_preferences_on_which_a_training_begins(
    open_page, look_over, upload, begin, server, tiny_folder, tmp_path
):
    source = tmp_path / "papers.csv"
    source.write_text(PAPERS)
    papertune.train(source, recipe(tiny_folder, epochs=10), server.work / "runs" / "writer")
    filling = begin(kind="predict", table=upload("new.csv", PAPERS), run="writer", name="filled")
    page = open_page(f"#/jobs/{filling}")
    wait_for_state(page, "Done")
    page.get_by_role("link", name="Correct it").click()
    cell = page.get_by_role("textbox", name="answer").first
    assert cell.input_value() != ""
    with page.expect_response(lambda response: response.request.method == "PATCH" and response.ok):
        cell.fill("It is a survey.")
        cell.press("Tab")
    page.get_by_role("button", name="Make pairs").click()
    wait_for_state(page, "Done")
    expect(page.get_by_role("heading", name="Preferences: filled.csv")).to_be_visible()
    assert page.get_by_role("link", name="Train on the corrected table").is_visible()
    look_over(page)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the pairs").click()
    assert '"chosen": "It is a survey."' in Path(waiting.value.path()).read_text("utf-8")

    page.get_by_role("radio", name="A reward model (rm)").check()
    assert page.get_by_role("textbox", name="Name of the run").input_value() == "writer-rm"
    page.get_by_role("radio", name="The run, on pairs (dpo)").check()
    page.get_by_role("button", name="Start the training").click()
    page.get_by_role("heading", name="Training: writer-dpo").wait_for()
    wait_for_state(page, "Running")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".page-head .chip")).not_to_have_text("Running")

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Jobs", level=1).wait_for()
    expect(page.get_by_role("link", name="Preferences: filled.csv")).to_be_visible()
    expect(page.get_by_role("link", name="Training: writer-dpo")).to_have_count(0)


@pytest.mark.slow
@pytest.mark.once
def test_a_chinese_page_says_in_chinese_what_is_wrong_with_a_table_and_why_a_job_has_failed(
    open_page, upload, begin, tiny_folder
):
    table = upload("papers.csv", PAPERS.replace("It is a trial.", "maybe", 1).replace("answer", "label"))
    asked = {"kind": "label", "question": "?", "labels": ["It is a trial.", "It is a review."], "sources": ["model"]}
    job = begin(kind="train", table=table, name="none", recipe={**recipe(tiny_folder), "columns": {"label": asked}})
    page = open_page(f"#/jobs/{job}", locale="zh-CN")
    wait_for_state(page, "失败")
    failed = page.get_by_role("alert")
    wrong = "第 1 行，列“label”：“maybe”不是允许的标签（It is a trial., It is a review.），共 1 处。"
    expect(failed).to_contain_text(wrong)
    failed.get_by_text("原文（英文）").click()
    expect(failed).to_contain_text('papers.csv, row 1 below the header, column "label": "maybe" is not one of')

    page.get_by_role("link", name="回到配方").click()
    page.get_by_label("label 的类型").select_option("label")
    page.get_by_role("button", name="生成配方").click()
    page.get_by_role("textbox", name="标签").fill("It is a trial.\nIt is a review.")
    page.get_by_role("textbox", name="基础模型").fill(str(tiny_folder))
    expect(page.locator(".findings > .error")).to_contain_text(wrong)
    page.get_by_role("textbox", name="标签").fill("maybe\nIt is a trial.\nIt is a review.")
    expect(page.locator(".findings > .error")).to_have_count(0)
    expect(page.locator(".findings > .note").first).to_contain_text("papers.csv：8 行；列：title, label。")
