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
    """Check that an SVG element has the colours of the page, and that its text or description contains `shown`."""
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("role") == "img"
    text = "".join(root.itertext())
    for word in shown:
        assert word in text or word in root.get("aria-label"), word
    # A colour of its own could be invisible in light or dark, and an id could not be unique in the page.
    assert not re.search(r"#[0-9a-f]{6}\b", svg.replace("url(#", ""))
    assert "var(--ink)" in svg
    assert '<g id="' not in svg
    return root


@pytest.mark.parametrize("count", [1, 10, 500])
def test_curves_over_steps(count):
    points = [(step, float(step)) for step in range(count)]
    svg = curve_svg(points, "training loss")
    check(svg, "training loss", "optimizer step", f"from 0 to {count - 1}")
    assert "var(--accent)" in svg
    # Without a date, equal curves have equal bytes.
    assert svg == curve_svg(points, "training loss")


def test_curves_may_have_gaps_or_no_points():
    assert curve_svg([], "score") == ""
    check(curve_svg([(1, float("nan")), (2, float("inf")), (3, 1.0)], "score"))
    check(curve_svg([(step, float("nan")) for step in range(100)], "score"), "score over 99 optimizer steps")


def test_learning_curves_may_have_names_with_chinese_and_markup():
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


def legend_lines(svg):
    """Return the lines of text of the legend with the places where their keys begin and they end, and the width."""
    root = ElementTree.fromstring(svg)
    lines = []
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        if "font-size: 10px" in text.get("style"):  # the axes have a larger font
            start = float(text.get("x") or re.match(r"translate\(([\d.]+) ", text.get("transform")).group(1))
            chinese = sum(ord(character) > 0x2E80 for character in text.text)
            plain = "".join(character for character in text.text if ord(character) <= 0x2E80).strip()
            width = TextPath((0, 0), plain, size=10).get_extents().width if plain else 0.0
            lines.append((text.text, start - 34, start + 10 * chinese + width))
    return lines, float(root.get("viewBox").split()[2])


@pytest.mark.parametrize(
    "names", [LONG_NAMES, ["W" * 17, "V" * 17], LONG_NAMES[3:4], ["run", "TF-IDF", "majority"]], ids=len
)
def test_a_legend_shows_whole_names_within_the_plot(names):
    points = [LearningPoint(50, 0.7, 0.6, 0.8)]
    svg = learning_curve_svg(dict.fromkeys(names, points), "Accuracy")
    lines, width = legend_lines(svg)
    assert "".join(text for text, _, _ in lines).replace(" ", "") == "".join(names).replace(" ", "")
    for text, start, end in lines:
        assert 0 <= start < end <= width, text
    check(svg, *names)  # the description also has them


def test_reliability_before_and_after_calibration():
    after, before = score_calibration(PROBABILITIES, TRUE_IDS), score_calibration(PROBABILITIES.round(1), TRUE_IDS)
    alone = check(reliability_svg(after, None), "Reliability in 10 bins", "mean confidence", "accuracy")
    assert "before" not in "".join(alone.itertext())
    check(reliability_svg(after, before), "before", "calibrated", "perfect")
    one = score_calibration(PROBABILITIES[:1], np.array([0]))
    check(reliability_svg(one, None), "Reliability in 1 bins: ")


def test_curves_of_many_rows_are_thinned():
    risk = risk_coverage(PROBABILITIES, TRUE_IDS)
    check(risk_coverage_svg(risk), f"{risk.risk[-1]:.3f} wrong if all rows are answered")
    precision = precision_recall(FIRST, TRUE_IDS == 0)
    svg = precision_recall_svg(precision)
    check(svg, f"average precision {precision.average_precision:.3f}", "by chance")
    assert len(risk.coverage) > 2000
    assert len(risk_coverage_svg(risk)) < 60_000
    assert len(svg) < 60_000


@pytest.mark.parametrize("points", [1, 2, 399, 400, 401, 20_000])
def test_thinned_curves_keep_both_ends(points):
    kept = thinned(points)
    assert kept[0] == 0
    assert kept[-1] == points - 1
    assert len(kept) == min(points, 400)
    assert kept == sorted(set(kept))
