"""The sample papers of a report; rows to review are tested in checks/test_label_errors.py."""

import pytest

from papertune.evaluation.report import SampleCell, SampleList, sample_rows
from papertune.evaluation.report.rows import SAMPLE_ROWS
from papertune.kinds.predictions import Predictions
from papertune.recipe import load_recipe
from papertune.tables import read_table


def recipe(**columns):
    return load_recipe({"model": "m", "table": {"id": "uuid", "document": "{title}"}, "columns": columns})


def sample(gold, predicted, column, probabilities=None):
    """Return the cell of a sample with one row and one column."""
    table = read_table([{"uuid": "p7", "title": "A title", "c": gold}])
    (row,) = sample_rows({"c": Predictions([predicted], probabilities)}, table, recipe(c=column))
    assert (row.id, row.document) == ("p7", "A title")
    (cell,) = row.cells
    return cell


LABEL = {"kind": "label", "question": "?", "labels": ["1", "0"]}
LABELS = {"kind": "labels", "question": "{label}?", "labels": ["C++", "C#", "heart, lung"]}


@pytest.mark.parametrize("kind", ["keywords", "ranked_keywords"])
@pytest.mark.parametrize("separator", ["; ", ", ", "、", " | ", "；"])
def test_keywords_are_split_at_any_separator(kind, separator):
    column = {"kind": kind, "question": "?", "output_separator": separator}
    found = sample("neural networks; graphs.", separator.join(["Neural network", "trees"]), column)
    assert found == SampleList("c", kind, ["Neural network", "trees"], ["neural networks", "graphs"])
    assert sample("", "", column) == SampleList("c", kind, [], None)


@pytest.mark.parametrize("separator", ["; ", " | ", ", "])
def test_labels_are_split_at_any_separator(separator):
    labels = ["C++", "C#"] if separator == ", " else LABELS["labels"]
    column = {**LABELS, "labels": labels, "separator": separator}
    cell = separator.join(labels[1:])
    assert sample(cell, separator.join(labels), column) == SampleList("c", "labels", labels, labels[1:])
    assert sample("", "", column) == SampleList("c", "labels", [], [])
    assert sample("Fortran", "C++", column) == SampleList("c", "labels", ["C++"], None)


def test_a_label_is_shown_with_its_probability():
    assert sample("0", "1", LABEL, [[0.75, 0.25]]) == SampleCell("c", "1", "0", 0.75)
    assert sample("", "", LABEL, [[0.25, 0.75]]) == SampleCell("c", "", "", 0.75)  # the run abstained
    assert sample("1", "1", LABEL) == SampleCell("c", "1", "1", None)


def test_the_cell_of_an_abstained_row_is_empty():
    table = read_table([{"title": "t", "c": "0"}, {"title": "t", "c": "0"}])
    predictions = Predictions(["1", "0"], [[0.6, 0.4], [0.1, 0.9]], abstained=[True, False])
    cells = [row.cells for row in sample_rows({"c": predictions}, table, recipe(c=LABEL))]
    assert cells == [[SampleCell("c", "", "0", 0.6)], [SampleCell("c", "0", "0", 0.9)]]


def test_an_instruction_entry_shows_the_column_that_it_asks_about():
    columns = recipe(medical={**LABEL, "question": "Medical?"}, topics={**LABELS, "question": "About {label}?"})
    entries = [("Medical?", "1"), ("About C#?", "yes"), ("About C++?", "no"), ("Something else?", "x")]
    table = read_table([{"instruction": asked, "input": "text", "output": output} for asked, output in entries])
    predictions = {
        "medical": Predictions(["1", "", "", ""], [[0.9, 0.1], [], [], []]),
        "topics": Predictions(["", "C#", "", ""]),
    }
    assert [row.cells for row in sample_rows(predictions, table, columns)] == [
        [SampleCell("medical", "1", "1", 0.9)],
        [SampleList("topics", "labels", ["C#"], ["C#"])],
        [SampleList("topics", "labels", [], [])],
        [],
    ]


def test_the_sample_is_the_same_each_time():
    rows = [{"title": f"t{row}", "c": "1"} for row in range(40)]
    predictions = {"c": Predictions(["1"] * 40)}
    found = sample_rows(predictions, read_table(rows), recipe(c=LABEL))
    assert found == sample_rows(predictions, read_table(rows), recipe(c=LABEL))
    assert len(found) == SAMPLE_ROWS
    numbers = [int(row.id.removeprefix("row ")) for row in found]
    assert numbers == sorted(set(numbers))
    assert all(row.document == f"t{number - 1}" for row, number in zip(found, numbers, strict=True))
