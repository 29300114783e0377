"""The plots of the report, as SVG text in the colours of the page."""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from papertune.evaluation.report.data import LearningPoint
from papertune.metrics.calibration import CalibrationScores
from papertune.metrics.screening import PrecisionRecall
from papertune.metrics.selective import RiskCoverage

# matplotlib needs colours, but the page defines them as CSS variables, for light and dark. Each of these colours occurs
# nowhere else and is replaced by its variable in the SVG text.
_PLACEHOLDERS = {
    "#010203": "var(--ink)",
    "#010204": "var(--line)",
    "#010205": "var(--accent)",
    "#010206": "var(--soft)",
    "#010207": "var(--good)",
    "#010208": "var(--bad)",
}
_INK, _LINE, _ACCENT, _SOFT, _GOOD, _BAD = _PLACEHOLDERS

# Lines differ in more than colour, for colour-blind readers and black-and-white prints.
_STYLES = ((_ACCENT, "o", "-"), (_SOFT, "s", "--"), (_GOOD, "^", "-."), (_BAD, "D", ":"), (_INK, "v", "-"))

# Characters of a line in a legend, which fit into the width of a plot even if they are Chinese.
_LEGEND_CHARACTERS = 28

# A curve with at least this many points looks noisy, so its running mean over a twentieth of it is drawn too.
_MANY = 60

# More points of a line make no difference on a screen.
_MAX_POINTS = 400


def curve_svg(points: Sequence[tuple[int, float]], y_label: str) -> str:
    """Draw a curve over the optimizer steps.

    Args:
        points: (step, value) in order of steps; values that are not finite leave a gap.
        y_label: Name of the values, with their unit if they have one.

    Returns:
        An `<svg>` element for a page with the CSS variables `--ink`, `--line`, `--accent`, `--soft`, `--good` and
        `--bad`, like all functions here; "" without points.
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
    ends = f", from {known[0]:.3g} to {known[-1]:.3g}" if known else ""
    return _svg(draw, f"{y_label} over {steps[-1]:,} optimizer steps{ends}")


def learning_curve_svg(curves: Mapping[str, Sequence[LearningPoint]], y_label: str) -> str:
    """Draw the score of each system over its number of training rows, with 95 percent intervals.

    Args:
        curves: The points of each system by its name, in order of training rows.
        y_label: Name of the score.
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
            # Shifted a little, so that intervals at the same number of rows do not hide each other.
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
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("training rows")
        axes.set_ylabel(y_label)
        _add_legend(axes)

    scores = "; ".join(
        f"{name}: " + ", ".join(f"{point.score:.3f} with {point.rows:,}" for point in points)
        for name, points in curves.items()
    )
    return _svg(draw, f"{y_label} over the number of training rows. {scores}")


def reliability_svg(calibrated: CalibrationScores, before: CalibrationScores | None) -> str:
    """Draw the accuracy of a run over its confidence, in bins, with 95 percent intervals.

    Args:
        calibrated: Scores of the run's probabilities.
        before: Scores of the same probabilities before calibration, if the run is calibrated.
    """
    shown = [("before", before, _SOFT, "s", "--"), ("calibrated" if before else "", calibrated, _ACCENT, "o", "-")]

    def draw(axes: Any) -> None:
        lowest = 1.0
        for label, scores, color, marker, line in shown:
            if scores is None:
                continue
            confidence = [each.confidence for each in scores.bins]
            accuracy = [each.accuracy for each in scores.bins]
            if scores is calibrated:
                axes.vlines(
                    confidence,
                    [each.low for each in scores.bins],
                    [each.high for each in scores.bins],
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
        axes.plot([start, 1], [start, 1], color=_INK, linewidth=1, linestyle=":", label="perfect")
        axes.set_xlim(start, 1.02)
        axes.set_ylim(start, 1.02)
        axes.set_xlabel("mean confidence")
        axes.set_ylabel("accuracy")
        _add_legend(axes, columns=2)

    bins = ", ".join(f"accuracy {each.accuracy:.2f} at confidence {each.confidence:.2f}" for each in calibrated.bins)
    return _svg(draw, f"Reliability in {len(calibrated.bins)} bins: {bins}", square=True)


def risk_coverage_svg(curve: RiskCoverage) -> str:
    """Draw the share of wrong predictions over the share of rows that are answered, the most confident first."""
    at = thinned(len(curve.coverage))

    def draw(axes: Any) -> None:
        coverage = [curve.coverage[i] for i in at]
        axes.plot(coverage, [curve.risk[i] for i in at], color=_ACCENT, linewidth=1.8, drawstyle="steps-pre")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("coverage: share of rows answered")
        axes.set_ylabel("risk: share of these wrong")

    return _svg(draw, f"Risk and coverage: {curve.risk[-1]:.3f} wrong if all rows are answered", square=True)


def precision_recall_svg(curve: PrecisionRecall) -> str:
    """Draw precision over recall of the positive label, and the share of positive rows."""
    at = thinned(len(curve.recall))
    share = curve.precision[-1]  # at the lowest threshold every row is predicted to be positive

    def draw(axes: Any) -> None:
        axes.plot(
            [curve.recall[i] for i in at], [curve.precision[i] for i in at], color=_ACCENT, linewidth=1.8, label="run"
        )
        axes.plot([0, 1], [share, share], color=_INK, linewidth=1, linestyle=":", label="by chance")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall: share of these found")
        axes.set_ylabel("precision: share of these right")
        _add_legend(axes, columns=2)

    description = f"Precision and recall, average precision {curve.average_precision:.3f}, by chance {share:.3f}"
    return _svg(draw, description, square=True)


def thinned(points: int) -> list[int]:
    """Return the positions of at most `_MAX_POINTS` points of a line that are drawn, with the first and the last."""
    return [int(at) for at in np.unique(np.linspace(0, points - 1, min(points, _MAX_POINTS)).round())]


def _svg(draw: Callable[[Any], None], description: str, *, square: bool = False) -> str:
    """Draw on new axes and return the SVG text.

    Args:
        draw: Draws on the axes.
        description: The plot in words, for readers who cannot see it.
        square: Whether it is nearly as high as it is wide.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": f"papertune {description}",  # equal plots have equal bytes, different plots different ids
        "font.size": 11,
        "axes.labelcolor": _INK,
        "text.color": _INK,
        "text.parse_math": False,  # a name may contain a $
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
        # The reader's browser has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # In inches; the page scales it.
        figure = Figure(figsize=(3.5, 3.2) if square else (4.6, 2.7), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        figure.savefig(
            text, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None}
        )
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]  # without the XML prolog, which is not HTML
    for placeholder, variable in _PLACEHOLDERS.items():
        svg = svg.replace(placeholder, variable)
    # The ids of groups would not be unique in the page, and nothing refers to them.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)


def _add_legend(axes: Any, columns: int = 1) -> None:
    """Show the names of the lines below the figure; the saved plot grows by the height of the legend."""
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(
        handles,
        [textwrap.fill(label, _LEGEND_CHARACTERS, break_on_hyphens=False) for label in labels],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=0,
        ncols=columns,
        frameon=False,
        labelcolor=_INK,
        fontsize=10,
        handlelength=2.6,
    )


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """Return the mean of each value and the `width` - 1 before it, without those that are not finite."""
    means = []
    for end in range(1, len(values) + 1):
        window = [value for value in values[max(0, end - width) : end] if math.isfinite(value)]
        means.append(sum(window) / len(window) if window else math.nan)
    return means
