from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds import NumberColumn
from papertune.kinds.number.cells import CellRules, guess_unit
from papertune.kinds.number.grammar import NumberGrammar

ANY = CellRules(NumberGrammar())
WHOLE = CellRules(NumberGrammar(integer=True))


def rules(minimum=None, maximum=None, **settings):
    """Return the rules of a column with these settings."""
    return NumberColumn(kind="number", question="How many?", minimum=minimum, maximum=maximum, **settings).rules


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("120", "120"),
        (" 120 ", "120"),
        ("+5", "5"),
        ("-5", "-5"),
        ("− 5", "-5"),
        ("–5", "-5"),
        ("-0", "0"),
        ("007", "7"),
        ("1.0", "1"),
        ("12.50", "12.5"),
        ("12.", "12"),
        (".5", "0.5"),
        ("0.30000000000000004", "0.3"),
        # Thousands separators.
        ("1,234,567", "1234567"),
        ("1.234.567", "1234567"),
        ("1 234", "1234"),
        ("1\u00a0234\u202f567", "1234567"),
        ("1'234'567", "1234567"),
        ("1’234", "1234"),
        ("1,23,45,678", "12345678"),
        ("1,234.5", "1234.5"),
        ("1'234.5", "1234.5"),
        # Decimal commas.
        ("12,5", "12.5"),
        ("0,123", "0.123"),
        (",5", "0.5"),
        ("1234,567", "1234.567"),
        ("1.234,5", "1234.5"),
        ("1 234,567", "1234.567"),
        # Other digits and marks.
        ("１２０", "120"),
        ("１，２３４．５", "1234.5"),
        ("٣٫٥", "3.5"),
        ("1e3", "1000"),
        ("1.2E+05", "120000"),
        ("2,5e-1", "0.25"),
    ],
)
def test_cells_with_one_reading(cell, number):
    assert ANY.read(cell) == number
    assert ANY.resolve([cell]) == {}


NOT_NUMBERS = """
- abc ½ 10² ² 1.2.3 1,2,3 1,234,56 1,234.567,8 10-20 10–20 1e 1e9999 12% nan inf 0x10 1_000 --5 . ,
"""


@pytest.mark.parametrize("cell", [*NOT_NUMBERS.split(), "", "12 34", "1 234 56", "1 2'345", "5 ± 2", "120 patients"])
def test_cells_that_are_not_a_number(cell):
    assert ANY.readings(cell) == {}
    assert ANY.read(cell) is None


@pytest.mark.parametrize(
    ("unit", "cells"),
    [
        ("patients", ["120 patients", "120 Patients", "120patients", "120 patient", "patients 120", "PATIENTS 120"]),
        ("patient", ["120 patients", "120 patient"]),
        ("study", ["120 studies", "120 study"]),
        ("studies", ["120 study", "120 studies"]),
        ("biopsy", ["120 biopsies"]),
        ("box", ["120 boxes"]),
        ("%", ["120%", "120 %", "１２０％"]),
        ("€", ["€120", "120 €"]),
        ("n =", ["n = 120", "N =120"]),
        ("mL/min", ["120 ml/min"]),
        ("m2", ["120 m2"]),
        ("例", ["120例", "共120例"[1:]]),
        ("patients", ["120"]),
    ],
)
def test_the_unit_is_not_part_of_the_number(unit, cells):
    assert [rules(unit=unit).read(cell) for cell in cells] == ["120"] * len(cells)


def test_a_unit_is_not_found_within_a_word():
    assert rules(unit="m").read("120 km") is None
    assert rules(unit="g").read("120 mg") is None
    assert rules(unit="patients").read("120 inpatients") is None


@pytest.mark.parametrize(
    ("cells", "unit"),
    [
        (["5 mg", "7 mg", "7"], "mg"),
        (["12%", "13 %"], "%"),
        (["n = 5", "n = 6", "7"], "n ="),
        (["5 patients", "6 patients", "1 patient"], "patients"),
        (["5", "1,000"], ""),
        (["5 to 7 mg", "none"], ""),
        (["~5", "(7)"], ""),
        (["about 5", *["7"] * 10], ""),
        ([], ""),
    ],
)
def test_a_unit_is_guessed_from_what_stands_beside_numbers(cells, unit):
    assert guess_unit(cells) == unit


