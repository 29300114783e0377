import json
import math

import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from papertune import OutputError, TableError, evaluate
from papertune.evaluation.report import summary
from papertune.evaluation.systems.baselines import TfidfLogistic
from papertune.kinds.keywords.by_words.tfidf import TfidfKeywords
from papertune.kinds.keywords.cells import split_keywords
from papertune.metrics.keyword_scores import score_keywords


@pytest.fixture(scope="module")
def rows(papers):
    return papers(12, 200)


@pytest.fixture(scope="module")
def predicted(run, rows):
    return run.predict(rows, probabilities=True, precision="fp32")


@pytest.fixture(scope="module")
def report(run, rows, papers, tmp_path_factory):
    """Return report.json of the run on labelled rows, with baselines."""
    folder = tmp_path_factory.mktemp("reports") / "report"
    evaluate(run, rows, folder, baselines=papers(16), precision="fp32")
    return json.loads((folder / "report.json").read_text("utf-8"))


def scores(report, column, system):
    chosen = next(c for c in report["columns"] if c["name"] == column)
    return next(c["scores"] for c in chosen["contestants"] if system in c["name"])


def documents(rows):
    return [f"title: {row['title']}\nabstract: {row['abstract']}" for row in rows]


class TestNumbers:
    def test_label_scores_equal_those_of_scikit_learn(self, report, rows, predicted):
        gold, cells = [row["label"] for row in rows], predicted["label"].to_list()
        of_one = [float(cell) for cell in predicted["label_probability_1"]]
        got = scores(report, "label", "fine-tuned")
        assert got["rows"] == 12
        assert got["accuracy"] == pytest.approx(accuracy_score(gold, cells))
        assert got["macro_f1"] == pytest.approx(f1_score(gold, cells, average="macro", zero_division=0))
        assert got["auc"] == pytest.approx(roc_auc_score([label == "1" for label in gold], of_one), abs=1e-3)
        assert got["log_loss"] == pytest.approx(log_loss(gold, [[1 - p, p] for p in of_one]), abs=1e-4)
        assert got["confusion"] == [
            [sum(t == a and s == b for t, s in zip(gold, cells, strict=True)) for b in "10"] for a in "10"
        ]
        assert got["accuracy_interval"]["low"] <= got["accuracy"] <= got["accuracy_interval"]["high"]

    def test_keyword_scores_equal_those_of_the_metric(self, report, rows, predicted):
        expected = score_keywords(
            [split_keywords(row["Keywords"]) for row in rows],
            [split_keywords(cell) for cell in predicted["Keywords"]],
            documents(rows),
        )
        assert scores(report, "Keywords", "fine-tuned")["f1_at_5"] == pytest.approx(expected.f1_at_5)

    def test_baselines_are_trained_on_the_given_table(self, report, rows, papers):
        train = papers(16)
        gold = [row["label"] for row in rows]
        baseline = TfidfLogistic(documents(train), [row["label"] for row in train], ["1", "0"])
        cells, probabilities = baseline.predict(documents(rows))
        tfidf = scores(report, "label", "TF-IDF + logistic regression")
        assert tfidf["accuracy"] == pytest.approx(accuracy_score(gold, cells))
        of_gold = [row["10".index(label)] for row, label in zip(probabilities.tolist(), gold, strict=True)]
        assert tfidf["log_loss"] == pytest.approx(-sum(map(math.log, of_gold)) / len(gold))
        assert scores(report, "label", "majority")["accuracy"] == 0.5
        lists = TfidfKeywords(documents(train)).predict(documents(rows), 5)
        expected = score_keywords([split_keywords(row["Keywords"]) for row in rows], lists, documents(rows))
        assert scores(report, "Keywords", "TF-IDF")["f1_at_5"] == pytest.approx(expected.f1_at_5)

    def test_the_run_is_described(self, report, run):
        assert report["rows"] == 12
        assert report["facts"]["method"] == "lora"
        assert report["loss_curve"][0][0] == 1
        assert {cell["column"] for sample in report["samples"] for cell in sample["cells"]} == {"label", "Keywords"}
        assert all(sample["id"].startswith("p2") for sample in report["samples"])

    def test_rows_to_look_at_and_leaks_are_reported(self, report):
        label, keywords = report["columns"]
        assert all(row["said"] != row["given"] for row in label["mistakes"])
        probabilities = [row["said_probability"] for row in label["unsure"]]
        assert len(probabilities) == 10
        assert probabilities == sorted(probabilities)
        assert keywords["unsure"] == keywords["mistakes"] == []
        assert (report["leaks"]["learnt_from"], report["leaks"]["shortcuts"]) == ("list of rows", [])


