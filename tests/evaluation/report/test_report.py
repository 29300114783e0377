import json
import re
import stat
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from papertune.errors import OutputError
from papertune.evaluation.keyword_scores import score_keywords
from papertune.evaluation.label_scores import score_labels
from papertune.evaluation.report import (
    ColumnReport,
    Contestant,
    Report,
    SampleCell,
    SampleRow,
    summary,
    verdict,
    write_report,
)
from papertune.evaluation.report.page import WIDEST_CONFUSION
from papertune.evaluation.report.plots import curve_svg

HOSTILE = "<script>alert('x')</script> \"quoted\" & 'single' 风格 {{ 987 * 789 }}"


class Page(HTMLParser):
    """The text and the tags of a page; complains if tags do not nest."""

    EMPTY = frozenset({"meta", "link", "br", "img"})

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def label_scores(right, rows=100, probabilities=False):
    truth = ["1", "0"] * (rows // 2)
    predicted = [wanted if i < right else {"1": "0", "0": "1"}[wanted] for i, wanted in enumerate(truth)]
    shares = np.array([[0.8, 0.2] if given == "1" else [0.2, 0.8] for given in predicted])
    return score_labels(truth, predicted, ["1", "0"], shares if probabilities else None)


def keyword_scores(found):
    truth = [["graph theory", "colour", HOSTILE]] * 20 + [[]]
    return score_keywords(truth, [["graphs theory", "colour"][:found]] * 21, ["A text on graph theory"] * 21)


def make_report(**changes):
    label = ColumnReport(
        "label",
        "label",
        HOSTILE,
        [
            Contestant("this run", label_scores(95, probabilities=True), "note " + HOSTILE),
            Contestant("TF-IDF", label_scores(97)),
            Contestant("majority", label_scores(50)),
        ],
    )
    keywords = ColumnReport("Keywords", "keywords", "Which?", [Contestant("this run", keyword_scores(2))])
    sample = SampleRow(
        "id-1",
        HOSTILE + " long" * 200,
        [
            SampleCell("label", "1", "0", 0.9876),
            SampleCell("Keywords", "Graphs theory; " + HOSTILE, "graph theory, colour.", None),
        ],
    )
    whole = Report(
        title=HOSTILE,
        table="test.csv",
        rows=100,
        facts={"Base model": HOSTILE},
        columns=[label, keywords],
        loss_curve=[(step, 2.0 / step) for step in range(1, 100)] + [(100, float("nan"))],
        dev_curve=[(50, 0.8), (100, 0.9)],
        samples=[sample],
    )
    return replace(whole, **changes)


def written(tmp_path, report):
    write_report(report, tmp_path / "deep" / "report")
    folder = tmp_path / "deep" / "report"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]
    return (folder / "report.html").read_text("utf-8"), json.loads((folder / "report.json").read_text("utf-8"))


