import tomllib

import pytest

from papertune.errors import RecipeError, TableError
from papertune.kinds import NumberColumn
from papertune.kinds.findings import GoldCheck
from papertune.kinds.predictions import Predictions
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader, training_examples
from papertune.recipe import dump_recipe, load_recipe
from papertune.tables import read_table


def make_recipe(**settings):
    column = {"kind": "number", "question": "How many?", **settings}
    return load_recipe({"table": {"document": "{title}"}, "columns": {"n": column}})


def make_table(*cells):
    return read_table([{"title": f"paper {row}", "n": cell} for row, cell in enumerate(cells)])


def findings(*cells, purpose="train", **settings):
    return check_table(make_table(*cells), make_recipe(**settings), purpose)


def answers(*cells, **settings):
    return [example.answer for example in training_examples(make_table(*cells), make_recipe(**settings))]


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"minimum": 5, "maximum": 1}, "minimum is 5, but maximum is 1"),
            ({"minimum": 0.2, "maximum": 0.7, "integer": True}, "there is no whole number from 0.2 to 0.7"),
            ({"minimum": 1e16}, "there is no number of at most 15 digits from 10000000000000000"),
            ({"empty": " none "}, "empty must not begin or end with a blank: ' none '"),
            ({"empty": "0"}, "empty is '0', which is a number; use words"),
            ({"minimum": "5"}, "columns.n.minimum is '5'; it must be a number"),
            ({"minimum": True}, "columns.n.minimum is true; it must be a number"),
            ({"maximum": float("inf")}, "columns.n.maximum is inf: input should be a finite number"),
            ({"tolerance": -1}, "columns.n.tolerance"),
            ({"absolute_tolerance": "5"}, "columns.n.absolute_tolerance is '5'; it must be a number"),
            ({"decimal_mark": "'"}, "columns.n.decimal_mark"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, settings, message):
        with pytest.raises(RecipeError) as caught:
            make_recipe(**settings)
        assert message in str(caught.value)

    def test_they_survive_a_file(self):
        recipe = make_recipe(minimum=0, maximum=99.5, unit="mL/min", absolute_tolerance=2, decimal_mark=",")
        assert load_recipe(tomllib.loads(dump_recipe(recipe))) == recipe


class TestLearning:
    def test_the_answer_is_the_number_in_its_one_spelling(self):
        cells = ("1,234.50", "12 mL", "0.250", "3.0")
        assert answers(*cells, unit="mL") == ["1234.5", "12", "0.25", "3"]

    def test_an_empty_cell_teaches_that_none_is_stated(self):
        assert answers("5", "", " ", "Not Stated") == ["5", "not stated", "not stated", "not stated"]
        assert answers("5", "", empty="keine Angabe") == ["5", "keine Angabe"]

    def test_an_empty_cell_teaches_nothing_where_a_number_must_come(self):
        assert answers("5", "", empty="") == ["5"]
        assert findings("5", "", empty="").warnings == [
            'list of rows, row 2, column "n": 1 cell is empty; not learned (this is the first).'
        ]

    def test_a_cell_is_read_as_the_column_shows(self):
        assert answers("1,234", "12,5") == ["1.234", "12.5"]
        assert answers("1,234", "1.5") == ["1234", "1.5"]
        assert answers("1,234", "12,5", decimal_mark=",") == ["1.234", "12.5"]

    def test_the_entries_of_an_instruction_file_show_it_too(self):
        entries = [
            {"instruction": "How many?", "input": "paper 1", "output": "1,234"},
            {"instruction": "How many?", "input": "paper 2", "output": "12,5"},
            {"instruction": "Which?", "input": "paper 2", "output": "0.5"},
        ]
        recipe = make_recipe()
        reader = RowReader(read_table(entries), recipe)
        assert [reader.given(row, "n") for row in range(3)] == ["1.234", "12,5", None]


class TestChecking:
    def test_every_problem_has_its_row_and_column(self):
        found = findings("5", "10-20", "", "5,5", "6000", "12 mice", maximum=5000, integer=True)
        assert found.problems == [
            'list of rows, row 2, column "n": "10-20" is not a number. It has several (10, 20): write one.',
            'list of rows, row 4, column "n": "5,5" is not a whole number. Correct it, or set columns.n.integer to '
            "false.",
            'list of rows, row 5, column "n": "6000" is 6000, which is not up to 5000. Correct it, or change '
            "columns.n.minimum or maximum.",
            'list of rows, row 6, column "n": "12 mice" is not a number. Set columns.n.unit to "mice" if that is its '
            "unit, or write the number alone.",
        ]

    def test_ambiguous_cells_are_problems(self):
        assert findings("7", "1,234").problems == [
            'list of rows, row 2, column "n": "1,234" can be 1.234 or 1234, and no other cell shows which. Write the '
            'number that is meant in plain digits, or set columns.n.decimal_mark to "." or ",".'
        ]
        (first, second) = findings("1,234", "1.5", "2,5", "1.234").problems
        assert 'row 1, column "n": "1,234" can be 1.234 or 1234, and "1.5" and "2,5" have different' in first
        assert 'row 4, column "n": "1.234" can be 1.234 or 1234' in second

    def test_cells_that_the_column_decides_are_facts(self):
        found = findings("1,234", "12,5", "")
        assert (found.problems, found.warnings) == ([], [])
        assert found.facts == ["n: 2 numbers, 1 not stated", 'n: "1,234" is read as 1.234']

    def test_a_table_without_the_column_is_not_checked(self):
        recipe = make_recipe()
        table = read_table([{"title": "x"}])
        column = recipe.columns["n"]
        found = findings("5")
        check = GoldCheck(table, RowReader(table, recipe), "n", "score", {}, found)
        column.check_gold(check)
        assert len(found.facts) == 1


