"""A column of several labels from training to report, on the tiny model."""

import json

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file
from sklearn.metrics import f1_score

import papertune
from papertune import ModelError, RecipeError, TableError
from papertune.calibration.rows import predict_values
from papertune.kinds import LabelsColumn
from papertune.kinds.labels.matrix import label_matrix
from papertune.kinds.labels.thresholds import f1_thresholds
from papertune.pipelines.adopt import adopt
from papertune.pipelines.check import check_tables
from papertune.pipelines.instructions import write_instructions
from papertune.run import model as run_model
from papertune.tables import read_table

LABELS = ["heart", "graph", "aspirin"]


def with_topics(papers):
    """Add a column of the labels that occur in the abstract; some rows have none, some all."""
    return [
        {**row, "topics": "; ".join(label for label in LABELS if label in row["abstract"].split()[:9])}
        for row in papers
    ]


def make_recipe(tiny_folder, **topics):
    topics = {
        "kind": "labels",
        "sources": ["model"],
        "question": "About {label}? 1 or 0.",
        "labels": LABELS,
        "answers": ["1", "0"],
        **topics,
    }
    return {
        "model": str(tiny_folder),
        "table": {"id": "uuid", "document": "{abstract}"},
        "columns": {"topics": topics},
        "method": {"kind": "full"},
        "training": {"precision": "fp32", "micro_batch_size": 4, "warmup_steps": 1, "learning_rate": 0.003},
    }


@pytest.fixture
def recipe(tiny_folder):
    return make_recipe(tiny_folder)


@pytest.fixture(scope="module")
def train_rows(papers):
    return with_topics(papers(48))


@pytest.fixture(scope="module")
def rows(papers):
    return with_topics(papers(20, 300))


