"""Runs with a column of free text, on the tiny model: train, predict, resume, evaluate, compare."""

import copy
import json
import re

import pytest

import papertune
from papertune import PapertuneWarning, read_table
from papertune.inference.journal import Journal
from papertune.kinds.text.cells import answer_as_text, tidy
from papertune.models import cpu_features


def make_rows(papers, count, start=0):
    """Make papers with a finding, which every third paper does not state."""
    rows = papers(count, start)
    for number, row in enumerate(rows):
        row["finding"] = "" if number % 3 == 2 else f"{row['title'].split()[1]} helps"
    return rows


@pytest.fixture(scope="module")
def text_recipe(both_columns):
    recipe = copy.deepcopy(both_columns)
    recipe["columns"] = {
        "finding": {"kind": "text", "question": "What was found?", "max_new_tokens": 10, "empty": "nothing"},
        "year": {
            "kind": "text",
            "question": "When?",
            "max_new_tokens": 6,
            "decoding": "beams",
            "beams": 2,
            "pattern": "(?:19|20)[0-9]{2}",
        },
    }
    return recipe


@pytest.fixture(scope="module")
def rows(papers):
    return [{**row, "year": f"{1990 + number}"} for number, row in enumerate(make_rows(papers, 16))]


@pytest.fixture(scope="module")
def text_run(text_recipe, rows, tmp_path_factory):
    return papertune.train(rows, text_recipe, tmp_path_factory.mktemp("runs") / "text")


@pytest.fixture(scope="module")
def new(papers):
    return make_rows(papers, 12, 100)


@pytest.fixture(scope="module")
def filled(text_run, new):
    return text_run.predict(new, probabilities=True)


def test_answers_with_their_confidence(filled):
    assert filled.columns == ["uuid", "finding", "finding_confidence", "year", "year_confidence", "finding_given"]
    assert len(set(filled["finding"])) > 1
    for name in ("finding", "year"):
        assert all(0 < float(cell) <= 1 for cell in filled[f"{name}_confidence"])
    assert all(cell == tidy(cell) for cell in filled["finding"])


def test_every_answer_matches_its_pattern(filled):
    assert all(re.fullmatch("(?:19|20)[0-9]{2}", cell) for cell in filled["year"])


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions(text_run, new, precision):
    if precision == "int8" and not cpu_features().int8:
        pytest.skip("int8 is not available")
    other = text_run.predict(new, precision=precision)
    assert all(re.fullmatch("(?:19|20)[0-9]{2}", cell) for cell in other["year"])


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".jsonl"])
def test_a_stopped_prediction_resumes_with_the_same_bytes(text_run, new, tmp_path, monkeypatch, suffix):
    whole, stopped = tmp_path / f"whole{suffix}", tmp_path / f"stopped{suffix}"
    predictor = text_run.predictor()
    monkeypatch.setattr(predictor, "max_batch_tokens", 300)  # several batches
    text_run.predict_file(new, whole, probabilities=True)
    finish, finished = Journal.finish, []

    def stop(journal, batch, values):
        finish(journal, batch, values)
        finished.append(batch)
        if len(finished) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            text_run.predict_file(new, stopped, probabilities=True)
    assert not stopped.exists()
    text_run.predict_file(new, stopped, probabilities=True)
    assert stopped.read_bytes() == whole.read_bytes()
    written = read_table(str(whole))
    filled = text_run.predict(new, probabilities=True)
    assert written.column("finding") == filled["finding"].to_list()
    assert written.column("finding_confidence") == filled["finding_confidence"].to_list()


def test_the_answer_for_empty_cells_is_written_as_an_empty_cell(text_run, new, monkeypatch):
    generated = iter(["Nothing", "a\r\nb\x00", " \x07", "heart helps"] * 3)
    decoder = text_run.predictor()._decoders["finding"]
    monkeypatch.setattr(decoder, "value", lambda answer: answer_as_text(next(generated), 0.25))
    with pytest.warns(PapertuneWarning, match=r'"finding" are empty \(the model wrote nothing, or \'nothing\'\)'):
        filled = text_run.predict(new, probabilities=True)
    assert sorted(filled["finding"]) == sorted(["", "a\nb", "", "heart helps"] * 3)
    assert set(filled["finding_confidence"]) == {"0.250000"}


@pytest.fixture(scope="module")
def report_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluations") / "report"


@pytest.fixture(scope="module")
def report(text_run, new, rows, report_folder):
    return papertune.evaluate(text_run, new, report_folder, baselines=rows)


