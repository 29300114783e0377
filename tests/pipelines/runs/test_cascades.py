"""Cascades: rows that words decide do not go through the model. The slow way asks both about all rows."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import papertune
from papertune import OutputError, RunError
from papertune.calibration.cascading import MAX_FALL, MAX_RISE, choose_cascades
from papertune.calibration.joining import gather_evidence
from papertune.inference.cascades import about_cascades, cascade_in_words
from papertune.inference.parts import part
from papertune.inference.predictor import Predictor
from papertune.kinds.label.record import Cascade, Join
from papertune.prompts.examples import RowReader
from papertune.tables import read_table

TOPICS = ["heart", "graph"]
QUESTIONS = ["label", "topics: heart", "topics: graph"]


def with_topics(rows):
    """Make the label depend on a word in most rows, and name the topics of the first words."""
    return [
        {
            **row,
            "title": f"{row['title']} {('clinic' if row['label'] == '1' else 'lattice') if number % 3 else ''}",
            "topics": "; ".join(each for each in TOPICS if each in row["abstract"].split()[:9]),
        }
        for number, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def rows(papers):
    return with_topics(papers(40, 300))


@pytest.fixture(scope="module")
def run(tiny_folder, papers, tmp_path_factory):
    """A run whose three questions words and model answer half and half, and free text that the model writes."""
    folder = tmp_path_factory.mktemp("runs") / "joined"
    sources = ["words", "model"]
    recipe = {
        "model": str(tiny_folder),
        "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
        "columns": {
            "label": {"kind": "label", "question": "Medical? 1 or 0.", "labels": ["1", "0"], "sources": sources},
            "topics": {"kind": "labels", "question": "About {label}?", "labels": TOPICS, "sources": sources},
            "topic": {"kind": "text", "question": "Topic?", "max_new_tokens": 3},
        },
        "method": {"kind": "lora", "rank": 2},
        "training": {"precision": "fp32", "max_steps": 2, "warmup_steps": 1},
    }
    known = [{**row, "topic": row["label"]} for row in with_topics(papers(60))]
    papertune.train(known, recipe, folder)
    manifest = json.loads((folder / "run.json").read_text())
    for question in QUESTIONS:
        manifest["joins"][question]["weights"] = {"words": 0.5, "model": 0.5}
    plain = json.loads((folder / "sources" / "sources.json").read_text())["questions"]
    figures = {"rows": 50, "share": 0.5, "log_loss": [0.5, 0.51], "score": [0.9, 0.9], "changed": 1}
    manifest["cascades"] = {
        "label": {"certainty": 0.8, "joins": {"label": plain["label"]}, **figures},
        "topics": {"certainty": 0.7, "joins": {name: plain[name] for name in QUESTIONS[1:]}, **figures},
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    return papertune.load_run(folder)


def values_of(run, rows):
    from papertune.inference.predict import predict_rows

    reader, predictor = RowReader(read_table(rows), run.recipe), run.predictor()
    return predict_rows(predictor, reader, predictor.plan(reader, range(len(rows)))).values, predictor


def by_words(run, rows):
    """Return the probabilities of the first label of each question, by words alone, row by row."""
    reader = RowReader(read_table(rows), run.recipe)
    found = {question: [] for question in QUESTIONS}
    for row in range(len(rows)):
        said = run.label_sources.log_probabilities([reader.document(row)], {each: ["words"] for each in QUESTIONS})
        for question in QUESTIONS:
            plain = run.label_sources.plain_joins[question]
            scores = np.exp(plain.weights["words"] * said[question]["words"][0] + plain.offsets)
            found[question].append(scores[0] / scores.sum())
    return {question: np.array(values) for question, values in found.items()}


@pytest.mark.once  # rows of a batch change the others' last digits, of which bfloat16 has few
def test_decided_rows_have_the_answer_of_words_and_the_others_that_of_the_join(run, rows, monkeypatch):
    full, _ = values_of(run, rows)
    asked = {}
    answer = Predictor.answer

    def spy(self, reader, some, encoded=None):
        asked.update((row, {*prompts}) for row, prompts in zip(some, encoded, strict=True))
        return answer(self, reader, some, encoded)

    monkeypatch.setattr(Predictor, "answer", spy)
    found, predictor = values_of(run.with_cascade(), rows)
    words = by_words(run, rows)
    heart, graph = (np.maximum(words[name], 1 - words[name]) for name in QUESTIONS[1:])
    of_label = np.maximum(words["label"], 1 - words["label"]) >= 0.8
    of_topics = np.minimum(heart, graph) >= 0.7
    assert 0 < of_label.sum() < len(rows)
    assert 0 < of_topics.sum() < len(rows)
    assert predictor.decided == {"label": of_label.sum(), "topics": of_topics.sum()}
    for row in range(len(rows)):
        questions = {"topic"} | ({"label"} - ({"label"} if of_label[row] else set()))
        assert asked[row] == questions | (set() if of_topics[row] else {*QUESTIONS[1:]})
        label = [words["label"][row], 1 - words["label"][row]] if of_label[row] else full["label"][row]
        topics = [words[name][row] for name in QUESTIONS[1:]] if of_topics[row] else full["topics"][row]
        assert found["label"][row] == pytest.approx(label, abs=1e-5)
        assert found["topics"][row] == pytest.approx(topics, abs=1e-5)
    # Beside the text there is its probability, which depends on the rows of a batch in the last digits.
    assert [json.loads(each)[0] for each in found["topic"]] == [json.loads(each)[0] for each in full["topic"]]


def test_rows_that_are_decided_in_all_columns_are_not_asked_at_all(run, rows, monkeypatch):
    cascading = run.with_cascade()
    cascading.cascades = {name: replace(each, certainty=0.5) for name, each in cascading.cascades.items()}
    monkeypatch.setattr(Predictor, "_answer_prompts", None)  # nothing may go through the model
    filled = cascading.predict(rows, columns=["uuid", "label", "topics"])
    words = by_words(run, rows)
    assert filled["label"].to_list() == ["1" if p >= 0.5 else "0" for p in words["label"]]
    assert filled["topics"].to_list() == [
        "; ".join(topic for topic in TOPICS if words[f"topics: {topic}"][row] >= 0.5) for row in range(len(rows))
    ]


def test_a_stopped_prediction_resumes_to_the_same_bytes_and_only_as_a_cascade(run, papers, tmp_path, make_listener):
    table, cascading = with_topics(papers(70, 300)), run.with_cascade()
    options = {"columns": ["uuid", "label", "topics"], "probabilities": True}
    cascading.predict_file(table, tmp_path / "whole.csv", **options)

    def stop(_step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cascading.predict_file(table, tmp_path / "part.csv", **options, listener=make_listener(on_rows=stop))
    with pytest.raises(OutputError) as caught:
        run.predict_file(table, tmp_path / "part.csv", **options)
    changed = "--cascade: label from 0.8, topics from 0.7 before, now None; the weights of a cascade changed"
    assert f"keeps the rows of another prediction ({changed})" in str(caught.value)
    again = make_listener()
    cascading.predict_file(table, tmp_path / "part.csv", **options, listener=again)
    assert (tmp_path / "part.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert again.messages[0] == (
        "--cascade: label: 50% of 50 dev rows need no model, those of which the other sources are certain by 0.800; "
        "that changes 1 cell, log-loss 0.500 to 0.510, accuracy 0.900 to 0.900"
    )
    assert any("rows were decided without the model" in text for text in again.messages)


def test_other_processes_open_the_run_with_its_cascade(run):
    assert run.with_cascade().reopening()("cpu").cascades == run.manifest.cascades
    assert run.reopening()("cpu").cascades == {}


class TestChoosing:
    @pytest.fixture
    def evidence(self, run, papers):
        """Made-up sources: the model is right in all rows, words are in two of three, and unsure in the others."""
        found = gather_evidence(run, [read_table(with_topics(papers(60, 500)))], None)
        for question in QUESTIONS:
            gold = found.questions[question].gold
            sure = np.arange(len(gold)) % 3 > 0
            found.by_source[question]["words"] = made_up(gold, np.where(sure, 0.99, 0.4))
            found.by_source[question]["model"] = made_up(gold, np.full(len(gold), 0.97))
        return found

    @pytest.fixture
    def joined(self, run, monkeypatch):
        """The run, with words as they are and without offsets, so that what is expected can be written down."""
        plain = {name: Join({"words": 1.0}, [0.0, 0.0], "held-out rows", 60) for name in QUESTIONS}
        monkeypatch.setattr(run.label_sources, "plain_joins", plain)
        joins = {name: Join({"words": 0.2, "model": 1.0}, [0.0, 0.0], "dev rows", 60) for name in QUESTIONS}
        monkeypatch.setattr(run, "manifest", replace(run.manifest, joins=joins, calibration={}))
        return run

    def test_the_largest_share_is_chosen_that_costs_little(self, joined, evidence):
        found = choose_cascades(joined, evidence)
        assert {*found} == {"label", "topics"}
        cascade = found["label"]
        scale = cascade.joins["label"].weights["words"]
        assert scale != 1
        assert (cascade.rows, cascade.changed) == (60, 0)
        assert cascade.share == pytest.approx(2 / 3)
        assert cascade.score == (1.0, 1.0)
        gold = evidence.questions["label"].gold
        losses = [[], []]
        for row, label in enumerate(gold):
            w, m = (evidence.by_source["label"][name][row] for name in ("words", "model"))
            full = np.exp(0.2 * w + m)
            loss = -np.log(full[label] / full.sum())
            losses[0].append(loss)
            plain = np.exp(scale * w + cascade.joins["label"].offsets)
            losses[1].append(-np.log(plain[label] / plain.sum()) if row % 3 else loss)
            assert (plain.max() / plain.sum() >= cascade.certainty - 1e-9) == (row % 3 > 0)
        assert cascade.log_loss == pytest.approx([np.mean(each) for each in losses])
        rise = np.subtract(losses[1], losses[0])
        assert rise.mean() + rise.std(ddof=1) / np.sqrt(60) <= MAX_RISE

    def test_no_row_skips_the_model_if_certain_words_are_wrong(self, joined, evidence):
        gold = evidence.questions["label"].gold
        evidence.by_source["label"]["words"] = made_up(gold, np.full(60, 0.1))
        cascade = choose_cascades(joined, evidence)["label"]
        assert (cascade.certainty, cascade.share) == (None, 0.0)
        assert cascade_in_words("label", cascade, several_labels=False) == (
            "label: no row skips the model: on 60 dev rows any share of them cost too much"
        )

    def test_a_score_that_falls_is_a_cost_even_if_the_log_loss_does_not_rise(self, joined, evidence):
        gold = evidence.questions["label"].gold
        certainty = np.full(60, 0.99)
        certainty[:2] = 0.49  # wrong, by little; more rows than may change
        evidence.by_source["label"]["words"] = made_up(gold, certainty)
        evidence.by_source["label"]["model"] = made_up(gold, np.full(60, 0.6))
        cascade = choose_cascades(joined, evidence)["label"]
        assert cascade.share == pytest.approx(58 / 60)
        assert cascade.score[0] - cascade.score[1] <= MAX_FALL

    def test_few_dev_rows_choose_nothing(self, joined, papers):
        few = gather_evidence(joined, [read_table(with_topics(papers(10, 500)))], None)
        assert choose_cascades(joined, few) == {}

    def test_calibration_keeps_what_it_has_chosen(self, run, papers, tmp_path, listener):
        from papertune.pipelines.calibrate import calibrate

        shutil.copytree(run.directory.path, tmp_path / "run")
        dev = [{**row, "topic": row["label"]} for row in with_topics(papers(40, 500))]
        again = calibrate(tmp_path / "run", dev, listener=listener)
        asking = {name for name in ("label", "topics") if again.asks_model(again.recipe.only((name,)))}
        assert {*again.manifest.cascades} == asking
        assert sum(text.startswith("with --cascade, ") for text in listener.messages) == len(asking)

    def test_a_calibration_is_complete_where_memory_is_short_for_the_cascades(
        self, run, papers, tmp_path, listener, monkeypatch
    ):
        from papertune.calibration import calibrate

        def fails(*_):
            raise MemoryError("1 GB")

        monkeypatch.setattr(calibrate, "choose_cascades", fails)
        folder = shutil.copytree(run.directory.path, tmp_path / "run")
        tables = [read_table([{**row, "topic": row["label"]} for row in with_topics(papers(40, 500))])]
        opened = papertune.load_run(folder)
        assert calibrate.calibrate_run(opened, tables, tables, listener=listener)
        assert papertune.load_run(folder).manifest.calibrated_in == opened.settled_precision()
        assert opened.manifest.cascades == {}  # the earlier ones belong to other joins
        assert listener.messages[-1] == (
            "--cascade has no new certainty: there is not enough memory (1 GB). The trained weights are kept. To do "
            "this part again, free some memory and give the same command again"
        )


def made_up(gold, of_gold):
    """Return log-probabilities of two labels that give the gold label these probabilities."""
    probabilities = np.empty((len(gold), 2))
    probabilities[np.arange(len(gold)), gold] = of_gold
    probabilities[np.arange(len(gold)), 1 - gold] = 1 - of_gold
    return np.log(probabilities)


def as_kept(run, key="cascades"):
    return json.loads((run.directory.path / "run.json").read_text())[key]


def copy_without(run, key, folder, value):
    shutil.copytree(run.directory.path, folder)
    manifest = json.loads((folder / "run.json").read_text())
    manifest[key] = value
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder


def test_columns_without_a_cascade_go_through_the_model_and_the_messages_say_why(run, rows, tmp_path, listener):
    folder = copy_without(run, "cascades", tmp_path / "some", {"label": as_kept(run)["label"]})
    cascading = papertune.load_run(folder).with_cascade()
    assert {*cascading.cascades} == {"label"}
    cascading.predict_file(rows, tmp_path / "out.csv", columns=["label", "topics", "topic"], listener=listener)
    first, *why, decided = listener.messages
    assert first.startswith("--cascade: label: 50% of 50 dev rows need no model")
    assert why == [
        "--cascade: topics: no row skips the model: calibration had fewer than 20 dev rows with an answer (more: "
        f"`papertune calibrate {folder} DEV`)",
        "--cascade: topic: no row skips the model: no other source answers this column",
    ]
    assert decided.endswith(" of the 40 rows were decided without the model")
    assert decided.startswith("--cascade: label: ")


def test_a_column_some_of_whose_labels_only_the_model_answers_says_so(run, tmp_path):
    joins = {name: join for name, join in as_kept(run, "joins").items() if name != QUESTIONS[2]}
    folder = copy_without(run, "joins", tmp_path / "half", joins)
    cascading = papertune.load_run(folder).with_cascade()
    assert about_cascades(cascading, cascading.recipe.only(("topics",)))[-1] == (
        "--cascade: topics: no row skips the model: no other source answers all of its labels"
    )


def test_a_cascade_that_does_not_fit_the_joins_is_damage(run, tmp_path):
    cascades = as_kept(run)
    del cascades["topics"]["joins"][QUESTIONS[1]]
    folder = copy_without(run, "cascades", tmp_path / "damaged", cascades)
    with pytest.raises(RunError) as caught:
        papertune.load_run(folder).with_cascade()
    assert str(caught.value) == (
        f'{folder / "run.json"} is damaged: "cascades.topics.joins" does not fit "joins". Train again, or restore the '
        "file."
    )


def test_parts_report_a_cascade_once(run, papers, tmp_path, monkeypatch, listener):
    monkeypatch.setattr(part, "PIECE_ROWS", 20)
    table = pl.DataFrame(with_topics(papers(70, 300))).select("uuid", "title", "abstract")
    for name, rows in (("a", table[:50]), ("b", table[50:])):
        rows.write_parquet(tmp_path / f"{name}.parquet", row_group_size=10)
    columns = ["uuid", "label"]
    run.with_cascade().predict_parts(
        [tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "out", columns=columns, listener=listener
    )
    about = [text for text in listener.messages if text.startswith("--cascade")]
    words = by_words(run, table.to_dicts())["label"]
    decided = int((np.maximum(words, 1 - words) >= 0.8).sum())
    assert len(about) == 2
    assert about[0].startswith("--cascade: label: 50% of 50 dev rows")
    assert about[1] == f"--cascade: label: {decided} of the 70 rows were decided without the model"


def test_a_run_of_an_earlier_version_says_how_to_choose_a_cascade(run, tmp_path):
    folder = copy_without(run, "cascades", tmp_path / "old", {})
    from papertune.cli import commands  # noqa: F401 - registers the commands
    from papertune.cli.app import app

    (tmp_path / "new.csv").write_text("uuid,title,abstract\n1,a,b\n")
    arguments = ["predict", str(folder), str(tmp_path / "new.csv"), "-o", str(tmp_path / "out.csv"), "--cascade"]
    result = CliRunner().invoke(app, arguments)
    assert str(result.exception) == (
        f'{folder}: --cascade needs a certainty that is chosen on dev rows, and the run has none for "label" and '
        f'"topics". Choose it with `papertune calibrate {folder} DEV`, where DEV is a table of at least 20 rows with '
        "answers that it was not trained on."
    )
    assert not (tmp_path / "out.csv").exists()


def test_a_run_without_other_sources_beside_the_model_has_no_cascade(run, tmp_path):
    folder = copy_without(run, "joins", tmp_path / "alone", {})
    with pytest.raises(RunError) as caught:
        papertune.load_run(folder).with_cascade()
    assert str(caught.value) == (
        f"{folder}: --cascade spares the model the rows that words or other sources decide, and no column of this run "
        "is answered by them and the model together. Leave out --cascade."
    )


@pytest.mark.once
def test_a_report_says_what_the_cascade_costs(run, rows, tmp_path, listener):
    from papertune.pipelines.evaluate import evaluate

    gold = [{**row, "topic": row["label"]} for row in rows]
    report = evaluate(run.with_cascade(), gold, tmp_path / "report", listener=listener)
    assert report.columns[0].facts["cascade"].startswith("50% of 50 dev rows need no model")
    assert listener.messages[0].startswith("--cascade: label: 50%")


def test_a_cascade_that_spares_nothing_predicts_like_the_run(run, rows):
    plain = run.predict(rows, columns=["label"], probabilities=True)
    nothing = run.with_cascade()
    nothing.cascades = {"label": Cascade(None, {}, 50, 0.0, (0.5, 0.5), (0.9, 0.9), 0)}
    assert nothing.predict(rows, columns=["label"], probabilities=True).equals(plain)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"weights": {"moon": 1.0}}, '"joins.label": there is no source "moon"'),
        ({"offsets": [0.0]}, '"joins.label": 1 offsets for 2 labels'),
        ({"offsets": [0.0, math.nan]}, '"joins.label": a number is not finite'),
    ],
)
def test_a_damaged_join_is_reported_when_the_run_is_opened(run, tmp_path, change, problem):
    joins = as_kept(run, "joins")
    folder = copy_without(run, "joins", tmp_path / "damaged", {**joins, "label": {**joins["label"], **change}})
    with pytest.raises(RunError) as caught:
        papertune.load_run(folder)
    file = folder / "run.json"
    assert str(caught.value) == f"{file} is damaged: {problem}. Train again, or restore the file."


def test_a_join_of_a_question_that_the_recipe_lacks_is_damage(run, tmp_path):
    joins = as_kept(run, "joins")
    folder = copy_without(run, "joins", tmp_path / "damaged", {**joins, "topic": joins["label"]})
    with pytest.raises(RunError, match=r'is damaged: "joins\.topic": the recipe has no such question'):
        papertune.load_run(folder)


def test_sources_that_lack_a_joined_question_are_an_error(run, tmp_path):
    folder = copy_without(run, "cascades", tmp_path / "damaged", {})
    file = folder / "sources" / "sources.json"
    index = json.loads(file.read_text())
    del index["questions"]["label"]
    file.write_text(json.dumps(index))
    with pytest.raises(RunError) as caught:
        papertune.load_run(folder).predict([{"uuid": "1", "title": "a", "abstract": "b"}])
    assert str(caught.value) == (
        f'{folder / "sources"} does not fit {folder / "run.json"}: it has no sources for "label". Copy the run again, '
        "or train again."
    )
