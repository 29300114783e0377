import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds import TextColumn
from papertune.kinds.text.cells import answer_as_text, confidence_of, read_answer, tidy
from papertune.tables import read_table
from papertune.tables.writing import WRITERS, write_table


@given(st.text())
def test_tidy_text_stays_as_it_is(text):
    assert tidy(tidy(text)) == tidy(text)
    assert "\r" not in tidy(text)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        (" one\r\ntwo\rthree \n", "one\ntwo\nthree"),
        ("a\x00b\x85c\tд", "a b c\tд"),
        ("  \n\x07 ", ""),
        ("肝癌 ", "肝癌"),
    ],
)
def test_tidied_texts(text, cell):
    assert tidy(text) == cell


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=3))
def test_a_cell_that_is_written_is_read_as_it_was(tmp_path_factory, suffix, texts):
    file = tmp_path_factory.getbasetemp() / f"cells{suffix}"
    cells = [tidy(text) for text in texts]
    frame = pl.DataFrame({"id": [f"row {number}" for number in range(len(cells))], "summary": cells})
    write_table(frame, file, overwrite=True)
    assert read_table(str(file)).column("summary") == cells


@given(st.text(), st.floats(0, 1))
def test_a_value_keeps_text_and_confidence(text, confidence):
    assert read_answer(answer_as_text(text, confidence)) == (text, confidence)


def test_a_confidence_is_a_probability():
    assert confidence_of(0.0) == 1.0
    assert confidence_of(1e-7) == 1.0  # a rounded sum
    assert confidence_of(-float("inf")) == 0.0
    assert confidence_of(-1.0) == pytest.approx(0.3679, abs=1e-4)


@pytest.mark.parametrize(
    ("empty", "cell", "answer", "written"),
    [
        ("", " 120\r\nin all ", "120\nin all", "120\nin all"),
        ("", "  ", None, ""),
        ("not stated", "", "not stated", ""),
        ("not stated", "Not Stated ", "not stated", ""),
        (" none ", "none", "none", ""),
        ("not stated", "120", "120", "120"),
    ],
)
def test_the_answer_of_a_cell_and_its_written_form(empty, cell, answer, written):
    column = TextColumn(kind="text", question="How many?", empty=empty)
    assert column.read_answer(cell) == answer
    assert column.cell_of(answer or "") == written
