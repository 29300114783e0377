import polars as pl
import pytest

from papertune.errors import PapertuneWarning, TableError
from papertune.evaluation.matching import match_rows
from papertune.recipe import load_recipe
from papertune.tables import Table

COLUMNS = {"label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}}
WITHOUT_ID = load_recipe({"table": {"document": "{title}"}, "columns": COLUMNS})
WITH_ID = load_recipe({"table": {"id": "uuid", "document": "{title}"}, "columns": COLUMNS})


def table(source="papers.csv", **columns):
    return Table(pl.DataFrame({name: list(cells) for name, cells in columns.items()}), source)


def matched(predicted, gold, recipe=WITHOUT_ID):
    """Return the row numbers of the predictions in the order of the gold table."""
    found = match_rows(table("out.csv", **predicted), table(**gold), recipe)
    return [found.numbers[row] if found.numbers else row + 1 for row in range(len(found))]


def refusal(predicted, gold, recipe=WITHOUT_ID):
    with pytest.raises(TableError) as caught:
        matched(predicted, gold, recipe)
    return str(caught.value)


def test_rows_are_matched_by_id_before_anything_else():
    assert matched({"uuid": "cab", "row": "123", "label": "101"}, {"uuid": "abc", "title": "xyz"}, WITH_ID) == [2, 3, 1]


def test_rows_are_matched_by_their_number():
    assert matched({"row": ["3", "1.0", " 02 "], "label": "101"}, {"title": "xyz"}) == [2, 3, 1]


def test_rows_are_matched_by_the_numbers_of_an_earlier_output():
    # The table is itself an output, sorted, with the numbers of the first table.
    assert matched({"row": "231", "label": "101"}, {"row": "312", "title": "xyz"}) == [2, 3, 1]


def test_a_column_row_that_does_not_tell_rows_apart_is_not_used():
    both = {"row": "AAB", "title": "xyz"}
    assert matched({**both, "title": "zxy", "label": "101"}, both) == [2, 3, 1]


def test_rows_are_matched_by_their_text_and_equal_texts_in_order():
    titles = ["the heart ", "a graph", "the\nheart", "a tree"]
    predicted = {"title": ["a tree", "the heart", "a graph", "the heart"], "label": "1010"}
    assert matched(predicted, {"title": titles}) == [2, 3, 4, 1]


def test_the_order_is_trusted_with_a_warning_where_nothing_names_the_rows():
    with pytest.warns(PapertuneWarning) as caught:
        assert matched({"label": "101"}, {"title": "xyz"}) == [1, 2, 3]
    assert [str(each.message) for each in caught] == [
        'out.csv has no id, no column "row" and not the documents, so its rows are taken to be in the order of '
        'papers.csv. If they are not, predict again with "row" among --columns.'
    ]


def test_the_order_is_not_trusted_where_the_own_cells_are_in_another_one():
    gold = {"title": "xyz", "label": "100"}
    assert refusal({"label": "101", "label_given": "010"}, gold) == (
        'out.csv, row 1, column "label_given": "0" is not the cell of papers.csv, row 1, column "label", so the rows '
        'are in another order or the cells have changed. Predict again with "row" among --columns.'
    )


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (
            {"row": "124", "label": "101"},
            'out.csv, row 3, column "row": "4" is not the number of a row of papers.csv, which has 3. Give the file '
            "that `papertune predict` has written for this table.",
        ),
        (
            {"row": ["1", "2", "x"], "label": "101"},
            'out.csv, row 3, column "row": "x" is not the number of a row of papers.csv, which has 3. Give the file '
            "that `papertune predict` has written for this table.",
        ),
        (
            {"row": "122", "label": "101"},
            'out.csv, row 3, column "row": row 2 is already at out.csv, row 2. Give the file that `papertune predict` '
            "has written for this table.",
        ),
        (
            {"row": "13", "label": "10"},
            "out.csv has 2 rows, but papers.csv has 3: there is no prediction for row 2. Give the file that `papertune "
            "predict` has written for this table.",
        ),
        (
            {"title": "xya", "label": "101"},
            'papers.csv, row 3: out.csv has no row with this "title", and neither an id nor the column "row". Give the '
            "file that `papertune predict` has written for this table.",
        ),
        (
            {"label": "10"},
            "out.csv has 2 rows, but papers.csv has 3. Give the file that `papertune predict` has written for this "
            "table.",
        ),
    ],
)
def test_predictions_of_another_table_are_refused(predicted, message):
    assert refusal(predicted, {"title": "xyz"}) == message


def test_rows_without_a_prediction_are_counted():
    assert refusal({"uuid": "a", "label": "1"}, {"uuid": "abc", "title": "xyz"}, WITH_ID) == (
        'out.csv has no row with the id "b" (2 rows have none there). Give the file that `papertune predict` has '
        "written for this table."
    )


def test_predictions_that_are_not_scored_are_counted(listener):
    predicted = table("out.csv", uuid="cab", label="101")
    match_rows(predicted, table(uuid="b", title="x"), WITH_ID, listener)
    assert listener.messages == ["out.csv, row 1: 2 rows are not in papers.csv and not scored (this is the first)"]


def test_ids_that_a_spreadsheet_has_changed_are_matched_as_numbers():
    gold = {"uuid": ["030", "031", "a1"], "title": "xyz"}
    with pytest.warns(PapertuneWarning) as caught:
        assert matched({"uuid": ["31.0", "a1", "30"], "label": "101"}, gold, WITH_ID) == [3, 1, 2]
    assert [str(each.message) for each in caught] == [
        'out.csv, row 3, column "uuid": 2 of 3 ids are not written as in papers.csv (this is the first), and are '
        "matched as numbers. A spreadsheet may have changed them."
    ]
    # Two ids that are one number, in either file.
    both = {"uuid": ["30", "030", "a1"], "title": "xyz"}
    assert "no row with the id" in refusal({"uuid": ["30", "30.0", "a1"], "label": "101"}, both, WITH_ID)
    assert "no row with the id" in refusal({"uuid": ["30", "31", "a1"], "label": "101"}, both, WITH_ID)


def test_an_id_column_in_another_case_is_named():
    assert refusal({"UUID ": "cab", "label": "101"}, {"uuid": "abc", "title": "xyz"}, WITH_ID) == (
        'out.csv has no column "uuid", which table.id names, but "UUID ". Rename it.'
    )
