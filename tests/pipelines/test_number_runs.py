import copy

import pytest

import papertune

CELLS = ("120", "1,250", "", "86 patients", "not stated")


def numbered(papers):
    """Put a number beside each paper."""
    for row, paper in enumerate(papers):
        paper["size"] = CELLS[row % len(CELLS)]
    return papers


@pytest.fixture(scope="module")
def number_recipe(both_columns):
    """Return a recipe with a number column on the tiny model."""
    recipe = copy.deepcopy(both_columns)
    recipe["columns"] = {
        "size": {
            "kind": "number",
            "question": "How many patients?",
            "minimum": 1,
            "maximum": 5000,
            "integer": True,
            "unit": "patients",
        }
    }
    recipe["training"] |= {"micro_batch_size": 8}
    return recipe


@pytest.fixture(scope="module")
def sized(number_recipe, papers, tmp_path_factory):
    """Return a run that fills in a number column."""
    return papertune.train(numbered(papers(16)), number_recipe, tmp_path_factory.mktemp("runs") / "sized")


def is_allowed(cell):
    return cell == "" or (cell.isdecimal() and cell == str(int(cell)) and 1 <= int(cell) <= 5000)


def test_every_cell_is_a_number_of_the_range_or_empty(sized, papers):
    filled = sized.predict(numbered(papers(12, 100)), probabilities=True)
    assert filled.columns == ["uuid", "size", "size_confidence", "size_given"]
    assert all(map(is_allowed, filled["size"]))
    assert len(set(filled["size"])) > 1
    assert all(0 < float(cell) <= 1 for cell in filled["size_confidence"])
    assert sized.predict(papers(2)).columns == ["uuid", "size"]
