import re
from dataclasses import replace

import pytest
import typer

from papertune.errors import RecipeError, RunError
from papertune.recipe import load_recipe
from papertune.run_directory import RunDirectory
from papertune.serve.errors import ServeError
from papertune.serve.jobs.job import Job, write_job
from papertune.serve.jobs.preparing import prepare as prepare_job
from papertune.serve.jobs.requests import JobRequest
from papertune.serve.recipes.toml import recipe_toml
from papertune.serve.tables.models import Correction
from papertune.serve.workspace import make_folder

RECIPE = {
    "table": {"id": None, "document": "{title}"},
    "columns": {"label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"], "threshold": None}},
}


@pytest.fixture
def prepare(server, monkeypatch):
    """Return a function that prepares a job, and checks that papertune understands its arguments."""
    (server.workspace.runs / "old").mkdir()
    monkeypatch.setattr(RunDirectory, "read", lambda _: None)

    def prepare(**request):
        folder = make_folder(server.workspace.jobs)
        asked = JobRequest.model_validate({"table": server.table, "name": "new", **request})
        arguments = prepare_job(server.workspace, server.tables, folder, asked).arguments
        assert_understood(arguments)
        return [argument.replace(f"jobs/{folder.name}/", "JOB/") for argument in arguments], folder

    return prepare


def assert_understood(arguments):
    from papertune.cli import commands  # noqa: F401 - registers the commands
    from papertune.cli.app import app

    command = typer.main.get_command(app).commands[arguments[0]]
    command.make_context(arguments[0], arguments[1:])


def test_a_training_has_copies_of_its_tables_and_its_recipe(prepare, server):
    options = {"dev": server.table, "only": ["--label"], "stage": "sft"}
    arguments, folder = prepare(kind="train", recipe=RECIPE, options=options)
    assert arguments == [
        "train",
        "JOB/table/papers.csv",
        "-r",
        "JOB/recipe.toml",
        "-o",
        "runs/new",
        "--dev=JOB/dev/papers.csv",
        "--only=--label",
        "--stage=sft",
    ]
    assert (folder / "dev" / "papers.csv").read_bytes() == server.tables.file(server.table).read_bytes()
    assert load_recipe(folder / "recipe.toml").columns["label"].labels == ("1", "0")
    assert prepare(kind="train", recipe=RECIPE, options={"dev_fraction": 0.25})[0][-1] == "--dev-fraction=0.25"


def test_a_training_starts_from_a_run_with_that_runs_recipe_or_another(prepare, server):
    old = server.workspace.runs / "old" / "recipe.toml"
    old.write_text(
        recipe_toml(
            RECIPE
            | {
                "stage": {"kind": "kto", "beta": 0.2},
                "training": {"learning_rate": 0.02, "epochs": 2.0},
                "method": {"kind": "lora", "rank": 4},
            }
        ),
        "utf-8",
    )
    _, folder = prepare(kind="train", options={"start_from": "old", "stage": "dpo"})
    recipe = load_recipe(folder / "recipe.toml")
    assert (recipe.stage.kind, recipe.method.rank, recipe.method.start_from) == ("sft", 4, "runs/old")
    assert (recipe.training.learning_rate, recipe.training.epochs) == (1e-3, 2.0)
    _, again = prepare(kind="train", name="again", options={"start_from": "old"})
    recipe = load_recipe(again / "recipe.toml")
    assert (recipe.stage.kind, recipe.stage.beta, recipe.training.learning_rate) == ("kto", 0.2, 0.02)
    _, own = prepare(kind="train", name="own", recipe=RECIPE, options={"start_from": "old"})
    assert load_recipe(own / "recipe.toml").method.start_from == "runs/old"
    assert load_recipe(own / "recipe.toml").method.rank == 8


def test_a_training_learns_the_pairs_of_another_job_which_it_copies(prepare, server):
    made = make_folder(server.workspace.jobs)
    job = Job(made.name, "prefer", "corrections", "", server.table, "old", [], state="done")
    write_job(made, job)
    (made / "pairs.jsonl").write_text("{}\n", "utf-8")
    options = {"stage": "dpo", "start_from": "old", "pairs": made.name, "dev": made.name}
    asked = {"kind": "train", "table": None, "recipe": RECIPE, "options": options}
    arguments, folder = prepare(**asked)
    assert arguments == [
        "train",
        "JOB/pairs/pairs.jsonl",
        "-r",
        "JOB/recipe.toml",
        "-o",
        "runs/new",
        "--dev=JOB/dev/pairs.jsonl",
        "--stage=dpo",
    ]
    assert (folder / "pairs" / "pairs.jsonl").read_text("utf-8") == "{}\n"
    write_job(made, replace(job, state="failed"))
    for changes, message in (
        ({}, '"corrections" has no pairs of answers: only a finished `prefer` job has. Choose one.'),
        ({"options": options | {"pairs": "000009-0"}}, 'there is no job "000009-0". It may have been deleted: reload.'),
        ({"options": options | {"start_from": "x"}}, 'there is no run "x". It may have been deleted: reload.'),
        ({"table": server.table}, "a training learns a table or `options.pairs`. Leave one of them out."),
        ({"options": {}}, "table is missing. Choose one of /api/tables."),
    ):
        with pytest.raises(ServeError) as caught:
            prepare(**(asked | changes))
        assert caught.value.message == message


