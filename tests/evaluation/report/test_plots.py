import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.textpath import TextPath

from papertune.evaluation.report import LearningPoint
from papertune.evaluation.report.plots import (
    curve_svg,
    learning_curve_svg,
    precision_recall_svg,
    reliability_svg,
    risk_coverage_svg,
    shortened,
    thinned,
)
from papertune.metrics.calibration import score_calibration
from papertune.metrics.screening import precision_recall
from papertune.metrics.selective import risk_coverage

RNG = np.random.default_rng(0)
FIRST = RNG.uniform(0.05, 0.95, 3000)
PROBABILITIES = np.stack([FIRST, 1 - FIRST], axis=1)
TRUE_IDS = (RNG.uniform(size=3000) > FIRST).astype(np.int64)


def check(svg, *shown):
    """An SVG element in the colours of the page, which tells in words what it shows."""
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("role") == "img"
    text = "".join(root.itertext())
    for word in shown:
        assert word in text or word in root.get("aria-label"), word
    # No colour of its own, which light or dark could swallow, and nothing that the page has twice.
    assert not re.search(r"#[0-9a-f]{6}\b", svg.replace("url(#", ""))
    assert "var(--ink)" in svg
    assert '<g id="' not in svg
    return root


@pytest.mark.parametrize("count", [1, 10, 500])
def test_curve(count):
    points = [(step, float(step)) for step in range(count)]
    svg = curve_svg(points, "training loss")
    check(svg, "training loss", "optimizer step", f"0 at first and {count - 1} at last")
    assert "var(--accent)" in svg
    # No date: the same curve gives the same bytes.
    assert svg == curve_svg(points, "training loss")


def test_curve_with_gaps_or_without_points():
    assert curve_svg([], "score") == ""
    check(curve_svg([(1, float("nan")), (2, float("inf")), (3, 1.0)], "score"))
    check(curve_svg([(step, float("nan")) for step in range(100)], "score"), "score over 99 optimizer steps")


def test_learning_curve_of_names_that_are_not_plain():
    points = [LearningPoint(50, 0.7, 0.6, 0.8), LearningPoint(1400, 0.9, 0.9, 0.9)]
    svg = learning_curve_svg({"模型 $x$ <b>": points, "TF-IDF": points[1:]}, "Accuracy")
    check(svg, "模型 $x$ <b>: 0.700 with 50, 0.900 with 1,400; TF-IDF: 0.900 with 1,400", "training rows", "1,400")
    assert learning_curve_svg({}, "Accuracy") == learning_curve_svg({"TF-IDF": []}, "Accuracy") == ""


LONG_NAMES = [
    "fine-tuned /home/somebody/models/instruct/2026-11-01/a-small-model-v2/checkpoint-12800",
    "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
    "W" * 17,
    "微调 " + "模型" * 30,
    "setfit",
]


def legend_places(svg):
    """Give for each text of the legend where its line's key begins and where it ends, and the width of the plot."""
    root = ElementTree.fromstring(svg)
    places = {}
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        if "text-anchor: start" in text.get("style"):  # the axes' own texts are centred, or end at their place
            words, start = text.text, float(text.get("x"))
            chinese = sum(ord(character) > 0x2E80 for character in words)
            plain = "".join(character for character in words if ord(character) <= 0x2E80)
            width = TextPath((0, 0), plain, size=10).get_extents().width if plain else 0.0
            places[words] = start - 34, start + 10 * chinese + width
    return places, float(root.get("viewBox").split()[2])


@pytest.mark.parametrize(
    "names", [LONG_NAMES, ["W" * 17, "V" * 17], LONG_NAMES[3:4], ["run", "TF-IDF", "majority"]], ids=len
)
def test_a_legend_stays_inside_its_plot(names):
    points = [LearningPoint(50, 0.7, 0.6, 0.8)]
    svg = learning_curve_svg(dict.fromkeys(names, points), "Accuracy")
    places, width = legend_places(svg)
    assert len(places) == len(names)
    for words, (start, end) in places.items():
        assert 0 <= start < end <= width, words
    check(svg, *names)  # the description has the whole names


def test_labels_that_are_too_long_lose_their_middle():
    assert shortened("fine-tuned small-model", 279) == "fine-tuned small-model"
    short = shortened(LONG_NAMES[0], 279)
    assert re.fullmatch(r"fine-tuned [^…]*….*/checkpoint-12800", short)
    assert 40 <= len(short) <= 60
    assert len(shortened(LONG_NAMES[1], 279)) == 28
    assert len(shortened(LONG_NAMES[3], 279)) == 20
    assert shortened("WW", 12) == "…"
    assert shortened("", 12) == ""


def test_reliability_before_and_after():
    after, before = score_calibration(PROBABILITIES, TRUE_IDS), score_calibration(PROBABILITIES.round(1), TRUE_IDS)
    alone = check(reliability_svg(after, None), "Reliability in 10 bins", "how sure", "how often right")
    assert "before" not in "".join(alone.itertext())
    check(reliability_svg(after, before), "before", "calibrated", "as sure as right")
    one = score_calibration(PROBABILITIES[:1], np.array([0]))
    check(reliability_svg(one, None), "Reliability in 1 bins: ")


def test_curves_of_very_many_rows_are_thinned():
    risk = risk_coverage(PROBABILITIES, TRUE_IDS)
    check(risk_coverage_svg(risk), f"{risk.risk[-1]:.3f} wrong if all rows are answered")
    precision = precision_recall(FIRST, TRUE_IDS == 0)
    svg = precision_recall_svg(precision)
    check(svg, f"average precision {precision.average_precision:.3f}", "by chance")
    assert len(risk.coverage) > 2000
    assert len(risk_coverage_svg(risk)) < 60_000
    assert len(svg) < 60_000


@pytest.mark.parametrize("points", [1, 2, 399, 400, 401, 20_000])
def test_thinned_keeps_both_ends(points):
    kept = thinned(points)
    assert kept[0] == 0
    assert kept[-1] == points - 1
    assert len(kept) == min(points, 400)
    assert kept == sorted(set(kept))
