"""The report as one HTML page: no script, nothing loaded, light or dark as the reader's system is."""

import math
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from papertune.evaluation.intervals import COVERAGE, RESAMPLES, Interval
from papertune.evaluation.keyword_scores import KeywordScores
from papertune.evaluation.label_scores import LabelScores
from papertune.evaluation.report.data import ColumnReport, Report, SampleCell
from papertune.evaluation.report.plots import curve_svg
from papertune.evaluation.report.words import main_measure, measures, verdict
from papertune.tasks.phrases import normalise_keyword

# A wider confusion matrix is not readable on a page; the whole of it is in report.json.
WIDEST_CONFUSION = 30

# A longer document is folded: this many characters are shown until it is opened.
_SHOWN_OF_DOCUMENT = 360


def page(report: Report) -> str:
    """Give the HTML page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["score"] = lambda value: "–" if value is None else f"{value:.3f}"
    source = files("papertune.evaluation.report").joinpath("page.html").read_text(encoding="utf-8")
    kinds = {column.name: column.kind for column in report.columns}
    curves = [
        (title, curve_svg(points, label))
        for title, points, label in (
            ("Training loss", report.loss_curve, "training loss"),
            ("Score on the development table", report.dev_curve, "score"),
        )
    ]
    return environment.from_string(source).render(
        report=report,
        columns=[_column_for_page(column) for column in report.columns],
        # The only markup that is not escaped: matplotlib's own, in which no text of the table occurs.
        curves=[(title, Markup(svg)) for title, svg in curves if svg],
        samples=[
            (row, [(cell, _judge(cell, kinds.get(cell.column, ""))) for cell in row.cells]) for row in report.samples
        ],
        shown_of_document=_SHOWN_OF_DOCUMENT,
        coverage=f"{COVERAGE:.0%}",
        resamples=RESAMPLES,
    )


def _column_for_page(column: ColumnReport) -> dict[str, Any]:
    """Work out what the template only shows."""
    rows = [(contestant, measures(contestant.scores)) for contestant in column.contestants]
    scores = column.contestants[0].scores if column.contestants else None
    labels = scores if isinstance(scores, LabelScores) else None
    return {
        "column": column,
        "rows": rows,
        "verdict": verdict(column),
        "axis": _axis([interval for contestant in column.contestants for interval in [main_measure(contestant)[1]]]),
        "labels": labels,
        "keywords": scores if isinstance(scores, KeywordScores) else None,
        "shares": [] if labels is None or len(labels.labels) > WIDEST_CONFUSION else _shares(labels),
    }


def _axis(intervals: Sequence[Interval]) -> Interval:
    """Choose the ends of the axis on which intervals are drawn: twentieths, with some room, from 0 to 1 at most."""
    if not intervals:
        return Interval(0.0, 1.0)
    low = math.floor(min(interval.low for interval in intervals) * 20 - 0.5) / 20
    high = math.ceil(max(interval.high for interval in intervals) * 20 + 0.5) / 20
    return Interval(max(0.0, low), min(1.0, high))


def _shares(scores: LabelScores) -> list[list[float]]:
    """Give each cell of the confusion matrix as a share of the rows that have its true label."""
    return [
        [cell / max(label.support, 1) for cell in row]
        for row, label in zip(scores.confusion, scores.per_label, strict=True)
    ]


def _judge(cell: SampleCell, kind: str) -> dict[str, Any]:
    """Tell what of a sample's prediction is right, as far as the table says.

    Returns:
        `right` (True, False, or None if it cannot be said) for labels; `predicted` and `given` as lists of (keyword,
        whether the other list has it too) for keywords.
    """
    if kind != "keywords":
        return {"right": cell.predicted == cell.given if cell.given else None}
    predicted, given = _keywords(cell.predicted), _keywords(cell.given)
    return {
        "right": None,
        "predicted": [(keyword, stems in given.values()) for keyword, stems in predicted.items()],
        "given": [(keyword, stems in predicted.values()) for keyword, stems in given.items()],
    }


def _keywords(cell: str) -> dict[str, str]:
    """Split a cell at semicolons, or at commas if there are none; give the normal form of each keyword."""
    parts = re.split("[;；]", cell) if re.search("[;；]", cell) else re.split("[,，]", cell)
    return {part.strip(): normalise_keyword(part) for part in parts if part.strip()}
