"""The report's plots as SVG text that takes its colours from the page around it."""

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from papertune.evaluation.report.data import LearningPoint
from papertune.metrics.calibration import CalibrationScores
from papertune.metrics.screening import PrecisionRecall
from papertune.metrics.selective import RiskCoverage

# matplotlib wants colours, the page has them as CSS variables, different in light and dark: each stand-in is a colour
# that occurs nowhere else and is replaced in the SVG text.
_STAND_INS = {
    "#010203": "var(--ink)",
    "#010204": "var(--line)",
    "#010205": "var(--accent)",
    "#010206": "var(--soft)",
    "#010207": "var(--good)",
    "#010208": "var(--bad)",
}
_INK, _LINE, _ACCENT, _SOFT, _GOOD, _BAD = _STAND_INS

# Lines differ in more than colour, for readers who do not see colours, and for black and white prints.
_STYLES = ((_ACCENT, "o", "-"), (_SOFT, "s", "--"), (_GOOD, "^", "-."), (_BAD, "D", ":"), (_INK, "v", "-"))

# In points; and in units of this size what matplotlib leaves free around a legend (twice borderpad and borderaxespad),
# what a line's key takes with the gap behind it (handlelength and handletextpad), and the gap between two columns.
_LEGEND_FONT = 10
_LEGEND_AROUND, _LEGEND_KEY, _LEGEND_APART = 1.8, 3.4, 2.0

# From this many points on a curve is noise to the eye, and its running mean over a twentieth of it is drawn too.
_MANY = 60

# A line of more points is no finer on a screen.
_MAX_POINTS = 400


