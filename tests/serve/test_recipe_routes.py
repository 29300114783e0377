import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.errors import PapertuneWarning, RecipeError, TableError
from papertune.event_file import began
from papertune.kinds.registry import columns_by_kind
from papertune.methods import methods_by_kind
from papertune.pipelines.check import check_tables
from papertune.recipe import load_recipe
from papertune.serve.errors import ServeError
from papertune.serve.recipes import worker as workers
from papertune.serve.recipes.schema import recipe_schema
from papertune.serve.recipes.tasks import check, make_recipe
from papertune.serve.recipes.toml import read_toml, recipe_toml
from papertune.serve.recipes.worker import Worker
from papertune.stages import stages_by_kind

RECIPE = {
    "table": {"document": "{title}"},
    "columns": {"label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}},
}

COLUMN_TITLE = [{"column": "title", "kind": "text"}]


@pytest.fixture
def recipe(tiny_folder):
    return RECIPE | {"model": str(tiny_folder)}


@pytest.fixture
def table(workspace, read_table_folder):
    """Return the id of a table."""
    shutil.copytree(read_table_folder, workspace.tables / read_table_folder.name)
    return read_table_folder.name


@pytest.fixture
def here(monkeypatch):
    """Let the functions of the worker run in this process."""
    monkeypatch.setattr(Worker, "run", lambda _, function, *arguments, is_wanted: function(*arguments))


def test_a_recipe_is_made_for_named_columns(here, table, client):
    body = {"table": table, "columns": [{"column": "label", "kind": "text"}]}
    made = client.post("/api/recipes/init", json=body).json()
    assert made["toml"].startswith("# Recipe for papers.csv, written by `papertune init`.")
    assert made["recipe"] == tomllib.loads(made["toml"])
    assert made["recipe"]["columns"]["label"]["kind"] == "text"
    (warning,) = made["warnings"]
    assert warning.startswith('papers.csv: no abstract was found, so the model reads only "title".')
    read = client.post(
        "/api/recipes/init", json={"table": table, "columns": COLUMN_TITLE, "document": ["label"]}
    ).json()
    assert read["recipe"]["table"]["document"] == "label: {label}"
    again = client.post("/api/recipes/init", json=body | {"columns": [{"column": "Label ", "kind": "keywords"}]}).json()
    assert again["error"]["code"] == "invalid"
    assert again["error"]["message"].startswith('papers.csv has no column "Label ". Did you mean "label"?')


def test_the_warnings_of_a_first_recipe_are_in_the_answer(tmp_path):
    path = tmp_path / "original.csv"
    rows = "".join(f"p{n},paper {n} of many,{'Yes' if n % 3 else 'yes'}\np{n}x,other {n},No\n" for n in range(9))
    path.write_text("id,title,label\n" + rows, "utf-8")
    made = make_recipe(str(path), "papers.csv", [("label", "label")], [])
    assert made["warnings"] == [
        'papers.csv: no abstract was found, so the model reads only "title". Add a column with the abstracts, if you '
        "have them.",
        'papers.csv, column "label": yes is read as the label Yes. If they are different labels, write them all into '
        "the recipe's labels.",
    ]


def test_a_check_finds_the_cells_that_are_wrong(here, table, client, recipe):
    body = {
        "table": table,
        "recipe": recipe | {"columns": {"label": {**RECIPE["columns"]["label"], "labels": ["1", "2"]}}},
    }
    found = client.post("/api/recipes/check", json=body).json()
    assert found["findings"][0] == {
        "level": "error",
        "message": 'papers.csv, row 2 below the header, column "label": "0" is not one of the 2 labels (1, '
        "2). Correct the cell, or add the label to columns.label.labels.",
        "row": 1,
        "column": "label",
        "code": "unknown_label",
        "params": {"number": 2, "column": "label", "value": "0", "labels": "1, 2", "count": 1},
    }
    assert found["summary"]["ok"] is False
    assert (found["summary"]["errors"], found["summary"]["rows"], found["summary"]["examples"]) == (1, 2, [])


def test_a_check_without_problems_has_facts_and_examples(here, table, client, recipe):
    body = {"table": table, "toml": recipe_toml(recipe), "purpose": "train"}
    found = client.post("/api/recipes/check", json=body).json()
    notes = [each["message"] for each in found["findings"] if each["level"] == "note"]
    assert notes[0] == "papers.csv: 2 rows, columns title, label"
    assert found["summary"]["ok"] is True
    (example,) = found["summary"]["examples"]
    assert (example["row"], example["column"], example["answer"]) == (0, "label", "1")
    predicted = client.post("/api/recipes/check", json=body | {"purpose": "predict"}).json()
    assert predicted["summary"]["examples"][0]["answer"] == ""


def test_a_check_has_what_check_tables_raises_and_warns_of(tmp_path, recipe):
    path = tmp_path / "papers.csv"
    path.write_text("title,label\nThe heart,1\nA graph,0\nThe heart,x\n,1\n", "utf-8")
    with pytest.warns(PapertuneWarning) as warned, pytest.raises(TableError) as raised:
        check_tables([path], recipe)
    found = check(str(path), str(path), recipe, "train")["findings"]
    assert [each["message"] for each in found if each["level"] == "error"] == [str(raised.value)]
    shown = {each["message"]: each.get("row") for each in found if each["level"] == "warning"}
    assert list(shown) == [str(each.message) for each in warned]
    title = 'column "title"'
    assert {text: row for text, row in shown.items() if "empty" in text or "same" in text} == {
        f"{path}, row 4 below the header, {title}: 1 cell is empty (this is the first).": 3,
        f"{path}, row 1 below the header, {title}: 2 cells are the same as in another row (this is the first).": 0,
    }


def test_mistakes_of_a_recipe_are_findings_each(here, table, client, recipe):
    wrong = recipe | {"colums": 1, "training": {"epochs": "many"}}
    found = client.post("/api/recipes/check", json={"table": table, "recipe": wrong}).json()["findings"]
    assert [each["message"] for each in found] == [
        "the recipe: training.epochs is 'many'; it must be a number.",
        'the recipe: colums is not a known key. Did you mean "columns"? Known here: model, encoder, layout, chat, '
        "table, columns, method, encoding, training, stage.",
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "give the recipe once: as `recipe` or as `toml`."),
        ({"recipe": RECIPE, "toml": "x"}, "give the recipe once: as `recipe` or as `toml`."),
        ({"toml": "model = smollm2"}, "the recipe is not TOML: "),
        ({"toml": "[table]"}, "the recipe is invalid (2 problems):"),
        (
            {"recipe": RECIPE | {"training": {"epochs": math.inf}}},
            "the recipe: training.epochs is inf: input should be",
        ),
        ({"recipe": RECIPE | {"encoder": "\ud800"}}, "the recipe: encoder is "),
        ({"recipe": RECIPE | {"columns": {"\ud800": RECIPE["columns"]["label"]}}}, "the recipe"),
    ],
)
def test_what_is_no_recipe_is_refused(body, message, client):
    answer = client.post("/api/recipes/toml", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name.strip() == name != "row" and "{" not in name)
