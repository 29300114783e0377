"""Baselines are trained on the training rows of the run, without its dev rows; and the dev rows of a comparison."""

import json
import re
import sys
from dataclasses import replace

import pytest

import papertune
from papertune import PapertuneWarning, TableError, compare, evaluate, read_table
from papertune.evaluation.checks.leaks import find_leaks
from papertune.evaluation.systems.baselines import TfidfLogistic
from papertune.events import SILENT
from papertune.inference.predictor import Predictor
from papertune.pipelines.comparison.training_rows import find_training_rows

pytestmark = pytest.mark.once

SETTINGS = ("training.max_steps=2", "columns.label.coverage=0.9", "columns.label.abstain_below=0.9")


@pytest.fixture(scope="module")
def split_run(both_columns, papers, tmp_path_factory):
    """Return a run that was trained on 24 of 30 rows; the others are its dev rows."""
    folder = tmp_path_factory.mktemp("runs") / "split"
    settings = ["training.max_steps=1", "training.seed=4"]
    return papertune.train(papers(30), both_columns, folder, dev_fraction=0.2, only=["label"], overrides=settings)


@pytest.fixture(scope="module")
def training_rows(split_run, papers):
    """Return the training rows of `split_run`."""
    return read_table(papers(30)).split(0.2, 4, "label")[0]


@pytest.fixture(scope="module", autouse=True)
def _short_reports():
    """Skip slow parts that are not tested here: plots, leaks, label errors, packages that download models."""
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
    """Return the report of a run whose checkpoint and calibration come from dev rows."""
    return compare(*tables, both_columns, folder, dev=papers(80, 300), only=["label"], overrides=SETTINGS)


def system(report, title):
    return next(each for each in report.columns[0].systems if each.name.startswith(title))


