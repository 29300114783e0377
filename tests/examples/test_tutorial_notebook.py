"""The notebook: both languages have the same code and outputs, and it runs from its table to submit.csv."""

import csv
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import run_tutorial  # noqa: E402 - a script, beside what it executes

LANGUAGES = {"en": EXAMPLES / "tutorial.ipynb", "zh": EXAMPLES / "tutorial.zh-CN.ipynb"}
each_language = pytest.mark.parametrize("language", LANGUAGES)


def notebook(language):
    return nbformat.read(LANGUAGES[language], as_version=4)


def texts(cells):
    return [text for cell in cells for output in cell.outputs for text in plain_texts(output)]


def plain_texts(output):
    if output.output_type == "stream":
        return [output.text]
    return [text for kind, text in output.data.items() if kind.startswith("text/")]


def test_both_languages_have_the_same_code_and_the_same_outputs():
    english, chinese = (notebook(language) for language in LANGUAGES)
    assert [cell.cell_type for cell in chinese.cells] == [cell.cell_type for cell in english.cells]
    assert run_tutorial.code_cells(chinese) == run_tutorial.code_cells(english)


@each_language
def test_the_words_are_in_its_language(language):
    words = [cell.source for cell in notebook(language).cells if cell.cell_type == "markdown"]
    chinese = [bool(re.search(r"[\u4e00-\u9fff]", text.replace("[中文]", ""))) for text in words]
    assert set(chinese) == {language == "zh"}


@each_language
def test_its_links_resolve(language):
    words = "\n".join(cell.source for cell in notebook(language).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)]+)\)", words):
        assert (EXAMPLES / target).resolve().is_file(), target


@each_language
def test_its_outputs_are_those_of_one_whole_run(language):
    cells = run_tutorial.code_cells(notebook(language))
    nbformat.validate(notebook(language))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    plots = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(plots) == 4
    assert "execution" not in {key for cell in cells for key in cell.metadata}
    said = "\n".join(texts(cells))
    assert "198 papers to learn from, 50 kept back, 64 new ones" in said
    assert not re.search(r"/(home|root|tmp|work|Users)/|\r|\x1b", said)


@pytest.mark.slow
@pytest.mark.once
def test_it_runs_from_its_table_to_submit(tmp_path, tiny_folder):
    for name in ("papers.csv", "papers_new.csv"):
        shutil.copy(EXAMPLES / name, tmp_path)
    executed = notebook("en")
    run_tutorial.execute(executed, tmp_path, {"MODEL": str(tiny_folder), "ROWS": 20})
    with (tmp_path / "tutorial" / "submit.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["uuid", "Keywords", "label"]
    assert [row["uuid"] for row in rows] == papers("papers_new.csv")[:20]
    assert {row["label"] for row in rows} <= {"0", "1"}
    run_tutorial.clean(executed, tmp_path)
    said = "\n".join(texts(run_tutorial.code_cells(executed)))
    assert "16 papers to learn from, 4 kept back, 20 new ones" in said
    assert str(tmp_path) not in said
    assert "test table: 100%" in said
    assert executed.cells[4].source == notebook("en").cells[4].source  # the parameters are those that were written


def papers(name):
    with (EXAMPLES / name).open(newline="", encoding="utf-8") as stream:
        return [row["uuid"] for row in csv.DictReader(stream)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n", "plain\n"),
        ("bar  0%\rbar 50%\rbar 100%\nnext", "bar 100%\nnext"),
        ("bar 50%\rbar 100%\r", "bar 100%"),
        ("a\r\nb", "a\nb"),
        ("", ""),
    ],
)
def test_of_a_progress_bar_the_last_state_is_kept(text, shown):
    assert run_tutorial.last_states(text) == shown


def test_warnings_of_packages_are_left_out():
    warning = "/x/site-packages/tqdm/auto.py:21: TqdmWarning: Not found.\n  from .notebook import tqdm\n"
    assert run_tutorial.without_warnings(f"one\n{warning}two\n") == "one\ntwo\n"
    assert run_tutorial.without_warnings("papers.csv: 1 warning\n  two\n") == "papers.csv: 1 warning\n  two\n"


def test_paths_are_written_from_the_notebook():
    assert run_tutorial.without_paths(f"in {EXAMPLES.resolve()}/tutorial/x.csv", EXAMPLES) == "in tutorial/x.csv"


def test_a_parameter_that_the_notebook_does_not_have_is_an_error():
    with pytest.raises(KeyError, match="SEED"):
        run_tutorial.execute(notebook("en"), EXAMPLES, {"SEED": 1})


def test_code_is_copied_only_between_equal_notebooks():
    english, chinese = notebook("en"), notebook("zh")
    del chinese.cells[1]
    with pytest.raises(ValueError, match="do not have the same kinds of cells"):
        run_tutorial.copy_code(english, chinese)
    chinese = notebook("zh")
    english.cells[4].source = "1 + 1"
    run_tutorial.copy_code(english, chinese)
    assert chinese.cells[4].source == "1 + 1"
    assert chinese.cells[0].source == notebook("zh").cells[0].source