NAMES = NAMES.filter(lambda name: name.isprintable() and "}" not in name)
COLUMN = st.fixed_dictionaries(
    {"kind": st.just("label"), "labels": st.lists(NAMES, min_size=2, max_size=3, unique_by=str.casefold)},
    optional={"sources": st.just(["words"]), "abstain_below": st.just(0.5), "threshold": st.none()},
)


@given(st.dictionaries(NAMES, COLUMN, min_size=1, max_size=3), st.text(max_size=9))
def test_a_recipe_of_json_is_the_same_recipe_as_toml(columns, text):
    values = {
        "table": {"document": "{title}" + text.translate({ord("{"): None, ord("}"): None}), "id": None},
        "columns": {name: column | {"question": f"What of {name}?"} for name, column in columns.items()},
    }
    try:
        expected = load_recipe(values)
    except RecipeError:
        with pytest.raises(RecipeError):
            recipe_toml(values)
        return
    toml = recipe_toml(values)
    assert load_recipe(read_toml(toml)) == expected
    assert recipe_toml(read_toml(toml)) == toml


class TestSchema:
    def test_every_setting_has_the_words_of_the_code(self, client):
        schema = client.get("/api/recipes/schema").json()
        assert schema == recipe_schema()
        parts = [schema, *schema["$defs"].values()]
        missing = [
            (part["title"], name)
            for part in parts
            for name, setting in part.get("properties", {}).items()
            if name != "kind" and len(setting.get("description", "")) < 10
        ]
        assert missing == []
        assert schema["$defs"]["TrainingSpec"]["properties"]["seed"]["description"] == (
            "For the row order, new parameters and dropout."
        )
        assert schema["$defs"]["LabelColumn"]["description"] == "A column that holds one of a set of labels."

    def test_no_setting_needs_the_code_to_be_understood(self):
        schema = recipe_schema()
        texts = [
            setting.get("description", "")
            for part in (schema, *schema["$defs"].values())
            for setting in part.get("properties", {}).values()
        ]
        assert [text for text in texts if re.search(r"`|\bNone\b|\.py\b|[a-z]Column\b|\bpapertune\.", text)] == []
        assert schema["$defs"]["TableSpec"]["properties"]["id"]["description"] == (
            "The column that names a row; empty: rows are identified by their number."
        )

    def test_the_parts_are_found_by_kind(self):
        schema = recipe_schema()
        for key, known in (("method", methods_by_kind()), ("stage", stages_by_kind())):
            assert schema["properties"][key]["discriminator"]["mapping"].keys() == known.keys()
        columns = schema["properties"]["columns"]["additionalProperties"]["discriminator"]["mapping"]
        assert columns.keys() == columns_by_kind().keys()
        for kind, place in columns.items():
            name = place.removeprefix("#/$defs/")
            fields = columns_by_kind()[kind].model_fields
            assert schema["$defs"][name]["properties"].keys() == fields.keys()


