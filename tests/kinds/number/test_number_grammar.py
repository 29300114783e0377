import re
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.number.grammar import MAX_DIGITS, NumberGrammar, number_text

# All spellings of numbers of at most three digits, the slow way.
DIGITS = 3
TEXTS = ["".join(signs) for length in range(1, DIGITS + 3) for signs in product("-.0123", repeat=length)]
NUMBERS = [
    text
    for text in TEXTS
    if re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", text) and text != "-0" and len(re.findall(r"\d", text)) <= 3
]
limits = st.none() | st.integers(-40, 40).map(lambda n: Decimal(n) / 8) | st.integers(-400, 400).map(Decimal)


@given(limits, limits, st.booleans())
def test_a_text_can_begin_a_number_if_a_number_begins_with_it(minimum, maximum, integer):
    """Compare with all numbers of at most three of the digits 0 to 3."""
    grammar = NumberGrammar(minimum, maximum, integer, DIGITS)
    allowed = {
        text
        for text in NUMBERS
        if (minimum is None or Decimal(text) >= minimum)
        and (maximum is None or Decimal(text) <= maximum)
        and not (integer and "." in text)
    }
    beginnings = {text[:end] for text in allowed for end in range(len(text) + 1)}
    for text in TEXTS:
        assert grammar.is_complete(text) == (text in allowed), text
        # Other digits may follow, so a beginning may have no number of these digits.
        assert grammar.can_begin(text) or text not in beginnings, text


@given(st.integers(-99, 99), st.integers(-99, 99), st.integers(0, 2), st.booleans())
def test_every_beginning_ends_in_a_number_and_every_number_is_reached(first, second, decimals, integer):
    """Compare with counting the numbers of at most two digits."""
    low, high = sorted(Decimal(each).scaleb(-decimals) for each in (first, second))
    grammar = NumberGrammar(low, high, integer, max_digits=2)
    reached = []

    def follow(text):
        following = [text + sign for sign in "-.0123456789" if grammar.can_begin(text + sign)]
        assert grammar.is_complete(text) or following or not text, text
        reached.extend([text] if grammar.is_complete(text) else [])
        for each in following:
            follow(each)

    follow("")
    tenths = {Decimal(n) for n in range(-99, 100)} | {Decimal(n) / 10 for n in range(-99, 100)}
    expected = {number_text(n) for n in tenths if low <= n <= high and not (integer and n % 1)}
    assert sorted(reached) == sorted(expected)
    assert grammar.can_begin("") == bool(expected)


@pytest.mark.parametrize(
    ("minimum", "maximum", "integer", "beginnings", "others"),
    [
        (
            1,
            5000,
            True,
            ["1", "5", "500", "5000", "4999", "9", "999"],
            ["0", "-", "5001", "51000", "01", "1.", ".", "1-"],
        ),
        (120, 130, True, ["1", "12", "13", "125", "130"], ["2", "11", "14", "131", "1200"]),
        (-5, 5, True, ["-", "-1", "0", "5"], ["-0", "-6", "--", "50"]),
        (0, 1, False, ["0", "0.", "0.0", "0.5", "1"], ["1.", "2", "-", "00", ".5", "0.."]),
        (0.5, 0.75, False, ["0", "0.5", "0.7", "0.74"], ["1", "0.4", "0.8", "0.751"]),
        (-0.5, -0.25, False, ["-", "-0", "-0.", "-0.3"], ["0", "-1", "-0.6", "-0.1"]),
        (None, None, False, ["-", "9", "-0.000000001"], ["00", "-00", "1.1.", "１"]),
        (None, 10, True, ["-999", "10"], ["11", "100"]),
        (1000, None, True, ["1", "10", "9" * MAX_DIGITS], ["0", "-", "1" * (MAX_DIGITS + 1)]),
    ],
)
def test_beginnings_of_the_numbers_in_a_range(minimum, maximum, integer, beginnings, others):
    low, high = (None if limit is None else Decimal(str(limit)) for limit in (minimum, maximum))
    grammar = NumberGrammar(low, high, integer)
    assert [text for text in beginnings if not grammar.can_begin(text)] == []
    assert [text for text in others if grammar.can_begin(text)] == []


numbers = st.decimals(allow_nan=False, allow_infinity=False)


@given(numbers)
def test_a_number_has_one_spelling(value):
    text = NumberGrammar().write(value)
    if text is None:
        return
    assert NumberGrammar().is_complete(text)
    assert NumberGrammar().can_begin(text)
    assert NumberGrammar().write(Decimal(text)) == text
    assert abs(Decimal(text) - value) <= abs(value) / 1_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12.50", "12.5"),
        ("-0", "0"),
        ("1E+3", "1000"),
        ("0.30000000000000004", "0.3"),
        ("123456789012345", "123456789012345"),
        ("1234567890123456", None),
        ("0.00000000001", "0.00000000001"),
        ("1E-300", None),
        ("1E+300", None),
        ("0.1234567890123456789", "0.12345678901235"),
        ("9.9999999999999999", "10"),
    ],
)
def test_numbers_are_rounded_to_the_digits_that_a_float_keeps(value, text):
    assert NumberGrammar().write(Decimal(value)) == text


def test_texts_of_numbers():
    assert number_text(Decimal("1200")) == "1200"
    assert number_text(Decimal("1.20")) == "1.2"
    assert number_text(Decimal("-0.0")) == "0"


@pytest.mark.parametrize(
    ("minimum", "maximum", "words"),
    [(None, None, ""), (1, None, "from 1"), (None, 2.5, "up to 2.5"), (-1, 100, "from -1 to 100")],
)
def test_a_range_in_words(minimum, maximum, words):
    low, high = (None if limit is None else Decimal(str(limit)) for limit in (minimum, maximum))
    assert NumberGrammar(low, high).range_in_words == words


@given(limits, limits, st.booleans())
def test_no_text_is_longer_than_it_can_be(minimum, maximum, integer):
    grammar = NumberGrammar(minimum, maximum, integer, DIGITS)
    longest = max((len(text) for text in NUMBERS if grammar.is_complete(text)), default=0)
    assert longest <= grammar.max_characters