class TestAmbiguousCells:
    def test_the_range_decides_between_two_readings(self):
        assert rules(maximum=100).read("1,234") == "1.234"
        assert rules(minimum=100).read("1,234") == "1234"
        assert rules(minimum=100).read("1.234") == "1234"
        assert rules(minimum=5, maximum=100).allowed("1,234") == {}

    def test_the_decimal_mark_of_the_recipe_decides(self):
        assert rules(decimal_mark=",").read("1,234") == "1.234"
        assert rules(decimal_mark=",").read("1.234") == "1234"
        assert rules(decimal_mark=".").read("1,234") == "1234"
        assert rules(decimal_mark=".").read("12,5") is None

    @pytest.mark.parametrize(
        ("others", "comma", "stop"),
        [
            (["12,5"], "1.234", "1234"),
            (["1.234,5"], "1.234", "1234"),
            (["1 234,567"], "1.234", "1234"),
            (["0.5"], "1234", "1.234"),
            (["1,234.5", "7"], "1234", "1.234"),
            # A number with several groups shows what separates them, and so the other mark.
            (["1,234,567"], "1234", "1.234"),
            (["1.234.567"], "1.234", "1234"),
            # Without evidence a full stop is a decimal mark, as programs write it.
            (["120", "", "not a number"], None, "1.234"),
            # With evidence for both nothing is certain.
            (["12,5", "0.5"], None, None),
        ],
    )
    def test_the_other_cells_decide_between_two_readings(self, others, comma, stop):
        resolved = ANY.resolve([*others, "1,234", "1.234"])
        assert resolved == {cell: n for cell, n in (("1,234", comma), ("1.234", stop)) if n is not None}

    def test_a_comma_between_thousands_of_whole_numbers(self):
        assert WHOLE.read("1,234") == "1234"
        assert WHOLE.resolve(["1,000", "2,000"]) == {"1,000": "1000", "2,000": "2000"}
        assert WHOLE.resolve(["1,000", "12,0"]) == {"1,000": "1"}

    def test_a_full_stop_before_three_zeros_of_a_whole_number(self):
        """It is 1 as R prints it, or 1000 as in German."""
        assert WHOLE.read("1.0") == "1"
        assert WHOLE.read("1.234") == "1234"
        assert WHOLE.read("1.000") is None
        assert WHOLE.resolve(["1.000"]) == {}
        assert WHOLE.resolve(["1.000", "2.0"]) == {"1.000": "1"}
        assert WHOLE.resolve(["1.000", "1.234"]) == {"1.000": "1000"}

    def test_evidence_is_the_first_cell_that_shows_a_mark(self):
        assert ANY.evidence(["7", "1,234", "0.5", "1.5", "2,5"]) == {".": "0.5", ",": "2,5"}
        assert rules(minimum=100).evidence(["1,234"]) == {".": "1,234"}


