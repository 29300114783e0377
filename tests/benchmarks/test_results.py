"""The results benchmark on tiny tables and the tiny model: the files that it keeps, and its page."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import results
import results_page

from papertune.kinds import LabelColumn
from papertune.recipe import load_recipe

WORDS = ["heart", "graph", "aspirin", "network", "trial", "method", "patients", "learning", "effect", "fast", "study"]
LABELS = {"papers": ["1", "0"], "screening_nudging": ["included", "excluded"]}  # the first one is searched for


def write_tables(folder, name, labels=("0", "1")):
    """Write NAME_train.csv and NAME_dev.csv with the labels in turns."""
    for part, rows in (("train", range(96)), ("dev", range(100, 124))):
        lines = ["uuid,title,abstract,label,Keywords"]
        for n in rows:
            words = [WORDS[(n * 5 + i * (1 + n % 3)) % len(WORDS)] for i in range(8)]
            label = labels[n % len(labels)]
            lines.append(f"p{n},the {words[0]} {n},{' '.join(words)},{label},{words[0]}; {words[1]} {words[2]}")
        (folder / f"{name}_{part}.csv").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_tables(folder, "papers")
    write_tables(folder, "keywords")
    write_tables(folder, "screening_nudging", ("excluded", "included", *["excluded"] * 4))
    return folder


@pytest.fixture(scope="module")
def command(tables, tiny_folder):
    """Return a function that runs the script with some arguments."""

    def command(*words):
        settings = [f"model={tiny_folder}", "method.layers=1", "training.max_steps=1", "training.precision=fp32"]
        changes = [word for setting in settings for word in ("--set", setting)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PAPERTUNE_DATA", str(tables))
            patch.setattr(sys, "argv", ["results.py", *map(str, words), *changes, "--device", "cpu"])
            for name in ("setfit", "keybert", "yake"):
                patch.setitem(sys.modules, name, None)
            # Slow parts that are tested elsewhere.
            patch.setattr("papertune.evaluation.report.writing.page", lambda report: "")
            patch.setattr("papertune.pipelines.comparison.base_model.NUMBERS_OF_EXAMPLES", (2,))
            patch.setattr("papertune.pipelines.comparison.base_model.TUNING_ROWS", 2)
            results.main()

    return command


@pytest.fixture(scope="module")
def folder(command, tmp_path_factory):
    """Return a folder in which some of the tables are measured."""
    folder = tmp_path_factory.mktemp("measured") / "results"
    tables = ("papers", "keywords", "screening_nudging")
    command(*tables, "-o", folder, "--rows", 12, "--test-rows", 8, "--dev-rows", 10)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return results_page.page_of(folder)


def section(page, name):
    return page.split(f"## {results_page.SECTIONS[name].title}\n")[1].split("\n## ")[0]


def rows(section):
    """Return the cells of a section's table, by system."""
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def test_the_report_and_the_settings_of_each_table_are_kept(folder):
    for name in ("papers", "keywords"):
        report = json.loads((folder / name / "report.json").read_text("utf-8"))
        setting = json.loads((folder / name / "setting.json").read_text("utf-8"))
        assert report["rows"] == setting["test_rows"] == 8
        assert (setting["rows"], setting["of_rows"], setting["of_test_rows"]) == (12, 96, 24)
        assert setting["dev_rows"] == 10
        assert setting["machine"]["cores"] >= 1
        assert report["table"] == f"{name}_dev.csv"  # without its folder


def test_the_page_shows_each_system_with_its_cost(page, folder):
    for name, first in (("papers", "accuracy"), ("keywords", "f1_at_5")):
        report = json.loads((folder / name / "report.json").read_text("utf-8"))
        (column,) = report["columns"]
        shown = rows(section(page, name))
        assert list(shown) == [each["name"] for each in column["contestants"]]
        for each in column["contestants"]:
            cells, scores = shown[each["name"]], each["scores"]
            interval = scores[f"{first}_interval"]
            assert cells[0] == f"{scores[first]:.3f} ({interval['low']:.3f}-{interval['high']:.3f})"
            if each["paired"] is None:
                assert "best baseline" in cells
            else:
                assert any(cell.startswith(f"{each['paired']['difference']:+.3f} (") for cell in cells)
            assert cells[-1].replace(",", "") == str(each["trained_weights"])
        text = section(page, name).replace("\n", " ")
        assert f"**{column['verdict']}**" in text
        assert f"Scored: 8 of 24 rows of `{name}_dev.csv`. The run: trained on 12 of 96 rows" in text
    assert ", with 10 others as dev rows; " in section(page, "papers").replace("\n", " ")
    assert "- SetFit: not measured: not installed: pip install 'papertune[compare]'." in section(page, "papers")
    assert "- few-shot" in section(page, "papers")
    for name in ("papers", "keywords", "screening_nudging"):
        (sentence,) = [line for line in section(page, name).splitlines() if "word for word" in line]
        assert sentence.endswith("also among the training or dev rows, word for word or nearly.")