def test_page_shows_everything_and_runs_nothing(tmp_path):
    html, _ = written(tmp_path, make_report())
    page = Page(html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.text.count("<script>alert('x')</script>") >= 7
    assert "{{ 987 * 789 }}" in page.text
    assert "778743" not in page.text
    # Nothing is loaded: no address outside of the names of SVG's own languages, which are never fetched.
    assert [value for name, value in page.attributes if name in ("src", "srcset", "action")] == []
    assert all(value.startswith(("#", "data:")) for name, value in page.attributes if name.endswith("href"))
    assert not re.search(r"url\((?!#)|@import", html)
    assert [name for name, _ in page.attributes if name.startswith("on")] == []
    for shown in (
        "0.950",
        "test.csv, 100 rows",
        "98.8%",
        "in the table:",
        "Macro F1",
        "optimizer step",
        "@O",
        "Absent",
    ):
        assert shown in page.text
    assert "1 of 21 papers have no keywords" in page.text
    # The keyword that is right after stemming is marked, the hostile one is shown plain.
    assert re.search(r'class="chip good">✓ Graphs theory<', html)
    assert html.count("<svg") == 2
    assert "prefers-color-scheme: dark" in html


def test_page_says_what_got_no_answer(tmp_path):
    scores = score_labels(["1", "0", "1"], ["1", "", "1"], ["1", "0"])
    column = ColumnReport("label", "label", "", [Contestant("run", scores)])
    sample = SampleRow("7", "text", [SampleCell("label", "", "", None), SampleCell("unknown", "a", "", 0.5)])
    html, _ = written(tmp_path, make_report(columns=[column], samples=[sample], loss_curve=[], dev_curve=[], facts={}))
    page = Page(html)
    assert re.search(r"1 of 3 rows got no answer and count as wrong\. Accuracy over the others: 1\.000", page.text)
    assert "no answer" in page.text
    assert "✗" not in page.text  # the table says nothing, so nothing is wrong
    assert "Training" not in page.text
    assert "Comparison" not in page.text


def test_page_without_columns_and_with_very_many_labels(tmp_path):
    Page(written(tmp_path / "none", make_report(columns=[], samples=[]))[0])
    labels = [f"l{number}" for number in range(WIDEST_CONFUSION + 1)]
    column = ColumnReport("field", "label", "", [Contestant("run", score_labels(labels, labels, labels))])
    html, plain = written(tmp_path / "many", make_report(columns=[column]))
    assert f"{len(labels)} labels are too many" in Page(html).text
    assert len(plain["columns"][0]["contestants"][0]["scores"]["confusion"]) == len(labels)


def test_json_is_plain_and_complete(tmp_path):
    _, plain = written(tmp_path, make_report())
    first, second, *_ = plain["contestants"]
    assert first["column"] == "label"
    assert (first["name"], first["metric"], first["score"]) == ("this run", "accuracy", 0.95)
    assert 0.85 < first["low"] < 0.95 < first["high"] <= 1
    assert second["metric"] == "macro_f1"
    assert {entry["metric"] for entry in plain["contestants"] if entry["column"] == "Keywords"} == {
        "f1_at_5",
        "f1_at_o",
    }
    assert plain["title"] == plain["facts"]["Base model"] == HOSTILE
    assert plain["columns"][0]["contestants"][0]["scores"]["confusion"] == [[48, 2], [3, 47]]
    assert plain["columns"][0]["verdict"] == verdict(make_report().columns[0])
    assert plain["loss_curve"][0] == [1, 2.0]
    assert plain["loss_curve"][-1] == [100, None]
    assert plain["samples"][0]["cells"][0] == {
        "column": "label",
        "predicted": "1",
        "given": "0",
        "probability": 0.9876,
    }


def test_text_without_a_utf8_form_is_written_too(tmp_path):
    html, plain = written(tmp_path, make_report(title="half \ud800 pair", facts={"nul": "\x00"}))
    assert "half ? pair" in html
    assert plain["title"] == "half ? pair"


@pytest.mark.parametrize(
    ("run", "baseline", "said"),
    [
        (95, 97, "TF-IDF is ahead of run, but the intervals overlap, so the difference may be chance"),
        (97, 95, "run is ahead of TF-IDF, but the intervals overlap"),
        (60, 95, "TF-IDF is better than run, and the intervals do not overlap: Accuracy 0.600 against 0.950."),
        (95, 60, "run is better than TF-IDF, and the intervals do not overlap: Accuracy 0.950 against 0.600."),
        (80, 80, "run and TF-IDF have the same score: Accuracy 0.800 against 0.800."),
    ],
)
def test_verdict_says_who_wins(run, baseline, said):
    contestants = [
        Contestant("run", label_scores(run)),
        Contestant("majority", label_scores(50)),
        Contestant("TF-IDF", label_scores(baseline)),
    ]
    assert verdict(ColumnReport("label", "label", "", contestants)).startswith(said)
    assert verdict(ColumnReport("label", "label", "", contestants[:1])) == ""


def test_summary_has_a_line_per_contestant():
    lines = summary(make_report()).splitlines()
    assert lines[0] == "test.csv: 100 rows"
    assert lines[1] == "label:"
    assert re.fullmatch(
        r"  this run  Accuracy 0\.950 \(0\.\d{3} to \d\.\d{3}\)  Macro F1 0\.950 \(.*\)  AUC 0\.950  Log loss 0\.\d{3}",
        lines[2],
    )
    assert lines[4].startswith("  majority  Accuracy 0.500")
    assert "AUC" not in lines[4]
    assert lines[5].startswith("  TF-IDF is ahead of this run")
    assert lines[6] == "Keywords:"
    assert lines[7].startswith("  this run  F1@5 0.500 (0.500 to 0.500)  F1@O 0.667")
    assert len(lines) == 8


def test_report_replaces_an_older_one_or_leaves_it_whole(tmp_path, monkeypatch):
    write_report(make_report(title="old"), tmp_path)
    write_report(make_report(title="new"), tmp_path)
    assert "<h1>new</h1>" in (tmp_path / "report.html").read_text("utf-8")
    plain_file = tmp_path / "plain"
    plain_file.write_bytes(b"")
    permissions = stat.S_IMODE(plain_file.stat().st_mode)
    assert (
        stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == permissions
    )  # not that of a private temporary file
    plain_file.unlink()

    def no_room(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_room)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)\. Name a folder"):
        write_report(make_report(title="third"), tmp_path)
    assert "<h1>new</h1>" in (tmp_path / "report.html").read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(OutputError, match="the report cannot be written"):
        write_report(make_report(), tmp_path / "report")


@pytest.mark.parametrize("count", [1, 10, 500])
def test_curve_is_one_svg_in_the_colours_of_the_page(count):
    svg = curve_svg([(step, float(step)) for step in range(count)], "training loss")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "training loss" in svg
    assert "var(--accent)" in svg
    # No colour of its own, which light or dark could swallow, and no date: the same curve gives the same bytes.
    assert not re.search(r"#[0-9a-f]{6}\b", svg.replace("url(#", ""))
    assert svg == curve_svg([(step, float(step)) for step in range(count)], "training loss")


def test_curve_with_gaps_or_without_points():
    assert curve_svg([], "score") == ""
    assert "<svg" in curve_svg([(1, float("nan")), (2, float("inf")), (3, 1.0)], "score")
    assert "<svg" in curve_svg([(step, float("nan")) for step in range(100)], "score")