class TestTrainingRows:
    def test_dev_rows_are_left_out(self, split_run, training_rows, papers, listener):
        found = find_training_rows(split_run, read_table(papers(30)), listener)
        assert found.frame.equals(training_rows.frame)
        assert len(found) == 24
        assert listener.messages == [
            f"list of rows: 6 of its 30 rows are dev rows of {split_run.directory.path}, so the other systems are not "
            "trained on them"
        ]

    def test_a_table_of_just_the_training_rows_is_returned_whole(self, split_run, training_rows):
        assert find_training_rows(split_run, training_rows, None) is training_rows

    def test_each_of_several_training_tables_is_split(self, both_columns, papers, saved, tmp_path):
        tables = [saved("first.csv", papers(10)), saved("second.csv", papers(20, 40))]
        settings = ["training.max_steps=1"]
        run = papertune.train(
            tables, both_columns, tmp_path / "run", dev_fraction=0.5, only=["label"], overrides=settings
        )
        for table, note in zip(map(read_table, tables), run.manifest.tables, strict=True):
            message = (
                r"was trained on .*first.csv \(5 rows\), .*second.csv \(10 rows\); the other systems are trained on "
                rf"{re.escape(table.source)} \({note.rows} rows\) alone\. For an equal comparison, give one table"
            )
            with pytest.warns(PapertuneWarning, match=message):
                found = find_training_rows(run, table, SILENT)
            assert found.checksum() == note.checksum
            with pytest.warns(PapertuneWarning, match=message):
                assert find_training_rows(run, found, None) is found

    @pytest.mark.parametrize("rows", [12, 30])  # fewer than the training rows, and more
    def test_another_table_is_returned_with_a_warning(self, split_run, papers, saved, rows):
        other = read_table(saved("other.csv", papers(rows, 100)))
        message = rf"was trained on list of rows \(24 rows\); the other systems .*other.csv \({rows} rows\), which"
        with pytest.warns(PapertuneWarning, match=message):
            assert find_training_rows(split_run, other, None) is other

    def test_a_table_that_was_given_twice_to_training_is_not_warned_of(self, split_run, training_rows, monkeypatch):
        monkeypatch.setattr(split_run, "manifest", replace(split_run.manifest, tables=split_run.manifest.tables * 2))
        assert find_training_rows(split_run, training_rows, None) is training_rows

    def test_an_adopted_run_has_no_known_training_rows(self, split_run, papers, monkeypatch):
        monkeypatch.setattr(split_run, "manifest", replace(split_run.manifest, tables=[]))
        table = read_table(papers(30))
        assert find_training_rows(split_run, table, None) is table

    def test_baselines_are_trained_on_training_rows_and_leaks_are_searched_in_dev_rows_too(
        self, split_run, training_rows, papers, listener, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("papertune.pipelines.comparison.report_parts.find_leaks", find_leaks)
        trained_on = set(training_rows.column("uuid"))
        dev_row = next(row for row in papers(30) if row["uuid"] not in trained_on)
        rows = [{**dev_row, "uuid": "copy"}, {**papers(30)[29], "uuid": "other copy"}, *papers(12, 200)]
        reports = [
            evaluate(split_run, rows, tmp_path / "evaluated", baselines=papers(30), listener=listener),
            compare(
                papers(30),
                rows,
                split_run.recipe,
                tmp_path / "compared",
                run=split_run,
                only=["label"],
                listener=listener,
            ),
        ]
        assert sum("6 of its 30 rows are dev rows of" in line for line in listener.messages) == 2
        documents = [
            [f"title: {row['title']}\nabstract: {row['abstract']}" for row in table]
            for table in (training_rows.frame.to_dicts(), rows)
        ]
        _, probabilities = TfidfLogistic(documents[0], training_rows.column("label"), ["1", "0"]).predict(documents[1])
        (kept,) = (tmp_path / "compared" / "contestants").glob("label--tf-idf*.json")
        written = json.loads(kept.read_text("utf-8"))["predictions"]["probabilities"]
        assert written == [pytest.approx(row) for row in probabilities.tolist()]
        for title in ("TF-IDF", "majority"):
            assert system(reports[0], title).scores == system(reports[1], title).scores
        for report in reports:
            copies = {pair.id: pair.other_id for pair in report.leaks.duplicates if pair.exact}
            assert copies == {"copy": dev_row["uuid"], "other copy": "p029"}


class TestDevRows:
    def test_dev_rows_choose_the_checkpoint_and_the_calibration(self, report, folder):
        run = papertune.load_run(folder / "run")
        assert run.manifest.dev_score is not None
        assert run.manifest.calibration["label"].rows == 40
        assert sum(note.rows for note in run.manifest.tables) == 16

    def test_compare_reports_calibration_as_evaluate_does(self, report, tables, folder, tmp_path):
        (column,) = report.columns
        (expected,) = evaluate(papertune.load_run(folder / "run"), tables[1], tmp_path / "report").columns
        assert column.calibration_before is not None
        assert column.calibration_before.log_loss != column.calibration.log_loss
        assert column.label_sets.wanted == 0.9
        assert column.abstention.answered < 1  # the kept outputs have an answer for every row
        for key in ("calibration", "calibration_before", "abstention", "label_sets", "precision_recall", "work_saved"):
            assert getattr(column, key) == getattr(expected, key), key

    def test_kept_outputs_give_the_same_report(self, report, tables, papers, both_columns, folder, monkeypatch):
        searched = []
        monkeypatch.setattr(Predictor, "answer", None)
        monkeypatch.setattr(
            "papertune.pipelines.comparison.report_parts.find_leaks", lambda *given: searched.append(given)
        )
        options = {"dev": papers(80, 300), "only": ["label"], "overrides": SETTINGS, "overwrite": True}
        again = compare(*tables, both_columns, folder, **options)
        assert again.columns == report.columns
        ((_, train, _, dev),) = searched  # leaks are searched in both tables
        assert (len(train), len(dev)) == (16, 80)

    def test_no_system_is_trained_on_dev_rows(self, report, tables, both_columns, tmp_path):
        train, test = ([f"title: {row['title']}\nabstract: {row['abstract']}" for row in rows] for rows in tables)
        predicted, _ = TfidfLogistic(train, [row["label"] for row in tables[0]], ["1", "0"]).predict(test)
        right = sum(cell == row["label"] for cell, row in zip(predicted, tables[1], strict=True))
        assert system(report, "TF-IDF").scores.accuracy == right / 12

    def test_dev_rows_that_are_scored_or_trained_on_are_refused(self, tables, both_columns, tmp_path):
        train, test = tables
        scored = r"--dev: list of rows is also the test table\. .* looks better than it is\. Give other rows\."
        with pytest.raises(TableError, match=scored):
            compare(train, test, both_columns, tmp_path / "report", dev=list(test))
        trained = r"--dev: list of rows is also the training table\. .*\. Give other rows\."
        with pytest.raises(TableError, match=trained):
            compare(train, test, both_columns, tmp_path / "report", dev=list(train))
        assert not (tmp_path / "report").exists()

    def test_problems_of_dev_rows_are_reported_with_those_of_the_other_tables(
        self, tables, papers, both_columns, tmp_path
    ):
        train, test = tables
        dev = [{**row, "label": "8"} for row in papers(1, 300)]
        wrong = [{**test[0], "label": "7"}, *test[1:]]
        with pytest.raises(TableError, match=r'(?s)2 problems.*"8" is not one of the 2 labels.*"7" is not one of'):
            compare(train, wrong, both_columns, tmp_path / "report", dev=dev)

    def test_dev_rows_are_not_used_if_nothing_is_trained(
        self, report, tables, papers, both_columns, folder, tmp_path, monkeypatch
    ):
        searched = []
        monkeypatch.setattr(
            "papertune.pipelines.comparison.report_parts.find_leaks", lambda *given: searched.append(given)
        )
        run = papertune.load_run(folder / "run")
        with pytest.warns(
            PapertuneWarning, match="--dev: nothing is trained, so the rows of list of rows are not used"
        ):
            again = compare(*tables, run.recipe, tmp_path / "report", run=run, dev=papers(8, 400), only=["label"])
        assert system(again, "fine-tuned").scores == system(report, "fine-tuned").scores
        assert searched[0][3] is None

    def test_rows_with_empty_cells_are_not_scored(self, report, tables, folder, tmp_path):
        run, (train, test) = papertune.load_run(folder / "run"), tables
        empty = [{**row, "label": "" if n < 3 else row["label"]} for n, row in enumerate(test)]
        with pytest.warns(PapertuneWarning, match="3 cells are empty; not scored"):
            fewer = compare(train, empty, run.recipe, tmp_path / "report", run=run)
        assert fewer.columns[0].facts["not scored"] == "3 of 12 rows, whose cell is empty"
        assert {each.scores.rows for each in fewer.columns[0].systems} == {9}


def test_a_table_of_which_a_part_was_learned_does_not_calibrate_and_its_scores_are_too_good(
    split_run, papers, tmp_path, listener
):
    path = split_run.directory.path
    with pytest.raises(TableError) as caught:
        papertune.calibrate(split_run, papers(30))
    assert str(caught.value) == (
        f"list of rows: {path} was trained on 24 of its 30 rows, so every probability would look too good. Give other "
        "rows."
    )
    evaluate(split_run, papers(30), tmp_path / "report", listener=listener)
    text = f"list of rows: {path} was trained on 24 of its 30 rows, so it scores too well on them. Score it"
    assert f"{text} on other rows." in listener.messages