def test_a_training_learns_corrections_and_not_those_that_come_later(prepare, server):
    correct(server, "1", "A heart")
    arguments, folder = prepare(kind="train", recipe=RECIPE)
    assert arguments[1] == "JOB/table/papers.csv.parquet"
    before = (folder / "table" / "papers.csv.parquet").read_bytes()
    correct(server, "2", "A lung")
    prepare(kind="train", recipe=RECIPE)
    assert (folder / "table" / "papers.csv.parquet").read_bytes() == before


def correct(server, identity, value):
    server.tables.correct(server.table, [Correction(id=identity, row=0, column="title", value=value)])


def test_a_table_is_filled_in_with_all_columns_or_those_that_are_named(prepare):
    assert prepare(kind="predict", run="old")[0] == [
        "predict",
        "runs/old",
        "JOB/table/papers.csv",
        "-o",
        "JOB/filled.csv",
        "--columns=all",
        "--overwrite",
    ]
    options = {"columns": ["title", "label"], "probabilities": True, "sort_by": "label"}
    assert prepare(kind="predict", run="old", options=options)[0][5:] == [
        "--columns=title,label",
        "--overwrite",
        "--probabilities",
        "--sort-by=label",
    ]


def test_a_run_is_evaluated_beside_baselines(prepare, server):
    options = {"truth": server.table, "baselines": server.table}
    assert prepare(kind="evaluate", run="old", options=options)[0] == [
        "evaluate",
        "runs/old",
        "JOB/table/papers.csv",
        "-o",
        "JOB/report",
        "--truth=JOB/truth/papers.csv",
        "--baselines=JOB/baselines/papers.csv",
        "--overwrite",
    ]


def test_corrections_are_preferred_to_what_was_filled_in(prepare, server):
    tail = ["-r", "runs/old/recipe.toml", "-o", "JOB/pairs.jsonl", "--overwrite"]
    with pytest.raises(ServeError) as caught:
        prepare(kind="prefer", run="old")
    assert caught.value.message == (
        "no cell of papers.csv is corrected, so no answer is preferred. Correct some cells first."
    )
    synthetic, _ = prepare(kind="prefer", run="old", options={"synthesise": True})
    assert synthetic == ["prefer", "JOB/table/papers.csv", *tail, "--synthesise"]
    other, _ = prepare(kind="prefer", run="old", options={"corrected": server.table})
    assert other == ["prefer", "JOB/table/papers.csv", "JOB/corrected/papers.csv", *tail]
    correct(server, "1", "A heart")
    own, folder = prepare(kind="prefer", run="old")
    assert own == ["prefer", "JOB/table/papers.csv", "JOB/corrected/papers.csv.parquet", *tail]
    assert b"The heart" in (folder / "table" / "papers.csv").read_bytes()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"kind": "train"}, "recipe is missing. A training needs one: make it with /api/recipes/init."),
        ({"kind": "train", "recipe": RECIPE, "run": "old"}, "run: a training makes a run. Name it by `name`."),
        ({"kind": "predict"}, "run is missing. Choose one of /api/runs."),
        ({"kind": "predict", "run": "old", "recipe": RECIPE}, "recipe: only a training has one. Leave it out."),
        ({"kind": "predict", "run": "other"}, 'there is no run "other". It may have been deleted: reload.'),
        ({"kind": "evaluate", "run": "../x"}, 'there is no run "../x". It may have been deleted: reload.'),
        ({"kind": "predict", "run": "old", "table": "x"}, 'there is no table "x". It may have been deleted: reload.'),
        (
            {"kind": "train", "recipe": RECIPE, "name": ".."},
            '".." cannot be the name of a run. Use up to 64 letters of a-z and A-Z, digits, dots, hyphens and '
            "underscores, and no dot at the beginning.",
        ),
        ({"kind": "train", "recipe": RECIPE, "name": "old"}, 'there is a run "old" already. Choose another name.'),
        (
            {"kind": "predict", "run": "old", "options": {"columns": ["a,b"]}},
            'options.columns: "a,b" has a comma, which separates names. Choose "all".',
        ),
        (
            {"kind": "predict", "run": "old", "options": {"stage": "sft"}},
            "options.stage: Extra inputs are not permitted. Correct the request.",
        ),
        (
            {"kind": "train", "recipe": RECIPE, "options": {"dev_fraction": 2}},
            "options.dev_fraction: Input should be less than or equal to 0.9. Correct the request.",
        ),
    ],
)
def test_a_request_that_does_not_fit_says_what_to_correct(request_, message, prepare):
    with pytest.raises(ServeError) as caught:
        prepare(**request_)
    assert caught.value.message == message
    assert 400 <= caught.value.status < 500


def test_an_invalid_recipe_or_an_unfinished_run_is_refused_before_anything_begins(server, prepare, monkeypatch):
    with pytest.raises(RecipeError, match=re.escape("colums is not a known key")):
        prepare(kind="train", recipe=RECIPE | {"colums": {}})
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"is not a run directory: it has no run\.json"):
        prepare(kind="predict", run="old")


def test_long_and_odd_names_of_tables_become_names_of_files(server, prepare, monkeypatch):
    named = server.tables.meta(server.table)
    for name, expected in (
        ("论" * 200 + ".csv", "论" * 50 + ".csv"),
        (".csv", ".csv.csv"),
        ("-x.v2", "-x.v2.csv"),
        ("Papers.CSV", "Papers.csv"),
    ):
        monkeypatch.setattr(server.tables, "meta", lambda _, name=name: named.model_copy(update={"name": name}))
        assert prepare(kind="predict", run="old")[0][2] == f"JOB/table/{expected}"