class TestMessages:
    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            ("12.5", '"12.5" is not a whole number. Correct it, or set columns.n.integer to false.'),
            (
                "6000",
                '"6000" is 6000, which is not from 0 to 5000. Correct it, or change columns.n.minimum or maximum.',
            ),
            ("10-20", '"10-20" is not a number. It has several (10, 20): write one.'),
            ("1 of 2, 3 or 4", '"1 of 2, 3 or 4" is not a number. It has several (1, 2, 3, ...): write one.'),
            (
                "120 mice",
                '"120 mice" is not a number. Set columns.n.unit to "mice" if that is its unit, or write the number '
                "alone.",
            ),
            ("12%", '"12%" is not a number. Set columns.n.unit to "%" if that is its unit, or write the number alone.'),
            ("> 12", '"> 12" is not a number. Write the number alone.'),
            (
                "NA",
                '"NA" is not a number. Write it with digits, or leave the cell empty if no number is stated.',
            ),
            (
                "1.000",
                '"1.000" can be 1 or 1000, and no other cell shows which. Write the number that is meant in plain '
                'digits, or set columns.n.decimal_mark to "." or ",".',
            ),
        ],
    )
    def test_messages_of_invalid_cells(self, cell, message):
        assert rules(0, 5000, integer=True).problem(cell, "n", {}) == message

    def test_the_message_of_cells_with_different_decimal_marks(self):
        cells = ["12,5", "0.5", "1,234"]
        message = '"1,234" can be 1.234 or 1234, and "12,5" and "0.5" have different decimal marks. Use the same one'
        assert ANY.problem("1,234", "n", ANY.evidence(cells)).startswith(message)

    def test_the_message_of_another_unit(self):
        message = '"120 mice" is not a number. Write the number alone, or with its unit "patients".'
        assert rules(unit="patients").problem("120 mice", "n", {}) == message

    def test_the_message_of_another_decimal_mark(self):
        message = '"12,5" is not a number. Write the decimal mark as columns.n.decimal_mark has it, which is ".".'
        assert rules(decimal_mark=".").problem("12,5", "n", {}) == message

    def test_the_message_of_too_many_digits(self):
        message = '"1234567890123456" has more digits than papertune writes. Use another unit, or round it.'
        assert ANY.problem("1234567890123456", "n", {}) == message

    @given(st.text() | st.text(st.sampled_from("0123456789.,-' e%pn")))
    def test_every_cell_without_a_number_has_a_message(self, cell):
        for each in (ANY, WHOLE, rules(0, 100, unit="%"), rules(decimal_mark=",")):
            if each.read(cell) is None:
                assert each.problem(cell, "n", {}).endswith((".", '"'))


limits = st.none() | st.integers(-1000, 1000)
numbers = st.decimals(-10_000_000, 10_000_000, places=3).map(Decimal.normalize)


def styled(value, thousands, mark):
    """Write a number as people do."""
    return f"{value:,f}".translate({ord(","): thousands, ord("."): mark})


@given(st.lists(numbers, min_size=1), st.sampled_from([(",", "."), (".", ","), ("\u202f", ","), ("’", "."), ("", ",")]))
def test_cells_in_any_style_are_read_as_they_were_meant(values, style):
    """With a cell that shows the decimal mark."""
    cells = [styled(value, *style) for value in [*values, Decimal("0.25")]]
    resolved = ANY.resolve(cells)
    read = [resolved.get(cell) or ANY.read(cell) for cell in cells[:-1]]
    assert read == [NumberGrammar().write(value) for value in values]


@given(
    numbers, limits := st.none() | st.integers(-1000, 1000), limits, st.booleans(), st.sampled_from(["", "%", "mice"])
)
def test_a_number_that_is_read_is_allowed_and_reads_as_itself(value, minimum, maximum, integer, unit):
    if minimum is not None and maximum is not None and minimum > maximum:
        return
    each = rules(minimum, maximum, integer=integer, unit=unit)
    for style in (",.", ".,", " ,"):
        cell = f"{styled(value, *style)} {unit}"
        text = each.read(cell) or each.resolve([cell, "0,5", "0,25"]).get(cell)
        if text is not None:
            assert each.grammar.is_complete(text)
            # A number in its one spelling is itself.
            assert each.read(text) == text
            column = NumberColumn(kind="number", question="?", minimum=minimum, maximum=maximum, integer=integer)
            assert column.read_answer(text) == text


@given(st.text() | st.text(st.sampled_from("0123456789.,-' eE+٣½％")))
def test_reading_any_text_gives_an_allowed_number_or_nothing(cell):
    for each in (ANY, WHOLE, rules(-5, 5.5, unit="e"), rules(0, decimal_mark=",")):
        text = each.read(cell)
        assert text is None or each.grammar.is_complete(text)
        assert all(each.grammar.is_complete(text) for text in each.resolve([cell, "1,5"]).values())