@pytest.mark.once
class TestTruth:
    @pytest.fixture
    def tables(self, rows):
        documents = [{k: row[k] for k in ("uuid", "title", "abstract")} for row in rows]
        gold = [{k: row[k] for k in ("uuid", "label", "Keywords")} for row in reversed(rows)]
        return documents, gold

    def test_truth_is_matched_by_id(self, run, tables, report, tmp_path):
        documents, gold = tables
        extra = {"uuid": "not asked", "label": "1", "Keywords": "a"}
        evaluate(run, documents, tmp_path / "report", truth=[*gold, extra], precision="fp32")
        got = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
        for column in ("label", "Keywords"):
            assert scores(got, column, "fine-tuned") == scores(report, column, "fine-tuned")

    def test_truth_that_lacks_a_row_is_refused(self, run, tables, tmp_path):
        documents, gold = tables
        with pytest.raises(TableError, match=r'the id "p211" is not in list of rows \(1 rows have none there\)'):
            evaluate(run, documents, tmp_path / "report", truth=gold[1:])
        assert not (tmp_path / "report").exists()

    def test_truth_with_an_id_twice_is_refused(self, run, tables, tmp_path):
        documents, gold = tables
        with pytest.raises(TableError, match=r'row 13, column "uuid": the id "p205" is already at .*row 7'):
            evaluate(run, documents, tmp_path / "report", truth=[*gold, gold[6]])

    def test_a_wrong_label_is_reported_with_its_row(self, run, tables, tmp_path):
        documents, gold = tables
        gold[2]["label"] = "2"
        with pytest.raises(TableError, match='row 3, column "label": "2" is not one of the 2 labels'):
            evaluate(run, documents, tmp_path / "report", truth=gold)

    def test_truth_without_an_id_column_is_refused(self, run, tables, tmp_path):
        documents, gold = tables
        with pytest.raises(TableError, match="can only be matched by an id column"):
            evaluate(run, documents, tmp_path / "report", truth=[{"label": row["label"]} for row in gold])


