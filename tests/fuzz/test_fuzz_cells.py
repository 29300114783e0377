"""What reads single cells and templates: any text, in time that grows with its length alone."""

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from fuzz_outcome import FUZZED
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.keywords.cells import keywords_as_text, split_keywords
from papertune.kinds.number.cells import CellRules, guess_unit
from papertune.kinds.number.grammar import NumberGrammar
from papertune.recipe import load_recipe
from papertune.templates import TemplatePart, parse_template, render_template, template_columns

_PARTS = [
    "1", "0", "1,234", "1.5", "1e999", "1e-999", "-", "−", "+", ".", ",", ";", "；", "、", "'", " ", "\n", "\0", "NaN",
    "½", "²", "٣", "%", "kg", "n = ", "[", "]", "['a', \"b\"]", '["a", 1]', "{", "}", "{{", "}}", "{x}", '"', "\\",
    "\u200b", "\ud800", "İ", "ß", "a", "U.S.", "*", "/", "|", "$", "9" * 400, "(" * 400,
]  # fmt: skip
texts = st.one_of(st.text(max_size=12), st.lists(st.sampled_from(_PARTS), max_size=8).map("".join))
_rules = CellRules(NumberGrammar(minimum=Decimal(0), maximum=Decimal(10**9)), unit="kg")
_labels = ["0", "1", "Yes", "a, b"]
_columns = load_recipe(
    {
        "model": "smollm2-135m-instruct",
        "table": {"document": "{title}"},
        "columns": {
            "label": {"kind": "label", "question": "Question 0?", "labels": _labels},
            "labels": {"kind": "labels", "question": "{label}?", "labels": ["0", "1", "Yes"]},
            "keywords": {"kind": "keywords", "question": "Question 1?"},
            "ranked keywords": {"kind": "ranked_keywords", "question": "Question 2?"},
            "text": {"kind": "text", "question": "Question 3?"},
            "number": {"kind": "number", "question": "Question 4?", "minimum": 0, "maximum": 100, "unit": "kg"},
        },
    }
).columns
READERS: dict[str, Callable[[str], Any]] = {
    **{name: column.read_answer for name, column in _columns.items()},
    "number of a column": lambda text: _rules.resolve([text, "1.5", "1,234"]),
    "number's problem": lambda text: _rules.problem(text, "x", {}),
    "unit": lambda text: guess_unit([text]),
}


@pytest.mark.parametrize("name", READERS)
@FUZZED
@given(text=texts)
def test_any_text_is_a_cell(name: str, text: str):
    READERS[name](text)


@FUZZED
@given(text=texts)
def test_keywords_that_were_read_are_read_again_as_they_are(text: str):
    keywords = split_keywords(text)
    assert split_keywords(keywords_as_text(keywords)) == keywords


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("part", _PARTS)
def test_a_long_cell_takes_no_longer_than_its_length(name: str, part: str):
    begun = time.process_time()
    READERS[name](part * (50_000 // len(part)))
    # Linear in its length: milliseconds. Quadratic: minutes.
    assert time.process_time() - begun < 10


@FUZZED
@given(text=texts)
def test_a_template_has_its_text_back_or_a_message(text: str):
    parts = _parsed(text)
    if parts is None:
        return
    row = dict.fromkeys(template_columns(text), "{")
    assert render_template(text, row) == "".join("{" if part.is_column else part.text for part in parts)
    plain = "".join(part.text for part in parts if not part.is_column)
    assert render_template(plain.replace("{", "{{").replace("}", "}}"), {}) == plain


def _parsed(text: str) -> tuple[TemplatePart, ...] | None:
    try:
        return parse_template(text)
    except ValueError:
        return None
