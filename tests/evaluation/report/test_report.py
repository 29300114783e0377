import json
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from papertune.errors import OutputError
from papertune.evaluation.checks.label_errors import LabelErrors
from papertune.evaluation.checks.leaks import DuplicatePair, Leaks, Shortcut
from papertune.evaluation.checks.review import ReviewRow
from papertune.evaluation.checks.shortcuts import SurfaceFeature
from papertune.evaluation.report import (
    Abstention,
    ColumnReport,
    LabelSets,
    LearningPoint,
    Report,
    SampleCell,
    SampleList,
    SampleRow,
    SystemReport,
    summary,
    verdict,
    write_report,
)
from papertune.evaluation.report.page import MAX_CONFUSION
from papertune.evaluation.report.words import confidence_facts, leak_sentences, unanswered
from papertune.metrics.calibration import score_calibration
from papertune.metrics.keyword_scores import score_keywords
from papertune.metrics.label_scores import score_labels
from papertune.metrics.multilabel_scores import score_multilabel
from papertune.metrics.paired import PairedDifference
from papertune.metrics.screening import precision_recall, work_saved
from papertune.metrics.selective import risk_coverage

HOSTILE = "<script>alert('x')</script> \"quoted\" & 'single' 风格 {{ 987 * 789 }}"


class Page(HTMLParser):
    """The text and the tags of a page; tags that are not nested are an error."""

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
    gold = ["1", "0"] * (rows // 2)
    predicted = [label if i < right else {"1": "0", "0": "1"}[label] for i, label in enumerate(gold)]
    of_labels = np.array([[0.8, 0.2] if label == "1" else [0.2, 0.8] for label in predicted])
    return score_labels(gold, predicted, ["1", "0"], of_labels if probabilities else None)


def keyword_scores(found):
    gold = [["graph theory", "colour", HOSTILE]] * 20 + [[]]
    return score_keywords(gold, [["graphs theory", "colour"][:found]] * 21, ["A text on graph theory"] * 21)


def systems():
    return [
        SystemReport(
            "this run",
            label_scores(95, probabilities=True),
            "note " + HOSTILE,
            rows_per_s=2.345,
            training_s=754.0,
            trained_weights=2_442_240,
            paired=PairedDifference(-0.02, -0.06, 0.01, 0.4531),
        ),
        SystemReport("TF-IDF", label_scores(97), rows_per_s=1234.5, training_s=0.84, trained_weights=4_321),
        SystemReport(
            "majority",
            label_scores(50),
            rows_per_s=None,
            training_s=0.0,
            trained_weights=0,
            paired=PairedDifference(-0.47, -0.57, -0.37, 1e-9),
        ),
    ]


def full_column(**changes):
    """Return the report of a label column with every part."""
    probabilities = np.array([[0.99, 0.01], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45], [0.05, 0.95]])
    gold_ids = np.array([0, 0, 1, 0, 1, 1])
    row = ReviewRow("row " + HOSTILE, HOSTILE + " long" * 200, "0", "1", 0.987, 0.013)
    column = ColumnReport(
        "label",
        "label",
        HOSTILE,
        systems(),
        facts={"Calibrated with": HOSTILE},
        calibration=score_calibration(probabilities, gold_ids, bins=3),
        calibration_before=score_calibration(probabilities**2 / (probabilities**2).sum(1, keepdims=True), gold_ids),
        risk_coverage=risk_coverage(probabilities, gold_ids),
        abstention=Abstention(0.98, 0.875, 0.5, 0.975),
        label_sets=LabelSets(0.95, 0.96, 1.25, 0.75),
        precision_recall=precision_recall(probabilities[:, 0], gold_ids == 0),
        positive=HOSTILE,
        work_saved=work_saved(probabilities[:, 0], gold_ids == 0),
        learning_curve={"this run": [LearningPoint(50, 0.8, 0.7, 0.9), LearningPoint(100, 0.9, 0.85, 0.95)]},
        confident_errors=[row],
        uncertain_rows=[replace(row, id="uncertain row", predicted="0", abstained=True)],
        label_errors=LabelErrors("train.csv", 1400, 12, [replace(row, id="likely error")]),
    )
    return replace(column, **changes)