class TestPredictionsOfAFile:
    def test_a_file_scores_like_the_model(self, run, rows, report, tmp_path, monkeypatch):
        run.predict_file(rows, tmp_path / "predicted.csv", probabilities=True, precision="fp32")
        monkeypatch.setattr(run, "predictor", None)  # the model is not needed
        evaluate(run, rows, tmp_path / "report", predictions=tmp_path / "predicted.csv")
        got = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
        expected = scores(report, "label", "fine-tuned")
        for key, value in scores(got, "label", "fine-tuned").items():
            assert value == (pytest.approx(expected[key], abs=1e-5) if isinstance(value, float) else expected[key])
        assert scores(got, "Keywords", "fine-tuned") == scores(report, "Keywords", "fine-tuned")

    def test_a_file_in_another_order_scores_the_same(self, run, rows, predicted, report, tmp_path):
        evaluate(run, rows, tmp_path / "report", predictions=predicted.reverse().drop("label_probability_1"))
        got = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
        label = scores(got, "label", "fine-tuned")
        assert label["accuracy"] == scores(report, "label", "fine-tuned")["accuracy"]
        assert label["auc"] is None  # a column of probabilities is missing

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda rows: rows[1:], 'has no row with the id "p200"'),
            (lambda rows: [*rows, rows[0]], 'the id "p200" is already'),
            (lambda rows: [{**row, "label": "yes"} for row in rows], '"yes" is not one of the labels 1, 0'),
            (lambda rows: [{"uuid": row["uuid"]} for row in rows], "none of the run's columns"),
            (lambda rows: [{"label": row["label"]} for row in rows[1:]], "has 11 rows, but list of rows has 12"),
        ],
    )
    def test_a_file_that_does_not_fit_is_refused(self, run, rows, predicted, tmp_path, change, message):
        with pytest.raises(TableError, match=message):
            evaluate(run, rows, tmp_path / "report", predictions=change(predicted.to_dicts()))
        assert not (tmp_path / "report").exists()

    @pytest.mark.parametrize(
        ("first", "second", "column", "what"),
        [
            ("90", "10", 1, '"90" is not a probability (a number from 0 to 1)'),
            ("0.9", "0.05", 1, "the probabilities of the 2 labels of this row add up to 0.95 and not to 1"),
            ("nan", "0.5", 1, '"nan" is not a probability (a number from 0 to 1)'),
            ("1", "inf", 0, '"inf" is not a probability (a number from 0 to 1)'),
            ("0.8", "-0.2", 0, '"-0.2" is not a probability (a number from 0 to 1)'),
            ("high", "low", 1, '"high" is not a probability (a number from 0 to 1)'),
            ("0.9", "", 0, '"" is not a probability (a number from 0 to 1)'),
        ],
    )
    def test_an_invalid_probability_is_reported_with_its_row(
        self, run, rows, predicted, saved, tmp_path, first, second, column, what
    ):
        wrong = predicted.to_dicts()
        wrong[4] |= {"label_probability_1": first, "label_probability_0": second}
        path = saved("predicted.csv", wrong)
        with pytest.raises(TableError) as caught:
            evaluate(run, rows, tmp_path / "report", predictions=path)
        assert str(caught.value) == (
            f'{path}, row 5 below the header, column "label_probability_{column}": {what}. Give the file that '
            "`papertune predict --probabilities` has written, or leave the columns of probabilities out."
        )

    def test_an_empty_cell_is_scored_by_its_probabilities(self, run, rows, predicted, report, tmp_path):
        cells = [{**row, "label": ""} if n == 0 else row for n, row in enumerate(predicted.to_dicts())]
        text = summary(evaluate(run, rows, tmp_path / "report", predictions=cells))
        # The run has no threshold, so the message is not about abstaining.
        assert "  8.3% of the rows have no answer; their most probable label is scored here.\n" in text
        got = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
        assert got["columns"][0]["abstention"]["answered"] == 11 / 12
        assert "91.7% of the rows are answered, with an accuracy of" in text
        label = scores(got, "label", "fine-tuned")
        assert (label["abstained"], label["accuracy"]) == (0, scores(report, "label", "fine-tuned")["accuracy"])
        rated = {row["id"]: row["withheld"] for row in got["columns"][0]["unsure"]}
        assert len(rated) == 10
        assert {id for id, abstained in rated.items() if abstained} <= {"p200"}

    def test_an_empty_cell_without_probabilities_is_wrong_and_reported(self, run, rows, predicted, papers, tmp_path):
        plain = predicted.select("uuid", "label").to_dicts()
        cells = [{**row, "label": ""} if n < 3 else row for n, row in enumerate(plain)]
        report = evaluate(run, rows, tmp_path / "report", predictions=cells, baselines=papers(16))
        got = report.columns[0].systems[0].scores
        right = [row["label"] == gold["label"] for row, gold in zip(cells, rows, strict=True)]
        assert (got.abstained, got.accuracy) == (3, sum(right) / 12)
        sentence = (
            f"3 of 12 rows have no answer and count as wrong, in the comparison too; accuracy over the others "
            f"{sum(right) / 9:.3f}. A file written by `papertune predict --probabilities` has them scored by the label "
            "that the run would give."
        )
        assert f"  {sentence}" in summary(report).splitlines()
        assert f"<p>{sentence}</p>" in (tmp_path / "report" / "report.html").read_text("utf-8")


