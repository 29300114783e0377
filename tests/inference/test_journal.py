import json

import pytest

from papertune.errors import OutputError, PapertuneWarning
from papertune.inference.journal import Journal


def test_a_journal_reads_back_what_it_keeps(tmp_path):
    first = {"label": [[0.1 + 0.2, 1e-300]], "Keywords": ["\u5fc3\u810f; \ue000 \U0001f600\n\u2028"]}
    second = {"label": [None], "Keywords": [None]}
    with Journal(tmp_path / "out.csv", "print", 3) as journal:
        journal.finish(2, first)
        assert journal.read(2) == first
        journal.finish(0, second)  # a reading in between has not moved the end
        assert (journal.read(0), journal.read(2)) == (second, first)
    with Journal(tmp_path / "out.csv", "print", 3) as journal:
        assert journal.finished.tolist() == [True, False, True]
        assert (journal.read(0), journal.read(2)) == (second, first)
        journal.finish(1, first)
    lines = (tmp_path / "out.csv.journal").read_text("utf-8").split("\n")
    assert [json.loads(line).get("batch") for line in lines[:-1]] == [None, 2, 0, 1]


@pytest.fixture
def journal(tmp_path):
    """Return the path of a journal with two batches."""
    with Journal(tmp_path / "out.csv", "print", 3) as opened:
        opened.finish(0, {"label": [[0.25, 0.75]]})
        opened.finish(1, {"label": [[0.5, 0.5]]})
    return opened.path


def test_from_a_damaged_line_on_rows_are_predicted_again(tmp_path, journal):
    journal.write_bytes(journal.read_bytes().replace(b"0.75", b"0.76"))
    with (
        pytest.warns(
            PapertuneWarning, match=r"out\.csv\.journal, line 2: this line is damaged; the rows from there on"
        ),
        Journal(tmp_path / "out.csv", "print", 3) as opened,
    ):
        assert not opened.finished.any()


def test_a_journal_with_a_damaged_first_line_is_refused(tmp_path, journal):
    journal.write_bytes(journal.read_bytes().replace(b'"batches": 3', b'"batches": 4'))
    with pytest.raises(OutputError, match=r"damaged in its first line\. Delete it; its rows"):
        Journal(tmp_path / "out.csv", "print", 3).__enter__()


def test_an_incomplete_last_line_is_dropped(tmp_path, journal):
    journal.write_bytes(journal.read_bytes()[:-5])
    with Journal(tmp_path / "out.csv", "print", 3) as opened:
        assert opened.finished.tolist() == [True, False, False]
