"""The benchmark of keywords by words alone, on tables with a few rows."""

import sys

import curves
import keyword_words
import polars as pl
import results_page


def test_each_number_of_rows_has_its_line(tmp_path, monkeypatch, capsys):
    rows = [{"title": f"old graph {n}", "abstract": f"We study neural network {n}.", "Keywords": "x"} for n in range(6)]
    rows[0]["Keywords"] = ""
    for part in ("train", "dev"):
        pl.DataFrame(rows).write_csv(tmp_path / f"tiny_{part}.csv")
    monkeypatch.setenv("PAPERTUNE_DATA", str(tmp_path))
    folder = tmp_path / "results"
    words = ["tiny", "--rows", "3", "9", "--samples", "2", "-o", str(folder)]
    monkeypatch.setattr(sys, "argv", ["keyword_words.py", *words])
    keyword_words.main()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:4] for row in cells] == [["tiny", n, s, "tfidf"] for n, s in (("3", "0"), ("3", "1"), ("5", "0"))]
    assert {row[7] for row in cells} == {"+0.000 (+0.000 to +0.000)"}

    entries = curves.read_entries(folder / "tiny" / curves.KEYWORD_SAMPLES)
    assert curves.fewer_rows(entries, "f1_at_5") == [
        ["", "3 rows", "5 rows"],
        ["words", "0.000", "0.000"],
        ["TF-IDF n-grams", "0.000", "0.000"],
    ]
    assert [entry["system"] for entry in entries[-2:]] == ["TF-IDF n-grams", keyword_words.WORDS]
    keyword_words.main()
    assert len(capsys.readouterr().out.splitlines()) == 2  # nothing is measured again
    (folder / "tiny").rename(folder / "inspec")
    page = results_page.page_of(folder)
    assert "All 5 rows of `inspec_dev.csv`, after learning from all 5 of `inspec_train.csv`:" in page
    assert "| words | 0.000 (0.000-0.000) | in the order of TF-IDF |" in page
