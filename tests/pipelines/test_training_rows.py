"""Baselines learn from the rows that the run has learnt from, dev rows left out; and dev rows of a comparison."""

import json
import re
import sys
from dataclasses import replace

import pytest

import papertune
from papertune import PapertuneWarning, TableError, compare, evaluate, read_table
from papertune.evaluation.checks.leaks import find_leaks
from papertune.evaluation.systems.baselines import tfidf_logistic
from papertune.events import SILENT
from papertune.inference.predictor import Predictor
from papertune.pipelines.comparison.training_rows import find_training_rows

SETTINGS = ("training.max_steps=2", "columns.label.coverage=0.9", "columns.label.abstain_below=0.9")


@pytest.fixture(scope="module")
def parted(both_columns, papers, tmp_path_factory):
    """Give a run of 30 rows that has kept a fifth of them apart."""
    folder = tmp_path_factory.mktemp("runs") / "parted"
    settings = ["training.max_steps=1", "training.seed=4"]
    return papertune.train(papers(30), both_columns, folder, dev_fraction=0.2, only=["label"], overrides=settings)


@pytest.fixture(scope="module")
def rest(parted, papers):
    """Give the rows that it has learnt from."""
    return read_table(papers(30)).split(0.2, 4, "label")[0]


@pytest.fixture(scope="module", autouse=True)
def _short_reports():
    """Leave out what takes seconds and is not what is tested: plots, leaks, doubtful labels, packages from the hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("papertune.evaluation.report.writing.page", lambda report: "")
        patch.setattr("papertune.pipelines.comparison.report_parts.find_leaks", lambda *_: None)
        for module in ("comparison.compare", "evaluate"):
            patch.setattr(f"papertune.pipelines.{module}.with_rows_to_look_at", lambda column, *_: column)
        patch.setitem(sys.modules, "setfit", None)
        yield


@pytest.fixture(scope="module")
def tables(papers):
    return papers(16), papers(12, 200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparisons") / "report"


@pytest.fixture(scope="module")
def report(tables, papers, both_columns, folder):
    """Give the report of a run that is trained, chosen and calibrated by dev rows."""
    return compare(*tables, both_columns, folder, dev=papers(80, 300), only=["label"], overrides=SETTINGS)


def contestant(report, title):
    return next(each for each in report.columns[0].contestants if each.name.startswith(title))


class TestLearntPart:
    def test_it_is_the_table_without_the_dev_rows(self, parted, rest, papers, listener):
        part = find_training_rows(parted, read_table(papers(30)), listener)
        assert part.frame.equals(rest.frame)
        assert len(part) == 24
        assert listener.messages == [
            f"list of rows: {parted.directory.path} has kept 6 of its 30 rows apart as dev rows, so the others do not "
            "learn from them either"
        ]

    def test_the_rows_themselves_are_all_learnt_from(self, parted, rest):
        assert find_training_rows(parted, rest, None) is rest

    def test_each_of_several_tables_has_a_part(self, both_columns, papers, saved, tmp_path):
        tables = [saved("first.csv", papers(10)), saved("second.csv", papers(20, 40))]
        settings = ["training.max_steps=1"]
        run = papertune.train(
            tables, both_columns, tmp_path / "run", dev_fraction=0.5, only=["label"], overrides=settings
        )
        for table, note in zip(map(read_table, tables), run.manifest.tables, strict=True):
            told = (
                r"has learnt from .*first.csv \(5 rows\), .*second.csv \(10 rows\); what it is compared with learns "
                rf"from {re.escape(table.source)} \({note.rows} rows\) alone\. To compare on equal terms, give one"
            )
            with pytest.warns(PapertuneWarning, match=told):
                part = find_training_rows(run, table, SILENT)
            assert part.checksum() == note.checksum
            with pytest.warns(PapertuneWarning, match=told):
                assert find_training_rows(run, part, None) is part

    @pytest.mark.parametrize("rows", [12, 30])  # fewer than it has learnt from, and others
    def test_another_table_is_told(self, parted, papers, saved, rows):
        other = read_table(saved("other.csv", papers(rows, 100)))
        message = (
            rf"has learnt from list of rows \(24 rows\); what it is compared with .*other.csv \({rows} rows\), which"
        )
        with pytest.warns(PapertuneWarning, match=message):
            assert find_training_rows(parted, other, None) is other

    def test_a_table_that_was_learnt_from_twice_is_no_other(self, parted, rest, monkeypatch):
        monkeypatch.setattr(parted, "manifest", replace(parted.manifest, tables=parted.manifest.tables * 2))
        assert find_training_rows(parted, rest, None) is rest

    def test_an_adopted_run_knows_no_tables(self, parted, papers, monkeypatch):
        monkeypatch.setattr(parted, "manifest", replace(parted.manifest, tables=[]))
        table = read_table(papers(30))
        assert find_training_rows(parted, table, None) is table

    def test_evaluate_and_compare_learn_from_it_and_find_copies_of_all_rows(
        self, parted, rest, papers, listener, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("papertune.pipelines.comparison.report_parts.find_leaks", find_leaks)
        taught = set(rest.column("uuid"))
        apart = next(row for row in papers(30) if row["uuid"] not in taught)
        rows = [{**apart, "uuid": "copy"}, {**papers(30)[29], "uuid": "other copy"}, *papers(12, 200)]
        reports = [
            evaluate(parted, rows, tmp_path / "evaluated", baselines=papers(30), listener=listener),
            compare(
                papers(30), rows, parted.recipe, tmp_path / "compared", run=parted, only=["label"], listener=listener
            ),
        ]
        assert sum("has kept 6 of its 30 rows apart as dev rows" in line for line in listener.messages) == 2
        documents = [
            [f"title: {row['title']}\nabstract: {row['abstract']}" for row in table]
            for table in (rest.frame.to_dicts(), rows)
        ]
        _, probabilities = tfidf_logistic(documents[0], rest.column("label"), documents[1], ["1", "0"])
        (kept,) = (tmp_path / "compared" / "contestants").glob("label--tf-idf*.json")
        said = json.loads(kept.read_text("utf-8"))["answers"]["probabilities"]
        assert said == [pytest.approx(row) for row in probabilities.tolist()]
        for title in ("TF-IDF", "majority"):
            assert contestant(reports[0], title).scores == contestant(reports[1], title).scores
        for report in reports:
            copies = {pair.id: pair.other_id for pair in report.leaks.duplicates if pair.exact}
            assert copies == {"copy": apart["uuid"], "other copy": "p029"}


class TestDevRows:
    def test_the_run_is_chosen_and_calibrated_by_them(self, report, folder):
        run = papertune.load_run(folder / "run")
        assert run.manifest.dev_score is not None
        assert run.manifest.calibration["label"].rows == 40
        assert sum(note.rows for note in run.manifest.tables) == 16

    def test_what_that_changes_is_told_as_evaluate_tells_it(self, report, tables, folder, tmp_path):
        (column,) = report.columns
        (expected,) = evaluate(papertune.load_run(folder / "run"), tables[1], tmp_path / "report").columns
        assert column.calibration_before is not None
        assert column.calibration_before.log_loss != column.calibration.log_loss
        assert column.label_sets.wanted == 0.9
        assert column.abstention.answered < 1  # the answers that are kept know nothing of it
        for key in ("calibration", "calibration_before", "abstention", "label_sets", "precision_recall", "work_saved"):
            assert getattr(column, key) == getattr(expected, key), key

    def test_it_is_told_the_same_from_what_is_kept(self, report, tables, papers, both_columns, folder, monkeypatch):
        looked = []
        monkeypatch.setattr(Predictor, "answer", None)
        monkeypatch.setattr(
            "papertune.pipelines.comparison.report_parts.find_leaks", lambda *given: looked.append(given)
        )
        options = {"dev": papers(80, 300), "only": ["label"], "overrides": SETTINGS, "overwrite": True}
        again = compare(*tables, both_columns, folder, **options)
        assert again.columns == report.columns
        ((_, learnt, _, dev),) = looked  # copies of the scored papers are looked for in both
        assert (len(learnt), len(dev)) == (16, 80)

    def test_no_contestant_learns_from_them(self, report, tables, both_columns, tmp_path):
        train, test = ([f"title: {row['title']}\nabstract: {row['abstract']}" for row in rows] for rows in tables)
        said, _ = tfidf_logistic(train, [row["label"] for row in tables[0]], test, ["1", "0"])
        right = sum(cell == row["label"] for cell, row in zip(said, tables[1], strict=True))
        assert contestant(report, "TF-IDF").scores.accuracy == right / 12

    def test_they_are_neither_scored_nor_learnt_from(self, tables, both_columns, tmp_path):
        train, test = tables
        scored = r"--dev: list of rows is the table that is scored too, .* looks better than it is\. Give other rows\."
        with pytest.raises(TableError, match=scored):
            compare(train, test, both_columns, tmp_path / "report", dev=list(test))
        learnt = r"--dev: list of rows is the table that is learnt from too, .*\. Give other rows\."
        with pytest.raises(TableError, match=learnt):
            compare(train, test, both_columns, tmp_path / "report", dev=list(train))
        assert not (tmp_path / "report").exists()

    def test_their_mistakes_are_told_with_those_of_the_other_tables(self, tables, papers, both_columns, tmp_path):
        train, test = tables
        dev = [{**row, "label": "8"} for row in papers(1, 300)]
        wrong = [{**test[0], "label": "7"}, *test[1:]]
        with pytest.raises(TableError, match=r'(?s)2 problems.*"8" is not one of the 2 labels.*"7" is not one of'):
            compare(train, wrong, both_columns, tmp_path / "report", dev=dev)

    def test_where_nothing_is_trained_they_are_not_used(
        self, report, tables, papers, both_columns, folder, tmp_path, monkeypatch
    ):
        looked = []
        monkeypatch.setattr(
            "papertune.pipelines.comparison.report_parts.find_leaks", lambda *given: looked.append(given)
        )
        run = papertune.load_run(folder / "run")
        with pytest.warns(
            PapertuneWarning, match="--dev: nothing is trained, so the rows of list of rows are not used"
        ):
            again = compare(*tables, run.recipe, tmp_path / "report", run=run, dev=papers(8, 400), only=["label"])
        assert contestant(again, "fine-tuned").scores == contestant(report, "fine-tuned").scores
        assert looked[0][3] is None

    def test_rows_without_an_answer_are_left_out(self, report, tables, folder, tmp_path):
        run, (train, test) = papertune.load_run(folder / "run"), tables
        empty = [{**row, "label": "" if n < 3 else row["label"]} for n, row in enumerate(test)]
        with pytest.warns(PapertuneWarning, match="3 cells are empty; not scored"):
            fewer = compare(train, empty, run.recipe, tmp_path / "report", run=run)
        assert fewer.columns[0].facts["not scored"] == "3 of 12 rows, whose cell is empty"
        assert {each.scores.rows for each in fewer.columns[0].contestants} == {9}