LEAKS = Leaks(
    "train.csv",
    [
        DuplicatePair("new-1", "old-1", HOSTILE, HOSTILE, 1.0, True),
        DuplicatePair("new-2", "old-2", "a b", "a c", 0.4321, False),
    ],
    [Shortcut("label", "author", False, SurfaceFeature("format", 0.998, 0.503, f"With {HOSTILE}, 3 of 3 rows are 1."))],
)


def make_report(**changes):
    label = ColumnReport("label", "label", HOSTILE, systems())
    keywords = ColumnReport("Keywords", "keywords", "Which?", [SystemReport("this run", keyword_scores(2))])
    sample = SampleRow(
        "id-1",
        HOSTILE + " long" * 200,
        [
            SampleCell("label", "1", "0", 0.9876),
            SampleList("Keywords", "keywords", ["Graphs theory", HOSTILE], ["graph theory", "colour"]),
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


def plain_report(**changes):
    """Return a report without plots, which are slow."""
    return make_report(loss_curve=[], dev_curve=[], **changes)


def written(tmp_path, report):
    write_report(report, tmp_path / "deep" / "report")
    folder = tmp_path / "deep" / "report"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]
    return (folder / "report.html").read_text("utf-8"), json.loads((folder / "report.json").read_text("utf-8"))


def test_page_shows_the_whole_report_and_runs_no_scripts(tmp_path):
    html, _ = written(tmp_path, make_report())
    page = Page(html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.text.count("<script>alert('x')</script>") >= 7
    assert "{{ 987 * 789 }}" in page.text
    assert "778743" not in page.text
    # Nothing is loaded: the only addresses are XML namespaces of SVG, which are never fetched.
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
    # The keyword that matches after stemming is marked; the hostile one is not.
    assert re.search(r'class="chip good">✓ Graphs theory<', html)
    assert html.count("<svg") == 2
    assert "prefers-color-scheme: dark" in html


def test_page_shows_costs_curves_and_rows_to_review(tmp_path):
    html, _ = written(tmp_path, make_report(columns=[full_column()], leaks=LEAKS))
    page = Page(html)
    assert "script" not in page.tags
    assert "778743" not in page.text
    for shown in (
        "Before you trust these scores",
        "2 papers are also in train.csv",
        "Difference: to TF-IDF, on the same rows, with 95% interval and the p-value of McNemar's exact test.",
        "−0.020",
        "−0.060 to +0.010",
        "p = 0.453",
        "p < 0.001",
        "1,234",
        "2.3",
        "12.6 min",
        "0.8 s",
        "none",
        "2,442,240",
        "(0.310 before calibration)",
        "Confident errors",
        "Uncertain rows",
        "98.7%, abstained",
        "Likely label errors",
        "likely error",
        "12 of 1,400 labels in train.csv are likely errors",
        "98.7%",
        "43% similar",
        "word for word",
        f"Of label {HOSTILE}, at every threshold",
    ):
        assert shown in page.text, shown
    # Each plot has a description for screen readers, and a title.
    pictures = [value for name, value in page.attributes if name == "aria-label"]
    for start in (
        "Reliability in",
        "Risk and coverage",
        "Precision and recall",
        "Accuracy over the number of training",
    ):
        assert any(picture.startswith(start) for picture in pictures), start
    assert html.count('role="img"') == html.count("<svg") == html.count("<figure>") == html.count("<figcaption>") == 6
    assert html.count("<table>") + html.count("<table class") == html.count("<caption")
    # Ids are unique, and each link of the table of contents has its target.
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    linked = [value[1:] for name, value in page.attributes if name == "href" and value.startswith("#")]
    assert linked[:5] == ["column-1", "training", "duplicates", "papers", "facts"]
    assert set(linked[:5]) <= set(ids)


def test_page_shows_the_prompt_and_several_labels(tmp_path):
    gold = np.array([[True, False], [True, True], [False, False]])
    scores = score_multilabel(gold, gold, ["heart", "lung"])
    column = ColumnReport("topics", "labels", "Which?", [SystemReport("few-shot", scores, prompt="Text:\n" + HOSTILE)])
    sample = SampleRow("7", "text", [SampleList("topics", "labels", ["heart", "liver"], ["heart"])])
    html, _ = written(tmp_path, plain_report(columns=[column], samples=[sample]))
    page = Page(html)
    assert "A prompt of few-shot" in page.text
    assert "Text:\n" + HOSTILE in page.text
    assert re.search(r'<th scope="row">lung</th><td>1.000</td>', html)
    assert re.search(r'class="chip good">✓ heart<', html)
    assert 'class="chip">liver<' in html


def test_likely_label_errors_of_a_labels_column_are_shown(tmp_path):
    scores = score_multilabel(np.array([[True, False]] * 3), np.array([[True, False]] * 3), ["heart", "lung"])
    row = ReviewRow("p7", "text", "not heart", "heart", 0.75, 0.25)
    errors = LabelErrors("train.csv", 1400, 12, [row], ["heart", "lung"])
    column = ColumnReport("topics", "labels", "Which?", [SystemReport("run", scores)], label_errors=errors)
    report = plain_report(columns=[column], samples=[])
    html, plain = written(tmp_path, report)
    sentence = "12 of 2,800 labels in train.csv are likely errors"
    assert f"{sentence}: the opposite is more probable to TF-IDF" in Page(html).text
    assert "Only the 2 most frequent labels are checked." in Page(html).text
    assert f"  {sentence}" in summary(report).splitlines()
    assert plain["columns"][0]["noise"]["labels"] == ["heart", "lung"]
    assert plain["columns"][0]["noise"]["candidates"][0]["given"] == "not heart"


def test_only_the_first_duplicates_are_shown(tmp_path):
    many = replace(LEAKS, duplicates=[replace(LEAKS.duplicates[1], id=f"n{number}") for number in range(25)])
    html, plain = written(tmp_path, plain_report(leaks=many))
    assert "10 of 25 are shown; all are in report.json." in Page(html).text
    assert len(plain["leaks"]["duplicates"]) == 25


def test_page_shows_rows_without_an_answer(tmp_path):
    scores = score_labels(["1", "0", "1"], ["1", "", "1"], ["1", "0"])
    column = ColumnReport("label", "label", "", [SystemReport("run", scores)])
    sample = SampleRow("7", "text", [SampleCell("label", "", "", None), SampleCell("unknown", "a", "", 0.5)])
    html, _ = written(tmp_path, make_report(columns=[column], samples=[sample], loss_curve=[], dev_curve=[], facts={}))
    page = Page(html)
    assert "1 of 3 rows have no answer and count as wrong; accuracy over the others 1.000. A file" in page.text
    assert "no answer" in page.text
    assert "✗" not in page.text  # without a gold label nothing is wrong
    assert "Training" not in page.text
    assert "Comparison" not in page.text


@pytest.mark.parametrize(
    ("cell", "hits", "misses", "shown"),
    [
        # Keywords are compared by their stems, as in the scores.
        (
            SampleList("k", "ranked_keywords", ["neural network", "trees"], ["Neural networks", "graphs"]),
            ["✓ neural network", "Neural networks"],
            ["trees", "graphs"],
            "in the table: Neural networks; graphs",
        ),
        (SampleList("k", "keywords", ["图 论"], ["图论"]), ["✓ 图 论", "图论"], [], "in the table: 图论"),
        (SampleList("k", "keywords", ["++"], ["#"]), [], ["++", "#"], "in the table: #"),
        (SampleList("k", "ranked_keywords", [], None), [], [], "no answer"),
        # Labels are compared exactly, and an empty list is an answer.
        (SampleList("k", "labels", ["C++", "R"], ["C#", "R"]), ["✓ R", "R"], ["C++", "C#"], "in the table: C#; R"),
        (SampleList("k", "labels", [], []), [], [], "none of the labelsin the table: none of the labels"),
        (SampleList("k", "labels", ["R"], None), [], ["R"], "R"),
    ],
)
def test_samples_mark_items_that_both_lists_have(tmp_path, cell, hits, misses, shown):
    sample = SampleRow("7", "text", [cell])
    html, plain = written(tmp_path, plain_report(columns=[], samples=[sample], facts={}))
    papers = html[html.index('<section id="papers">') :]
    assert re.findall(r'class="(?:chip )?good">([^<]*)<', papers) == hits
    assert re.findall(r'<span(?: class="chip")?>([^<]*)<', papers) == misses
    assert shown in Page(f"<main>{papers}".split("</main>")[0] + "</main>").text
    assert "✗" not in papers
    predicted = {"column": "k", "kind": cell.kind, "predicted": cell.predicted, "given": cell.given}
    assert plain["samples"][0]["cells"] == [predicted]


def test_page_without_columns_and_with_too_many_labels(tmp_path):
    Page(written(tmp_path / "none", plain_report(columns=[], samples=[]))[0])
    labels = [f"l{number}" for number in range(MAX_CONFUSION + 1)]
    column = ColumnReport("field", "label", "", [SystemReport("run", score_labels(labels, labels, labels))])
    html, plain = written(tmp_path / "many", plain_report(columns=[column]))
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


def test_json_has_calibration_curves_rows_and_leaks(tmp_path):
    _, plain = written(tmp_path, make_report(columns=[full_column()], leaks=LEAKS))
    assert plain["calibration"]["column"] == "label"
    assert plain["calibration"]["ece"] == pytest.approx((0.075 + 0.35 + 0.03) / 3)
    assert plain["calibration"]["bins"][0].keys() == {"rows", "confidence", "accuracy", "low", "high"}
    column = plain["columns"][0]
    assert column["calibration"]["bins"] == plain["calibration"]["bins"]
    assert column["calibration_before"]["ece"] > column["calibration"]["ece"]
    assert column["risk_coverage"]["points"][-1] == {"coverage": 1.0, "risk": pytest.approx(1 / 3)}
    assert column["precision_recall"]["points"][-1] == {"recall": 1.0, "precision": 0.5, "threshold": 0.05}
    assert column["precision_recall"]["positive"] == HOSTILE
    assert column["abstention"]["accuracy"] == 0.975
    assert column["label_sets"]["covered"] == 0.96
    assert column["work_saved"]["recall"] == 0.95
    assert column["learning_curve"]["this run"][1] == {"rows": 100, "score": 0.9, "low": 0.85, "high": 0.95}
    assert column["mistakes"][0]["said_probability"] == 0.987
    assert column["unsure"][0]["id"] == "uncertain row"
    assert (column["noise"]["doubted"], column["noise"]["candidates"][0]["id"]) == (12, "likely error")
    run = column["contestants"][0]
    assert run["paired"] == {"difference": -0.02, "low": -0.06, "high": 0.01, "p_value": 0.4531}
    assert (run["rows_per_s"], run["training_s"], run["trained_weights"]) == (2.345, 754.0, 2_442_240)
    assert plain["leaks"]["shortcuts"][0]["feature"]["accuracy"] == 0.998
    _, bare = written(tmp_path / "bare", plain_report())
    assert bare["calibration"] is None
    assert bare["leaks"] is None
    assert bare["columns"][0]["risk_coverage"] is None


def test_text_without_a_utf8_form_is_written_too(tmp_path):
    html, plain = written(tmp_path, plain_report(title="half \ud800 pair", facts={"nul": "\x00"}))
    assert "half ? pair" in html
    assert plain["title"] == "half ? pair"


@pytest.mark.parametrize(
    ("paired", "sentence"),
    [
        (
            PairedDifference(-0.02, -0.05, 0.01, 0.25),
            "TF-IDF is ahead of run, but the difference may be chance: Accuracy 0.970 against 0.950, difference +0.020 "
            "(-0.010 to +0.050, p = 0.250).",
        ),
        (
            PairedDifference(0.02, 0.0, 0.05, 0.0625),
            "run is ahead of TF-IDF, but the difference may be chance",
        ),
        (
            PairedDifference(-0.02, -0.03, -0.01, 0.0001),
            "The simple baseline wins: TF-IDF is better than run: Accuracy 0.970 against 0.950, difference +0.020 "
            "(+0.010 to +0.030, p < 0.001).",
        ),
        (PairedDifference(0.02, 0.01, 0.03, 0.04), "run is better than TF-IDF: Accuracy 0.950 against 0.970, "),
        (PairedDifference(0.0, -0.01, 0.01, 1.0), "run and TF-IDF have the same score: Accuracy 0.950."),
    ],
)
def test_verdict_names_the_better_system(paired, sentence):
    field = [
        SystemReport("run", label_scores(95), paired=paired),
        SystemReport("majority", label_scores(50), paired=PairedDifference(-0.4, -0.5, -0.3, 1e-9)),
        SystemReport("TF-IDF", label_scores(97)),
    ]
    assert verdict(ColumnReport("label", "label", "", field)).startswith(sentence)
    assert verdict(ColumnReport("label", "label", "", field[2:])) == ""
    assert verdict(ColumnReport("label", "label", "", [])) == ""


def screening(**changes):
    """Return a column whose first label is rare: the run ranks better, but excluding every paper is more accurate."""
    gold = ["included"] * 4 + ["excluded"] * 36
    labels = ["included", "excluded"]
    ranks = {"run": [0, 1, 2, 3, *range(4, 40)], "TF-IDF": [0, 6, 12, 18, *range(19, 55)]}
    probabilities = {title: np.array([[1 - of / 60, of / 60] for of in ranked]) for title, ranked in ranks.items()}
    run = score_labels(gold, labels[:1] * 10 + labels[1:] * 30, labels, probabilities["run"])
    tfidf = score_labels(gold, labels[1:] * 40, labels, probabilities["TF-IDF"])
    field = [
        SystemReport("run", run, paired=PairedDifference(-0.05, -0.1, -0.01, 0.01)),
        SystemReport("TF-IDF", tfidf, paired=PairedDifference(0.0, 0.0, 0.0, 1.0)),
        SystemReport("majority", score_labels(gold, labels[1:] * 40, labels)),
    ]
    field[0] = replace(field[0], paired_average_precision=PairedDifference(0.0625, 0.0125, 0.25, None))
    return replace(ColumnReport("label", "label", "", field, positive="included", is_screening=True), **changes)


def test_screening_is_judged_by_the_ranking(tmp_path):
    column = screening()
    sentence = "run is better than TF-IDF: Average precision 1.000 against 1.000, difference +0.062 (+0.013 to +0.250)."
    assert verdict(column) == sentence
    html, plain = written(tmp_path, plain_report(columns=[column]))
    page = Page(html)
    assert sentence in page.text
    head = re.search(r"<caption[^>]*>Scores of each system</caption>.*?</thead>", html, re.DOTALL).group()
    names = re.findall(r">([^<>]+)<(?:/th|span)", head)
    assert names == ["System", *["Average precision"] * 2, "WSS@95", "Accuracy", "Macro F1", "Difference"]
    assert (
        "Average precision and WSS@95 judge the order of the rows by the probability of label included. "
        "Difference in average precision: to TF-IDF, on the same rows, with 95% interval (paired bootstrap)."
    ) in page.text
    assert "McNemar" not in page.text
    assert "+0.062" in page.text
    assert "−0.050" not in page.text  # the difference in accuracy is in report.json
    (shown,) = plain["columns"]
    assert (shown["is_screening"], shown["verdict"]) == (True, sentence)
    assert shown["contestants"][0]["paired"]["difference"] == -0.05
    assert shown["contestants"][0]["paired_average_precision"] == {
        "difference": 0.0625,
        "low": 0.0125,
        "high": 0.25,
        "p_value": None,
    }
    metrics = [(each["name"], each["metric"]) for each in plain["contestants"]]
    assert metrics[:3] == [("run", "accuracy"), ("run", "macro_f1"), ("run", "average_precision")]
    assert ("majority", "average_precision") not in metrics
    lines = summary(plain_report(columns=[column])).splitlines()
    assert re.fullmatch(
        r"  run       Average precision 1\.000 \(.*\)  WSS@95 0\.850  Accuracy 0\.850 \(.*\)  Macro F1 0\.\d{3} \(.*\)",
        lines[2],
    )
    assert lines[4].startswith("  majority  Accuracy 0.900")
    assert lines[5] == f"  {sentence}"


def test_screening_without_a_ranking_is_judged_by_accuracy(tmp_path):
    field = [replace(each, scores=screening().systems[2].scores) for each in screening().systems]
    field[0] = replace(field[0], paired_average_precision=None)
    column = screening(systems=field)
    assert verdict(column).startswith("The simple baseline wins: majority is better than run: Accuracy 0.900 against")
    _, plain = written(tmp_path, plain_report(columns=[column]))
    assert plain["columns"][0]["is_screening"] is False
    # Without a baseline the ranking is shown, and nothing is compared.
    alone = screening(systems=[replace(screening().systems[0], paired_average_precision=None, paired=None)])
    assert verdict(alone) == ""
    html, _ = written(tmp_path / "alone", plain_report(columns=[alone]))
    assert re.findall(r'class="name">([^<]+)<', html)[:2] == ["Average precision", "WSS@95"]


def test_summary_has_a_line_for_each_system():
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


def test_summary_shows_the_quality_of_probabilities_and_warnings():
    report = make_report(columns=[full_column(positive="included")], leaks=LEAKS)
    lines = summary(report).splitlines()
    assert lines[6:] == [
        "  The run abstains in 50.0% of the rows; their most probable label is scored here.",
        "  Expected calibration error: 0.152 (0.310 before calibration); "
        "right probabilities would have 0.188 on 6 rows",
        "  Log loss: 0.514 (0.688 before calibration)",
        "  Brier score: 0.372 (0.446 before calibration)",
        "  Area under the risk-coverage curve: 0.1306",
        "  Abstaining: at a confidence of at least 0.875, 50.0% of the rows are answered, with an accuracy of 97.5% "
        "(98.0% wanted)",
        "  Label sets: 96.0% contain the gold label (95.0% wanted), 1.25 labels each; 75.0% have one label",
        "  Average precision, label included: 0.867",
        "  Reading to find 95% of label included: 83.3% of the rows must be read, the most probable first; work "
        "saved over sampling (WSS@95) 0.117",
        f"  Calibrated with: {HOSTILE}",
        "  12 of 1,400 labels in train.csv are likely errors",
        "warning: 2 papers are also in train.csv, 1 of them word for word and 1 nearly, such as new-1, which is old-1 "
        "there. The run may have learned their answers.",
    ]
    # A shortcut that the model does not read is on the page only.
    assert "does not read this column; do not add it to table.document." in leak_sentences(report)[-1]
    read = replace(LEAKS, shortcuts=[replace(LEAKS.shortcuts[0], in_document=True)])
    *_, last = summary(make_report(leaks=read)).splitlines()
    assert last.startswith('warning: column "author": its format alone predicts label with accuracy 0.998; ')
    assert "The model reads this column" in last
    never = full_column(abstention=None, calibration_before=None)
    text = summary(make_report(columns=[never]))
    assert "Abstaining" not in text
    assert "before calibration" not in text
    assert "warning" not in text


@pytest.mark.parametrize(
    ("abstention", "words"),
    [
        (
            Abstention(None, 0.75, 0.5, 0.9),
            "at a confidence of at least 0.750, 50.0% of the rows are answered, with an accuracy of 90.0%",
        ),
        (
            Abstention(0.98, 0.75, 0.0, None),
            "at a confidence of at least 0.750, 0.0% of the rows are answered (98.0% wanted)",
        ),
        (
            Abstention(0.98, None, 1.0, 0.9, "no rows"),
            "every row is answered, with an accuracy of 90.0% (98.0% wanted); no rows",
        ),
    ],
)
def test_abstention_in_words(abstention, words):
    column = full_column(abstention=abstention)
    assert confidence_facts(column)["Abstaining"] == words
    abstained = (
        f"The run abstains in {1 - abstention.answered:.1%} of the rows; their most probable label is scored here."
    )
    assert unanswered(column) == ("" if abstention.answered == 1 else abstained)


def test_copies_of_dev_rows_are_reported_separately(tmp_path):
    pairs = [*LEAKS.duplicates, replace(LEAKS.duplicates[1], id="new-3", other_id="dev-3", is_dev=True)]
    report = plain_report(leaks=replace(LEAKS, duplicates=pairs, shortcuts=[], dev="dev.csv"))
    assert leak_sentences(report)[1:] == [
        "1 paper is also in dev.csv, 0 of them word for word and 1 nearly, such as new-3, which is dev-3 there. The "
        "checkpoint was chosen and calibrated on that table, so the scores of the run may be too good."
    ]
    html, plain = written(tmp_path, report)
    assert "dev-3, a dev row" in Page(html).text
    assert [pair["is_dev"] for pair in plain["leaks"]["duplicates"]] == [False, False, True]
    assert plain["leaks"]["dev"] == "dev.csv"


def test_a_report_replaces_an_older_one_or_leaves_it_unchanged(tmp_path, monkeypatch):
    write_report(plain_report(title="old"), tmp_path)
    write_report(plain_report(title="new"), tmp_path)
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
        write_report(plain_report(title="third"), tmp_path)
    assert "<h1>new</h1>" in (tmp_path / "report.html").read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_file_with_the_name_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(OutputError, match="the report cannot be written"):
        write_report(plain_report(), tmp_path / "report")