class TestPredictions:
    @pytest.fixture
    def column(self):
        return make_recipe(minimum=0, decimal_mark=",").columns["n"]

    def test_a_written_cell_is_read_as_it_was_written(self, column):
        table = make_table("1.234", "12", "", "not stated", "1,5")
        assert column.read_predictions(table, "n", None) == Predictions(["1.234", "12", "", "", "1.5"])

    def test_confidences_are_read_too(self, column):
        table = read_table([{"n": "5", "n_confidence": "0.25"}, {"n": "", "n_confidence": ""}])
        assert column.read_predictions(table, "n", None).confidences == [0.25, None]

    def test_a_cell_that_is_not_a_number_is_an_error(self, column):
        with pytest.raises(TableError, match='row 2, column "n": "five" is not a number'):
            column.read_predictions(make_table("5", "five"), "n", None)
        table = read_table([{"n": "5", "n_confidence": "2"}])
        with pytest.raises(TableError, match='row 1, column "n_confidence": "2" is not a probability'):
            column.read_predictions(table, "n", None)


class TestScoring:
    @pytest.fixture
    def gold(self):
        return RowReader(make_table("100", "", "1,250", "40"), make_recipe(integer=True))

    def test_predictions_are_compared_with_the_cells(self, gold):
        column = make_recipe(integer=True).columns["n"]
        scores = column.score(Predictions(["109", "", "1250", ""]), gold, "n", range(4))
        assert (scores.rows, scores.exact, scores.within) == (4, 0.5, 0.75)
        some = column.score(Predictions(["1", "2"]), gold, "n", [1, 3])
        assert (some.rows, some.stated, some.both) == (2, 1, 1)

    def test_the_tolerance_may_be_absolute(self, gold):
        column = make_recipe(integer=True, tolerance=0, absolute_tolerance=9).columns["n"]
        assert column.score(Predictions(["109", "", "1260", "31"]), gold, "n", range(4)).within == 0.75

    def test_rows_with_nothing_to_learn_do_not_count(self, gold):
        column = make_recipe(integer=True, empty="").columns["n"]
        assert column.score(Predictions(["100", "5", "1", "1"]), gold, "n", range(4)).rows == 3
        assert column.score(Predictions(["5"]), gold, "n", [1]) is None

    def test_systems_are_compared_by_numbers_within_the_tolerance(self, gold):
        column = make_recipe(integer=True).columns["n"]
        first, second = Predictions(["105", "", "1250", "40"]), Predictions(["90", "5", "", "40"])
        assert column.difference(first, second, gold, "n", range(4)).difference == 0.5

    def test_a_sample_shows_what_is_meant(self, gold):
        column = make_recipe(integer=True).columns["n"]
        predictions = Predictions(["", "", "1250", "40"], confidences=[0.5, 0.25, None, 0.75])
        cells = [column.sample(predictions, row, gold, "n") for row in range(4)]
        shown = [(cell.predicted, cell.given, cell.probability) for cell in cells]
        assert shown[:2] == [("not stated", "100", 0.5), ("not stated", "not stated", 0.25)]
        assert shown[2:] == [("1250", "1250", None), ("40", "40", 0.75)]


def test_the_longest_answer_counts_its_tokens(tiny_tokenizer):
    from papertune.prompts import PromptEncoder
    from papertune.recipe import EncodingSpec

    encoder = PromptEncoder(tiny_tokenizer, EncodingSpec())
    column = NumberColumn(kind="number", question="?", minimum=0, maximum=5000, integer=True, empty="")
    assert column.max_answer_tokens(encoder) == 6  # four digits, a blank before them, the end
    assert column.max_answer_bytes(160) == 6
    words = NumberColumn(kind="number", question="?", maximum=9, integer=True, empty="keine Angabe im Text")
    assert words.max_answer_tokens(encoder) == len(encoder.encode_text(words.empty)) + 1
    assert words.max_answer_bytes(160) >= words.max_answer_tokens(encoder)