@pytest.mark.slow
class TestWorker:
    @pytest.fixture
    def worker(self, tmp_path):
        worker = Worker(tmp_path)
        yield worker
        worker.close()

    def test_it_is_one_process_in_the_work_folder_that_is_replaced_after_a_kill(self, worker, tmp_path, monkeypatch):
        pid = worker.run(os.getpid)
        assert pid not in (os.getpid(), None)
        assert worker.run(os.getpid) == pid
        assert worker.run(os.getcwd) == str(tmp_path)
        with pytest.raises(
            ServeError, match=r"^the check was ended, perhaps since the memory was full\. Check a smaller"
        ):
            worker.run(os._exit, 1)
        other = worker.run(os.getpid)
        assert other != pid
        monkeypatch.setattr(workers, "LIMIT_S", 0.1)
        with pytest.raises(ServeError, match=r"^the check took too long"):
            worker.run(time.sleep, 60)
        # Calls that wait behind it end with it.
        with ThreadPoolExecutor() as threads:
            waiting = [threads.submit(worker.run, time.sleep, 60) for _ in range(5)]
            for each in waiting:
                with pytest.raises(ServeError, match=r"^the check (took too long|was ended)"):
                    each.result()
        monkeypatch.undo()
        idle = worker.run(os.getpid)
        os.kill(idle, signal.SIGKILL)
        wait_until(lambda: worker._pool._broken)  # a thread of the pool notices it
        assert worker.run(os.getpid) != idle
        with pytest.raises(TableError, match=r"^papers\.csv: there is no such file"):
            worker.run(make_recipe, "missing.csv", "papers.csv", [], [])
        monkeypatch.setattr(workers, "IDLE_S", 0.0)
        last = worker.run(os.getpid)
        wait_for_end(last)

    def test_what_nobody_waits_for_any_more_is_not_begun(self, worker, tmp_path):
        mark = tmp_path / "begun"
        with ThreadPoolExecutor() as threads:
            # The first one runs, and the pool hands the second one to the process before it is asked for.
            running = [threads.submit(worker.run, time.sleep, 1.0) for _ in range(2)]
            wait_until(lambda: worker._asked == 2)
            with pytest.raises(ServeError, match=r"^the client has gone\. Ask again\.$"):
                worker.run(os.mkdir, str(mark), is_wanted=lambda: False)
            for each in running:
                each.result()
        worker.run(os.getpid)
        assert not mark.exists()

    def test_it_ends_with_a_killed_server(self, tmp_path):
        script = tmp_path / "server.py"
        script.write_text(
            "import os, time\n"
            "from pathlib import Path\n"
            "from papertune.serve.recipes.worker import Worker\n"
            "if __name__ == '__main__':\n"
            "    print(Worker(Path('.')).run(os.getpid), flush=True)\n"
            "    time.sleep(60)\n",
            "utf-8",
        )
        with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, cwd=tmp_path) as server:
            pid = int(server.stdout.readline())
            server.send_signal(signal.SIGKILL)
        wait_for_end(pid)


def wait_for_end(pid):
    wait_until(lambda: began(pid) is None)


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