def curve_svg(points: Sequence[tuple[int, float]], y_label: str) -> str:
    """Draw one curve over the optimizer steps.

    Args:
        points: (step, value) in order of steps; values that are not finite leave a gap.
        y_label: What the values are, with their unit if they have one.

    Returns:
        An `<svg>` element for a page with the CSS variables `--ink`, `--line`, `--accent`, `--soft`, `--good` and
        `--bad`, as all functions here do; "" without points.
    """
    if not points:
        return ""
    steps = [step for step, _ in points]
    values = [value if math.isfinite(value) else math.nan for _, value in points]

    def draw(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        if len(points) < _MANY:
            axes.plot(steps, values, color=_ACCENT, linewidth=1.8, marker="o", markersize=3.5)
        else:
            shown = thinned(len(points))
            axes.plot([steps[i] for i in shown], [values[i] for i in shown], color=_ACCENT, linewidth=0.8, alpha=0.35)
            means = _running_mean(values, len(values) // 20)
            axes.plot([steps[i] for i in shown], [means[i] for i in shown], color=_ACCENT, linewidth=1.8)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(y_label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

    known = [value for value in values if math.isfinite(value)]
    ends = f", {known[0]:.3g} at first and {known[-1]:.3g} at last" if known else ""
    return _svg(draw, f"{y_label} over {steps[-1]:,} optimizer steps{ends}")


def learning_curve_svg(curves: Mapping[str, Sequence[LearningPoint]], y_label: str) -> str:
    """Draw the score of each contestant over the rows that it learnt from, with 95 percent intervals.

    Args:
        curves: For each contestant's name its points, few rows first.
        y_label: What the score is.
    """
    sizes = sorted({point.rows for points in curves.values() for point in points})
    if not sizes:
        return ""

    def draw(axes: Any) -> None:
        for number, (name, points) in enumerate(curves.items()):
            color, marker, line = _STYLES[number % len(_STYLES)]
            scores = [point.score for point in points]
            spread = [
                [max(0.0, point.score - point.low) for point in points],
                [max(0.0, point.high - point.score) for point in points],
            ]
            # A little apart, so that intervals at the same number of rows do not hide each other.
            rows = [point.rows * 1.03 ** (number - (len(curves) - 1) / 2) for point in points]
            axes.errorbar(
                rows,
                scores,
                yerr=spread,
                color=color,
                marker=marker,
                linestyle=line,
                markersize=4.5,
                linewidth=1.6,
                elinewidth=0.9,
                capsize=2.5,
                label=name,
            )
        # Twice the rows are one step to the right wherever one starts.
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("training rows")
        axes.set_ylabel(y_label)
        _legend(axes)

    told = "; ".join(
        f"{name}: " + ", ".join(f"{point.score:.3f} with {point.rows:,}" for point in points)
        for name, points in curves.items()
    )
    return _svg(draw, f"{y_label} over the number of training rows. {told}")


def reliability_svg(calibrated: CalibrationScores, before: CalibrationScores | None) -> str:
    """Draw how often the run is right over how sure it says it is, in bins, with 95 percent intervals.

    Args:
        calibrated: Of the probabilities as the run gives them.
        before: Of the same before they were calibrated, if they were.
    """
    shown = [("before", before, _SOFT, "s", "--"), ("calibrated" if before else "", calibrated, _ACCENT, "o", "-")]

    def draw(axes: Any) -> None:
        lowest = 1.0
        for label, scores, color, marker, line in shown:
            if scores is None:
                continue
            confidence = [part.confidence for part in scores.bins]
            accuracy = [part.accuracy for part in scores.bins]
            if scores is calibrated:
                axes.vlines(
                    confidence,
                    [part.low for part in scores.bins],
                    [part.high for part in scores.bins],
                    color=color,
                    linewidth=0.9,
                )
            axes.plot(
                confidence,
                accuracy,
                color=color,
                marker=marker,
                linestyle=line,
                markersize=4.5,
                linewidth=1.4,
                label=label,
            )
            lowest = min([lowest, *confidence, *accuracy])
        start = max(0.0, math.floor(lowest * 10 - 0.5) / 10)
        axes.plot([start, 1], [start, 1], color=_INK, linewidth=1, linestyle=":", label="as sure as right")
        axes.set_xlim(start, 1.02)
        axes.set_ylim(start, 1.02)
        axes.set_xlabel("how sure: mean probability")
        axes.set_ylabel("how often right: accuracy")
        _legend(axes)

    told = ", ".join(f"{part.accuracy:.2f} right where {part.confidence:.2f} sure" for part in calibrated.bins)
    return _svg(draw, f"Reliability in {len(calibrated.bins)} bins: {told}", square=True)


def risk_coverage_svg(curve: RiskCoverage) -> str:
    """Draw the share of wrong answers over the share of rows that are answered, the surest first."""
    at = thinned(len(curve.coverage))

    def draw(axes: Any) -> None:
        coverage = [curve.coverage[i] for i in at]
        axes.plot(coverage, [curve.risk[i] for i in at], color=_ACCENT, linewidth=1.8, drawstyle="steps-pre")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("share of rows answered, surest first")
        axes.set_ylabel("share of these wrong")

    return _svg(draw, f"Risk and coverage: {curve.risk[-1]:.3f} wrong if all rows are answered", square=True)


def precision_recall_svg(curve: PrecisionRecall) -> str:
    """Draw precision over recall of the positive label, beside the share of positive rows."""
    at = thinned(len(curve.recall))
    share = curve.precision[-1]  # with the lowest threshold every row is called positive

    def draw(axes: Any) -> None:
        axes.plot(
            [curve.recall[i] for i in at], [curve.precision[i] for i in at], color=_ACCENT, linewidth=1.8, label="run"
        )
        axes.plot([0, 1], [share, share], color=_INK, linewidth=1, linestyle=":", label="by chance")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall: share of them found")
        axes.set_ylabel("precision: share of these right")
        _legend(axes)

    told = f"Precision and recall, average precision {curve.average_precision:.3f}, by chance {share:.3f}"
    return _svg(draw, told, square=True)


def thinned(points: int) -> list[int]:
    """Give the positions, at most `_MAX_POINTS`, of the points of a line to draw, with the first and the last."""
    return [int(at) for at in np.unique(np.linspace(0, points - 1, min(points, _MAX_POINTS)).round())]


def _svg(draw: Callable[[Any], None], told: str, *, square: bool = False) -> str:
    """Draw on new axes and give the SVG text.

    Args:
        draw: Draws on the axes.
        told: What the plot shows, in words, for readers who cannot see it.
        square: Whether it is nearly as high as it is wide.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": f"papertune {told}",  # the same plot gives the same bytes, another one other ids
        "font.size": 11,
        "axes.labelcolor": _INK,
        "text.color": _INK,
        "text.parse_math": False,  # a name may have a $
        "xtick.color": _LINE,
        "xtick.labelcolor": _INK,
        "ytick.color": _LINE,
        "ytick.labelcolor": _INK,
        "axes.edgecolor": _LINE,
        "axes.grid": True,
        "grid.color": _LINE,
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    text = io.StringIO()
    with mpl.rc_context(settings), warnings.catch_warnings():
        # The reader's browser has the letters of a name that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(
            figsize=(3.5, 3.2) if square else (4.6, 2.7), layout="constrained"
        )  # inches; the page scales it
        axes = figure.add_subplot()
        draw(axes)
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]  # without the XML prolog, which HTML does not know
    for stand_in, variable in _STAND_INS.items():
        svg = svg.replace(stand_in, variable)
    # Names of groups would stand in the page once for each plot, and nothing refers to them.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(told)}" ', 1)


def _legend(axes: Any) -> None:
    """Name the lines below the plot, where they hide none of it, in two columns if they fit.

    A name that is too long for the plot is shortened; the whole one is in the plot's description and in the tables.
    """
    handles, labels = axes.get_legend_handles_labels()
    columns = [labels[: (len(labels) + 1) // 2], labels[(len(labels) + 1) // 2 :]]  # matplotlib fills the first first
    around, key, apart = (size * _LEGEND_FONT for size in (_LEGEND_AROUND, _LEGEND_KEY, _LEGEND_APART))
    room = 72 * axes.figure.get_figwidth() - around  # in points
    side_by_side = sum(key + max(map(_text_width, column), default=0.0) for column in columns) + apart
    axes.figure.legend(
        handles,
        [shortened(label, room - key) for label in labels],
        loc="outside lower center",
        ncols=2 if side_by_side <= room else 1,
        frameon=False,
        labelcolor=_INK,
        fontsize=_LEGEND_FONT,
        handlelength=2.6,
    )


def shortened(label: str, room: float) -> str:
    """Leave out the middle of a legend's label that is wider than the room for it.

    More is left of the end, where the paths of two models differ.

    Args:
        label: The label.
        room: In points.
    """
    if _text_width(label) <= room:
        return label
    # No letter is narrower than two points.
    for kept in range(min(len(label) - 1, int(room / 2)), 0, -1):
        head = kept // 3
        short = f"{label[:head]}…{label[len(label) - (kept - head) :]}"
        if _text_width(short) <= room:
            return short
    return "…"


def _text_width(label: str) -> float:
    """Give the width of a legend's label in points, in the first and widest font that matplotlib names in the SVG."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    # Chinese letters are as wide as high. Matplotlib's own font has none: it takes them for 0.6 of that and centres the
    # legend by it, so each sticks out by another 0.4.
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in label)
    narrow = "".join(character for character in label if unicodedata.east_asian_width(character) not in "WF")
    measured = text_to_path.get_text_width_height_descent(narrow, FontProperties(size=_LEGEND_FONT), ismath=False)[0]
    return float(measured) + 1.4 * wide * _LEGEND_FONT


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """Give the mean of each value and up to `width` - 1 before it, leaving out those that are not finite."""
    means = []
    for end in range(1, len(values) + 1):
        window = [value for value in values[max(0, end - width) : end] if math.isfinite(value)]
        means.append(sum(window) / len(window) if window else math.nan)
    return means