@pytest.fixture(scope="module")
def run(tiny_folder, train_rows, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "topics"
    settings = ["training.epochs=12", "training.save_steps=36"]
    return papertune.train(train_rows, make_recipe(tiny_folder), folder, dev=rows, overrides=settings)


def metrics(run, key):
    entries = map(json.loads, run.directory.metrics.read_text("utf-8").splitlines())
    return [entry[key] for entry in entries if key in entry]


def gold(rows, run):
    return label_matrix([row["topics"] for row in rows], run.recipe.columns["topics"])


def numbers(frame):
    return frame.select(f"topics_probability_{label}" for label in LABELS).cast(pl.Float64).to_numpy()


def test_the_labels_are_learned(run, train_rows):
    has = gold(train_rows, run)
    probabilities = numbers(run.predict(train_rows, probabilities=True))
    losses = -np.log(np.where(has, probabilities, 1 - probabilities))
    shares = has.mean(axis=0)
    by_share = -(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).mean()
    assert losses.mean() < 0.8 * by_share, "no better than the frequency of each label"
    assert metrics(run, "loss")[-1] < 0.7 * metrics(run, "loss")[0]
    # 48 rows of 3 labels: 144 answers, but 12 batches of 4 rows an epoch.
    assert run.manifest.examples == 144
    assert run.manifest.steps == 144
    assert run.manifest.label_counts == {"topics": dict(zip(LABELS, has.sum(axis=0).tolist(), strict=True))}


def test_the_dev_score_is_micro_f1(run, rows):
    filled = run.predict(rows, precision="fp32")
    column = run.recipe.columns["topics"]
    predicted = label_matrix(filled["topics"].to_list(), column)
    assert run.manifest.dev_score == pytest.approx(f1_score(gold(rows, run), predicted, average="micro"))
    assert run.manifest.dev_score == max(metrics(run, "score"))
    assert metrics(run, "eval_topics_micro_f1") == metrics(run, "score")


def test_cells_are_the_labels_above_the_threshold(run, rows):
    filled = run.predict(rows, probabilities=True)
    assert filled.columns == ["uuid", "topics", *(f"topics_probability_{label}" for label in LABELS), "topics_given"]
    expected = ["; ".join(label for label, p in zip(LABELS, row, strict=True) if p >= 0.5) for row in numbers(filled)]
    assert filled["topics"].to_list() == expected
    assert len(set(expected)) > 2, "rows have different labels"
    assert filled["topics_given"].to_list() == [row["topics"] for row in rows]


def test_a_killed_prediction_is_resumed_to_the_same_bytes(run, rows, make_listener, tmp_path, monkeypatch):
    small = lambda *arguments: real(*arguments, max_batch_tokens=200)  # noqa: E731
    real = run_model.Predictor
    monkeypatch.setattr(run_model, "Predictor", small)
    opened = papertune.load_run(run.directory.path)
    opened.predict_file(rows, tmp_path / "whole.csv", probabilities=True)

    class Killed(BaseException):
        pass

    def kill(step):
        if 0 < step.done < step.total:
            raise Killed

    with pytest.raises(Killed):
        opened.predict_file(rows, tmp_path / "out.csv", probabilities=True, listener=make_listener(on_rows=kill))
    journal = (tmp_path / "out.csv.journal").read_text("utf-8").splitlines()
    values = json.loads(journal[2])["values"]
    assert list(values) == [f"topics: {label}" for label in LABELS]
    done = opened.predict_file(rows, tmp_path / "out.csv", probabilities=True)
    assert done.rows_begun == len(rows)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*the document is nearly that of")
def test_an_instruction_file_trains_and_scores_like_the_table(recipe, papers, listener, tmp_path):
    table = with_topics(papers(8))
    assert write_instructions(table, recipe, tmp_path / "papers.json") == 24
    entries = json.loads((tmp_path / "papers.json").read_text("utf-8"))
    assert [entry["instruction"] for entry in entries[:3]] == [f"About {label}? 1 or 0." for label in LABELS]
    assert {entry["output"] for entry in entries} == {"1", "0"}
    from_json, from_table = (
        papertune.train(rows, recipe, tmp_path / name, listener=listener)
        for name, rows in (("json", tmp_path / "papers.json"), ("table", table))
    )
    # The questions of a paper share a pass; `check` and the training count alike.
    few = [line for line in listener.messages if line.startswith("8 rows make")]
    assert few == [check_tables([rows], recipe).lines[-1] for rows in (tmp_path / "papers.json", table)]
    question_first = ["layout=question-first"]
    assert check_tables([table], recipe, overrides=question_first).lines[-1].startswith("24 rows make")
    one, other = (load_file(each.directory.model / "model.safetensors") for each in (from_json, from_table))
    assert all(bool((tensor == other[name]).all()) for name, tensor in one.items())
    # Three entries are one paper, so the scores equal those of the table.
    papertune.evaluate(from_table, tmp_path / "papers.json", tmp_path / "of-json", precision="fp32")
    papertune.evaluate(from_table, table, tmp_path / "of-table", precision="fp32")
    by_entry, by_row = (
        json.loads((tmp_path / name / "report.json").read_text("utf-8"))["columns"][0]["contestants"][0]["scores"]
        for name in ("of-json", "of-table")
    )
    assert by_entry.pop("average_precision") == pytest.approx(by_row.pop("average_precision"))
    assert by_entry == by_row


@pytest.mark.once
def test_a_report_has_the_scores_and_the_baselines(run, rows, train_rows, tmp_path):
    report = papertune.evaluate(run, rows, tmp_path / "report", baselines=train_rows, precision="fp32")
    (column,) = report.columns
    names = [system.name for system in column.systems]
    assert names[1:] == ["TF-IDF + one-vs-rest logistic regression", "majority"]
    scores = column.systems[0].scores
    predicted = label_matrix(run.predict(rows, precision="fp32")["topics"].to_list(), run.recipe.columns["topics"])
    for average, value in (("micro", scores.micro_f1), ("macro", scores.macro_f1)):
        assert value == pytest.approx(f1_score(gold(rows, run), predicted, average=average, zero_division=0))
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "Micro F1" in page
    assert "The label of each paper whose probability is nearest to its threshold, right or wrong." in page
    assert len(column.uncertain_rows) == 10
    assert {row.predicted.removeprefix("not ") for row in column.uncertain_rows} <= {"heart", "graph", "aspirin"}
    wrong = [row for row in column.confident_errors if row.predicted == row.gold]
    assert column.confident_errors
    assert not wrong
    # A file of predictions scores the same.
    run.predict_file(rows, tmp_path / "filled.csv", probabilities=True, precision="fp32")
    again = papertune.evaluate(run, rows, tmp_path / "again", predictions=tmp_path / "filled.csv")
    assert again.columns[0].systems[0].scores.micro_f1 == scores.micro_f1
    (tmp_path / "wrong.csv").write_text(
        (tmp_path / "filled.csv").read_text("utf-8").replace("heart;", "hart;"), "utf-8"
    )
    with pytest.raises(TableError, match=r'"topics": "hart;.*" is not one of the labels heart, graph, aspirin\.'):
        papertune.evaluate(run, rows, tmp_path / "wrong", predictions=tmp_path / "wrong.csv")


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*the document is nearly that of")
def test_check_counts_labels_and_shows_a_question(recipe, train_rows):
    result = check_tables([train_rows], recipe)
    has = [row["topics"] for row in train_rows]
    (counted,) = [line for line in result.lines if line.startswith("  topics: ")]
    assert f"heart {sum('heart' in cell for cell in has)}" in counted
    assert f"(none of them) {has.count('')}" in counted
    (shown,) = result.examples
    assert shown.column == "topics: heart"
    assert "About heart? 1 or 0." in shown.prompt
    assert shown.answer in ("1", "0")


def test_thresholds_are_chosen_on_dev_rows_and_stored(tiny_folder, train_rows, tmp_path):
    recipe, dev = make_recipe(tiny_folder, thresholds="f1"), train_rows[8:24]
    run = papertune.train(train_rows[:8], recipe, tmp_path / "run", dev=dev, overrides=["training.max_steps=2"])
    kept = papertune.load_run(tmp_path / "run").recipe.columns["topics"].thresholds
    answering, full = (numbers(run.predict(dev, probabilities=True, precision=name)) for name in ("auto", "fp32"))
    has = gold(dev, run)
    assert list(kept) == LABELS
    assert list(kept.values()) == pytest.approx(f1_thresholds(answering, has).tolist(), abs=1e-5)
    predicted = full >= f1_thresholds(full, has) - 1e-5  # as the training computed
    assert run.manifest.dev_score == pytest.approx(f1_score(has, predicted, average="micro"))
    # The same command finds the run finished, though its recipe has numbers now.
    again = papertune.train(
        train_rows[:8], recipe, tmp_path / "run", dev=dev, overrides=["training.max_steps=2"], resume=True
    )
    assert again.recipe == run.recipe


def test_a_run_whose_thresholds_cannot_be_chosen_is_kept(tiny_folder, train_rows, listener, tmp_path, monkeypatch):
    def fail(*_):
        raise ModelError("too large for float16")

    monkeypatch.setattr(LabelsColumn, "calibrate", fail)
    recipe, settings = make_recipe(tiny_folder, thresholds="f1"), ["training.max_steps=1"]
    dev = train_rows[8:24]
    run = papertune.train(train_rows[:8], recipe, tmp_path / "run", dev=dev, overrides=settings, listener=listener)
    assert listener.messages[-1] == "topics: thresholds are not chosen, so 0.5 is used: too large for float16"
    filled = run.predict(dev, probabilities=True)
    expected = ["; ".join(label for label, p in zip(LABELS, row, strict=True) if p >= 0.5) for row in numbers(filled)]
    assert filled["topics"].to_list() == expected


def test_labels_with_few_dev_rows_keep_the_threshold_one_half(run, papers):
    papers = papers(20, 300)
    for n, row in enumerate(papers):
        row["topics"] = "; ".join(["heart"] * (n < 8) + ["graph"] * (n < 4))
    opened = papertune.load_run(run.directory.path)
    topics = opened.recipe.columns["topics"].model_copy(update={"thresholds": "f1"})
    opened.recipe = opened.recipe.model_copy(update={"columns": {"topics": topics}})
    outcome = topics.calibrate("topics", predict_values(opened, [read_table(papers)], ["topics"])["topics"])
    found = outcome.column.thresholds
    assert [found["graph"], found["aspirin"]] == [0.5, 0.5]
    assert outcome.messages == [
        f"topics: thresholds with the best F1 on 20 dev rows: heart {found['heart']:.2f}",
        "topics: 0.5 for graph, aspirin: fewer than 5 dev rows have the label, or lack it",
    ]


@pytest.mark.once
def test_thresholds_need_dev_rows(tiny_folder, train_rows, tmp_path):
    recipe = make_recipe(tiny_folder, thresholds="f1")
    with pytest.raises(
        RecipeError, match=r'columns\.topics\.thresholds is "f1": they are chosen on dev rows, and there'
    ):
        papertune.train(train_rows[:8], recipe, tmp_path / "run")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8, "lora_alpha": 16}')
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(
        RecipeError, match=r'columns\.topics\.thresholds is "f1", which is fitted at the end of a training'
    ):
        adopt(adapter, {**recipe, "method": {"kind": "lora"}}, tmp_path / "adopted")