def test_screening_is_judged_by_ranking(page, folder):
    text = section(page, "screening_nudging")
    (column,) = json.loads((folder / "screening_nudging" / "report.json").read_text("utf-8"))["columns"]
    assert column["is_screening"]
    head = next(line for line in text.splitlines() if line.startswith("|  | "))
    assert "| average precision | WSS@95 | recall of included | F1 of included | accuracy |" in head
    assert "| accuracy | difference in average precision | rows/s |" in head
    for each in column["contestants"]:
        scores, cells = each["scores"], rows(text)[each["name"]]
        assert cells[2] == f"{scores['per_label'][0]['recall']:.3f}"
        assert cells[1] == ("" if scores["wss_at_95"] is None else f"{scores['wss_at_95']:.3f}")
    run = column["contestants"][0]
    paired = run["paired_average_precision"]
    difference = f"{paired['difference']:+.3f} ({paired['low']:+.3f} to {paired['high']:+.3f})"
    assert rows(text)[run["name"]][5] == difference
    assert rows(text)["TF-IDF + logistic regression"][5] == "best baseline"
    assert rows(text)["majority"][5] == ""  # without a ranking
    assert "Average precision" in column["verdict"]
    assert f"**{column['verdict']}**" in text.replace("\n", " ")
    overview = next(line for line in page.splitlines() if line.startswith("| [screening_nudging]("))
    assert "| average precision | joined sources: " in overview
    assert "| TF-IDF + logistic regression: " in overview
    assert overview.endswith(f"| {difference} |")


def test_the_page_lists_what_is_not_measured(page):
    text = page.split("## Not measured yet\n")[1].split("\n## ")[0]
    assert text.splitlines() == [
        "",
        *(
            f"- {results_page.SECTIONS[name].title}: `python benchmarks/results.py {name} -o results`"
            for name in ("medical_abstracts", "screening_depression", "csl", "inspec")
        ),
    ]
    assert "has little to flip.\n\nNot measured yet." in page


def test_the_page_is_written_again_from_kept_files(command, page, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "compare", None)
    command("-o", folder, "--write", tmp_path / "docs" / "lab" / "results.md")
    assert (tmp_path / "docs" / "lab" / "results.md").read_text("utf-8") == page
    (folder / "injection.md").write_text("## Hostile instructions in abstracts\n\n2 papers\n\n| | flipped |\n")
    try:
        command("-o", folder, "--write", tmp_path / "docs" / "lab" / "results.md")
    finally:
        (folder / "injection.md").unlink()
    assert (
        "little to flip.\n\n2 papers\n\n| | flipped |\n\n## Not measured yet\n"
        in (tmp_path / "docs" / "lab" / "results.md").read_text()
    )


def test_an_existing_run_is_measured(command, folder, tmp_path):
    run = shutil.copytree(folder / "papers" / "run", tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text("utf-8"))
    manifest["tables"][0]["source"] = f"{tmp_path}/papers_train.csv"  # as given to `papertune train`
    (run / "run.json").write_text(json.dumps(manifest))
    command("papers", "-o", tmp_path / "again", "--run", f"papers={run}", "--test-rows", 8)
    first, again = (
        json.loads((of / "papers" / "report.json").read_text("utf-8"))["columns"][0]
        for of in (folder, tmp_path / "again")
    )
    assert again["contestants"][0]["scores"] == first["contestants"][0]["scores"]
    assert not (tmp_path / "again" / "papers" / "run").exists()
    page = (tmp_path / "again" / "results.md").read_text("utf-8").replace("\n", " ")
    assert (
        "The run: trained earlier on papers_train.csv (12 rows); its training time is that of its own machine" in page
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paper", "-o", "x"], "there is no table paper; there are: papers, medical_abstracts, "),
        (["papers", "-o", "x", "--run", "csl=RUN"], "--run csl=RUN: this table is not measured"),
    ],
)
def test_invalid_options_are_reported(command, words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command(*words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_another_number_of_rows_needs_another_folder(command, folder, capsys):
    with pytest.raises(SystemExit) as ended:
        command("papers", "-o", folder, "--rows", 10, "--test-rows", 8, "--dev-rows", 10)
    assert ended.value.code == 2
    assert f"error: {folder / 'papers'} was begun with another rows. Go on with the same, or" in capsys.readouterr().err


def test_the_recipes_have_the_columns_of_the_experiments():
    for name, experiment in results.EXPERIMENTS.items():
        column = load_recipe(experiment.recipe).columns[experiment.column]
        assert isinstance(column, LabelColumn) == experiment.is_label
        assert column.kind == "ranked_keywords" or column.labels
        if name in LABELS:
            assert list(column.labels) == LABELS[name]
    of_free_text = "titles"
    assert {path.stem for path in results.RECIPES.glob("*.toml")} <= {*results.EXPERIMENTS, of_free_text}
    assert set(results.EXPERIMENTS) == set(results_page.SECTIONS)
    shipped, asked = load_recipe("medical-papers"), load_recipe(results.EXPERIMENTS["papers"].recipe)
    assert shipped.columns["label"].question == asked.columns["label"].question
    # The built-in recipe gets its dev rows by an option.
    training = asked.training.model_copy(update={"dev_fraction": shipped.training.dev_fraction})
    assert (shipped.table, shipped.training, shipped.method) == (asked.table, training, asked.method)


def test_the_page_in_the_docs_is_made_by_this_script():
    page = (Path(__file__).parents[2] / "docs" / "lab" / "results.md").read_text("utf-8")
    assert page.startswith(results_page.HEAD)
    assert page.endswith(results_page.EARLIER.read_text("utf-8"))
    for name, section in results_page.SECTIONS.items():
        measured = f"\n## {section.title}\n\n{results_page.filled(section.about)}\n" in page
        missing = f"\n- {section.title}: `python benchmarks/results.py {name} -o results`\n" in page
        assert measured != missing
