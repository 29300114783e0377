"""Decisions in and out: labelled tables, RIS with ASReview's notes, and what makes two rows one record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.errors import OutputError, PapertuneError
from papertune.screening.export import decisions_table, export
from papertune.screening.prior import EARLIER, import_decisions
from papertune.screening.records import normal_doi, normal_title
from papertune.tables import read_table

LABELLED = [
    {"id": "a", "title": "Nudging doctors by reminders on the screen", "label": "yes"},
    {"id": "b", "title": "Swimming of mice after a second drug dose", "label": "no"},
    {"id": "c", "title": "Reminders for nurses in small hospitals", "label": "?"},
    {"id": "q", "title": "A paper that no search has found so far", "label": "yes"},
]


@pytest.mark.parametrize(
    "cell", ["10.1000/ABC", "https://doi.org/10.1000/abc", "doi: 10.1000/abc.", " DOI:10.1000/Abc "]
)
def test_a_doi_has_many_forms(cell):
    assert normal_doi(cell) == "10.1000/abc"


@given(st.text())
def test_any_cell_can_be_compared(cell):
    assert normal_doi(cell) == "" or normal_doi(cell).startswith("10.")
    assert normal_doi(normal_doi(cell)) == normal_doi(cell)
    assert normal_title(normal_title(cell)) == normal_title(cell)


def test_a_short_title_names_no_paper():
    assert normal_title("Editorial") == ""
    assert normal_title("Nudging Doctors, by reminders!") == "nudging doctors by reminders"


def test_two_different_dois_are_two_records(make):
    title = "The same title of a letter and of the reply"
    project = make([{"title": title, "doi": "10.1/a"}, {"title": title, "doi": "10.1/b"}, {"title": title, "doi": ""}])
    assert project.added[0].duplicates == {2: 0}


class TestImport:
    def test_earlier_decisions_count_and_come_once(self, make):
        project = make()
        for _ in range(2):
            done = import_decisions(project, read_table(LABELLED), "label", ["yes"], ["no"])
            assert (done.included, done.excluded, done.other, done.unknown) == (1, 1, {"?": 1}, [3])
        assert project.state.outcomes == {0: "include", 1: "exclude"}
        assert project.state.verdicts(0) == {EARLIER: "include"}
        assert len((project.folder / "events.jsonl").read_text().splitlines()) == 3
        assert project.found_curve(without=[EARLIER]) == []
        assert {offer.record for offer in project.queue.next("reader", 9)} == {2, 3, 4, 5}

    @pytest.mark.parametrize(
        ("label", "include", "message"),
        [
            ("label", ["in"], 'list of rows, column "label": no cell is "in", "no". The cells are "yes", "?". Name the '
             "values that mean include and exclude (--include, --exclude)."),
            ("lable", ["yes"], 'list of rows: there is no column "lable". Did you mean "label"? The columns are id, '
             "title, label. Correct the name, or add the column."),
        ],
    )  # fmt: skip
    def test_what_cannot_be_imported(self, make, label, include, message):
        project, table = make(), read_table([row for row in LABELLED if row["label"] != "no"])
        with pytest.raises(PapertuneError) as caught:
            import_decisions(project, table, label, include, ["no"])
        assert str(caught.value) == message
        assert project.state.outcomes == {}

    def test_a_name_that_is_none(self, make):
        with pytest.raises(PapertuneError) as caught:
            import_decisions(make(), read_table(LABELLED), "label", ["yes"], ["no"], " ")
        assert str(caught.value) == '" " is no name of a reader. Choose 1 to 60 characters without blanks at its ends.'

    def test_a_cell_that_means_both(self, make):
        table = read_table([{"title": "x", "notes": "ASReview_relevant; ASReview_irrelevant"}])
        with pytest.raises(PapertuneError) as caught:
            import_decisions(make(), table, "notes", ["ASReview_relevant"], ["ASReview_irrelevant"])
        assert str(caught.value) == (
            'list of rows, row 1, column "notes": "ASReview_relevant; ASReview_irrelevant" means include and exclude. '
            "Correct the cell, or name other values."
        )


class TestExport:
    @pytest.fixture
    def project(self, make):
        project = make(readers=("ann", "bo"), readers_per_record=2)
        for record, ann, bo in ((0, "include", "include"), (1, "exclude", "exclude"), (2, "include", "exclude")):
            project.decide(record, ann, "ann")
            project.decide(record, bo, "bo")
        project.decide(3, "unsure", "ann")
        project.add([{"title": "A later paper about something new", "year": "2020"}])
        return project

    @pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx"])
    def test_it_is_a_labelled_table_in_each_format(self, project, tmp_path, suffix):
        assert export(project, tmp_path / f"out{suffix}") == 7
        table = read_table(tmp_path / f"out{suffix}")
        assert table.column("id") == ["a", "b", "c", "d", "e", "f", ""]
        assert table.column("label") == ["included", "excluded", "", "", "", "", ""]
        assert table.column("screening_decision") == ["include", "exclude", "conflict", "unsure", "", "", ""]
        assert table.column("screening_decision_bo") == ["include", "exclude", "exclude", "", "", "", ""]
        assert table.column("year") == ["", "", "", "", "", "", "2020"]

    def test_columns_of_the_tables_stay(self, make):
        project = make([{"title": "A paper", "label": "x", "label_given": "y"}])
        project.decide(0, "include")
        frame = decisions_table(project)
        assert (frame["label"][0], frame["label_given_"][0], frame["label_given"][0]) == ("included", "x", "y")

    def test_only_what_was_decided(self, project):
        assert decisions_table(project, decided_only=True)["id"].to_list() == ["a", "b"]

    def test_ris_has_the_notes_of_asreview_and_can_be_imported(self, project, make, tmp_path):
        path = tmp_path / "out.ris"
        assert export(project, path) == 7
        table = read_table(path)
        assert table.column("title") == project.records.titles
        assert table.column("abstract") == project.records.abstracts
        assert table.column("id") == project.records.ids
        notes = [set(cell.split("; ")) for cell in table.column("notes")]
        assert "ASReview_relevant" in notes[0]
        assert {"ASReview_not_seen", "screening_decision: conflict"} <= notes[2]
        other = make(name="other")
        done = import_decisions(other, table, "notes", ["ASReview_relevant"], ["ASReview_irrelevant"])
        assert (done.included, done.excluded) == (1, 1)
        with pytest.raises(
            OutputError, match=r"exists already\. Choose another name, or replace it with --overwrite\.$"
        ):
            export(project, path)