@pytest.mark.once
class TestEvaluation:
    def test_scores_and_baselines(self, report, report_folder):
        (column,) = report.columns
        titles = [system.name.split("/")[0].strip() for system in column.systems]
        assert titles == ["fine-tuned", "first sentence", "last sentence", "most frequent answer"]
        for system in column.systems:
            assert system.scores.rows == 12  # an empty cell is an answer here
            assert system.scores.rouge_l_interval.low <= system.scores.rouge_l <= system.scores.rouge_l_interval.high
        # The most frequent answer is that nothing is stated.
        assert column.systems[-1].scores.exact_match == pytest.approx(1 / 3)
        assert sum(system.paired is not None for system in column.systems) == 3
        written = json.loads((report_folder / "report.json").read_text("utf-8"))
        assert written["columns"][0]["contestants"][0]["scores"]["rouge_l"] == column.systems[0].scores.rouge_l

    def test_the_page_shows_answers_beside_the_table_without_marks(self, report, report_folder):
        page = (report_folder / "report.html").read_text("utf-8")
        assert "ROUGE-L" in page
        assert "chrF" in page
        papers = page.split('<section id="papers">')[1].split("</section>")[0]
        assert "in the table:" in papers
        assert " helps" in papers
        assert "✓" not in papers
        assert "✗" not in papers

    def test_a_predicted_file_has_the_scores_of_the_run(self, text_run, report, new, tmp_path):
        text_run.predict_file(new, tmp_path / "filled.csv", probabilities=True)
        again = papertune.evaluate(text_run, new, tmp_path / "report", predictions=tmp_path / "filled.csv")
        assert again.columns[0].systems[0].scores == report.columns[0].systems[0].scores
        for one, other in zip(again.samples, report.samples, strict=True):
            for read, made in zip(one.cells, other.cells, strict=True):
                assert read.predicted == made.predicted
                assert read.probability == pytest.approx(made.probability, abs=1e-6)


def test_empty_cells_do_not_count_without_words_for_them(both_columns, papers, tmp_path):
    recipe = copy.deepcopy(both_columns)
    recipe["columns"] = {"finding": {"kind": "text", "question": "What was found?", "max_new_tokens": 4}}
    rows = make_rows(papers, 9)
    with pytest.warns(PapertuneWarning, match="3 cells are empty; not learned"):
        run = papertune.train(rows, recipe, tmp_path / "run", overrides=["training.max_steps=1"])
    report = papertune.evaluate(run, make_rows(papers, 6, 50), tmp_path / "report")
    assert report.columns[0].systems[0].scores.rows == 4
    assert report.columns[0].facts["not scored"] == "2 of 6 rows, whose cell is empty"


def test_the_dev_score_is_rouge_l(both_columns, papers, tmp_path):
    recipe = copy.deepcopy(both_columns)
    recipe["columns"] = {"finding": {"kind": "text", "question": "Found?", "max_new_tokens": 4, "empty": "nothing"}}
    recipe["training"] |= {"max_steps": 1}
    run = papertune.train(make_rows(papers, 8), recipe, tmp_path / "run", dev=make_rows(papers, 6, 50))
    lines = (run.directory.path / "metrics.jsonl").read_text("utf-8").splitlines()
    scores = [line for line in map(json.loads, lines) if "eval_finding_rouge_l" in line]
    assert scores
    assert all(line["score"] == line["eval_finding_rouge_l"] for line in scores)
    assert {"eval_finding_token_f1", "eval_finding_exact_match", "eval_finding_chrf"} <= set(scores[0])


@pytest.fixture(scope="module")
def comparison(text_recipe, text_run, rows, new, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparisons") / "report"
    return papertune.compare(rows, new, text_recipe, folder, run=text_run, only=["finding"])


@pytest.mark.once
class TestComparison:
    def test_prompted_models_and_baselines(self, comparison):
        (column,) = comparison.columns
        titles = [system.name.split("/")[0].strip() for system in column.systems]
        baselines = ["first sentence", "last sentence", "most frequent answer"]
        assert titles == ["fine-tuned", "few-shot", "zero-shot", *baselines]
        assert {system.scores.rows for system in column.systems} == {12}

    def test_examples_have_whole_answers(self, comparison):
        few_shot = next(system for system in comparison.columns[0].systems if system.name.startswith("few-shot"))
        assert re.search(r"\d examples before each question", few_shot.note)
        assert " helps<|im_end|>" in few_shot.prompt or "nothing<|im_end|>" in few_shot.prompt
