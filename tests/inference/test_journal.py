import json

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