@pytest.mark.once
class TestFolder:
    def test_an_existing_report_stays(self, run, rows, predicted, tmp_path):
        evaluate(run, rows, tmp_path, predictions=predicted)
        before = (tmp_path / "report.json").read_bytes()
        with pytest.raises(OutputError, match="already holds a report"):
            evaluate(run, rows[:6], tmp_path, predictions=predicted)
        assert (tmp_path / "report.json").read_bytes() == before
        evaluate(run, rows[:6], tmp_path, predictions=predicted, overwrite=True)
        assert json.loads((tmp_path / "report.json").read_text("utf-8"))["rows"] == 6

    def test_a_path_that_cannot_be_a_folder_is_reported_before_the_work(self, run, rows, tmp_path, monkeypatch):
        monkeypatch.setattr(run, "predictor", None)
        (tmp_path / "file").write_text("")
        for place in (tmp_path / "file", tmp_path / "file" / "report"):
            with pytest.raises(OutputError, match="is not a folder"):
                evaluate(run, rows, place)


@pytest.mark.once
class TestNothingToScore:
    def test_a_predicted_file_instead_of_the_documents_is_refused(self, run, predicted, tmp_path):
        with pytest.raises(TableError) as caught:
            evaluate(run, predicted.select("uuid", "label"), tmp_path / "report")
        assert 'has no column "title", which table.document names' in str(caught.value)
        assert str(caught.value).endswith(
            "\nGive the table with the documents as TABLE. If data frame is an output of predict, add it as "
            "--predictions; if it has the gold columns, add it as --truth."
        )
        with pytest.raises(TableError) as plain:
            evaluate(run, predicted.select("uuid"), tmp_path / "report")
        assert "--truth" not in str(plain.value)

    def test_a_table_without_the_columns_is_refused(self, run, rows, tmp_path):
        with pytest.raises(TableError, match=r"none of the columns to score \(label, Keywords\)"):
            evaluate(run, [{k: row[k] for k in ("uuid", "title", "abstract")} for row in rows], tmp_path / "report")

    def test_rows_without_a_label_are_not_scored_and_counted(self, run, rows, predicted, tmp_path):
        empty = [{**row, "label": "" if n in (0, 7) else row["label"]} for n, row in enumerate(rows)]
        got = evaluate(run, empty, tmp_path / "report", predictions=predicted).columns[0]
        fewer = [row for row in empty if row["label"]]
        expected = evaluate(run, fewer, tmp_path / "fewer", predictions=predicted).columns[0]
        assert [each.scores for each in got.systems] == [each.scores for each in expected.systems]
        assert got.calibration == expected.calibration
        assert got.facts["not scored"] == "2 of 12 rows, whose cell is empty"
        assert "not scored" not in expected.facts
        plain = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
        assert plain["columns"][0]["facts"]["not scored"] == "2 of 12 rows, whose cell is empty"

    def test_a_table_without_any_gold_cell_is_refused(self, run, rows, predicted, tmp_path):
        empty = [{**row, "label": " ", "Keywords": ""} for row in rows]
        with pytest.raises(TableError, match="has no gold cell in label, Keywords, so there is nothing to score"):
            evaluate(run, empty, tmp_path / "report", predictions=predicted)
        assert not (tmp_path / "report").exists()

    def test_one_of_two_columns_is_enough(self, run, rows, tmp_path):
        labelled = [{k: v for k, v in row.items() if k != "Keywords"} for row in rows]
        evaluate(run, labelled, tmp_path / "report", precision="fp32")
        got = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
        assert [column["name"] for column in got["columns"]] == ["label"]
