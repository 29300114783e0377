"""Training curves as SVG text that takes its colours from the page around it."""

import io
import math
from collections.abc import Sequence

# matplotlib wants colours, the page has them as CSS variables, different in light and dark: each stand-in is a colour
# that occurs nowhere else and is replaced in the SVG text.
_STAND_INS = {"#010203": "var(--ink)", "#010204": "var(--line)", "#010205": "var(--accent)"}
_INK, _LINE, _ACCENT = _STAND_INS

# From this many points on a curve is noise to the eye, and its running mean over a twentieth of it is drawn too.
_MANY = 60


def curve_svg(points: Sequence[tuple[int, float]], y_label: str) -> str:
    """Draw one curve over the optimizer steps.

    Args:
        points: (step, value) in order of steps; values that are not finite leave a gap.
        y_label: What the values are, with their unit if they have one.

    Returns:
        An `<svg>` element for a page with the CSS variables `--ink`, `--line` and `--accent`; "" without points.
    """
    if not points:
        return ""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    steps = [step for step, _ in points]
    values = [value if math.isfinite(value) else math.nan for _, value in points]
    # Text stays text, and the same curve gives the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "papertune", "font.size": 10}):
        figure = Figure(figsize=(5.2, 2.8), layout="constrained")  # inches; the page scales it
        axes = figure.add_subplot()
        if len(points) < _MANY:
            axes.plot(steps, values, color=_ACCENT, linewidth=1.8, marker="o", markersize=3.5)
        else:
            axes.plot(steps, values, color=_ACCENT, linewidth=0.8, alpha=0.35)
            axes.plot(steps, _running_mean(values, len(values) // 20), color=_ACCENT, linewidth=1.8)
        axes.set_xlabel("optimizer step", color=_INK)
        axes.set_ylabel(y_label, color=_INK)
        axes.tick_params(colors=_LINE, labelcolor=_INK)
        axes.grid(visible=True, color=_LINE, linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_LINE)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]  # without the XML prolog, which HTML does not know
    for stand_in, variable in _STAND_INS.items():
        svg = svg.replace(stand_in, variable)
    return svg


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """Give the mean of each value and up to `width` - 1 before it, leaving out those that are not finite."""
    means = []
    for end in range(1, len(values) + 1):
        window = [value for value in values[max(0, end - width) : end] if math.isfinite(value)]
        means.append(sum(window) / len(window) if window else math.nan)
    return means
