"""The report as one HTML page: no script, nothing loaded, light or dark as the reader's system is."""

import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from papertune.evaluation.report.data import ColumnReport, Report, SampleCell, SampleList
from papertune.evaluation.report.plots import (
    curve_svg,
    learning_curve_svg,
    precision_recall_svg,
    reliability_svg,
    risk_coverage_svg,
)
from papertune.evaluation.report.words import (
    best_baseline,
    by_ranking,
    leak_sentences,
    noise_in_words,
    p_value_in_words,
    paired_difference,
    shown_measures,
    sureness,
    unanswered,
    verdict,
)
from papertune.metrics.intervals import COVERAGE, RESAMPLES, Interval
from papertune.metrics.label_scores import LabelScores
from papertune.metrics.phrases import normalise_keyword
from papertune.metrics.scores import Scores

# A wider confusion matrix is not readable on a page; the whole of it is in report.json.
MAX_CONFUSION = 30

# A longer document is folded: this many characters are shown until it is opened.
_SHOWN_OF_DOCUMENT = 300

# More pairs of duplicates are not shown.
_SHOWN_DUPLICATES = 10


def page(report: Report) -> str:
    """Give the HTML page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "score": lambda value: "–" if value is None else f"{value:.3f}",
        "percent": lambda value: f"{value:.1%}",
        "signed": lambda value: f"{value:+.3f}".replace("-", "−"),
        "p_value": p_value_in_words,
        "rate": lambda value: "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2g}",
        "whole": lambda value: "–" if value is None else f"{value:,}",
        "duration": _duration,
    }
    folder = files("papertune.evaluation.report")
    columns = [_column_for_page(column, number) for number, column in enumerate(report.columns, start=1)]
    curves = [
        _figure("Training loss", curve_svg(report.loss_curve, "training loss")),
        _figure("Score on the development table", curve_svg(report.dev_curve, "score")),
    ]
    duplicates = [] if report.leaks is None else report.leaks.duplicates
    sections = [(entry["id"], entry["column"].name) for entry in columns]
    sections += [
        (anchor, name)
        for anchor, name, shown in (
            ("training", "Training", any(curves)),
            ("duplicates", "Papers of both tables", duplicates),
            ("papers", "Some papers", report.samples),
            ("facts", "Facts", report.facts),
        )
        if shown
    ]
    return environment.from_string(folder.joinpath("page.html").read_text(encoding="utf-8")).render(
        report=report,
        # The package's own style sheet is markup that is not escaped; so are the plots, see _figure.
        style=Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),
        sections=sections,
        warnings=leak_sentences(report),
        columns=columns,
        curves=[figure for figure in curves if figure],
        duplicates=duplicates[:_SHOWN_DUPLICATES],
        all_duplicates=len(duplicates),
        samples=[(row, [(cell, _judge(cell)) for cell in row.cells]) for row in report.samples],
        shown_of_document=_SHOWN_OF_DOCUMENT,
        coverage=f"{COVERAGE:.0%}",
        resamples=RESAMPLES,
    )


def _column_for_page(column: ColumnReport, number: int) -> dict[str, Any]:
    """Work out what the template only shows."""
    rows = [
        (contestant, shown_measures(column, contestant), paired_difference(column, contestant))
        for contestant in column.contestants
    ]
    scores = column.contestants[0].scores if column.contestants else None
    baseline = best_baseline(column)
    costs = [
        cost
        for each in column.contestants
        for cost in (each.rows_per_s, each.training_s, each.trained_weights)
        if cost is not None
    ]
    return {
        "column": column,
        "id": f"column-{number}",
        "rows": rows,
        "verdict": verdict(column),
        "unanswered": unanswered(column),
        "axis": _axis([shown[0].interval for _, shown, _ in rows if shown[0].interval is not None]),
        "baseline": "" if baseline is None else baseline.name,
        "by_ranking": by_ranking(column),
        "costs": bool(costs),
        "details": "" if scores is None else scores.template,
        "scores": scores,
        "shares": _shares(scores),
        "learning_curve": _figure(
            "Learning curve", learning_curve_svg(column.learning_curve, rows[0][1][0].name if rows else "")
        ),
        "sureness": sureness(column),
        "figures": _sureness_figures(column),
        "lists": _lists(column),
    }


def _figure(title: str, svg: str, caption: str = "") -> dict[str, Any] | None:
    """Give a plot for the template; None without one. The SVG text is matplotlib's, which escapes what it is given."""
    from markupsafe import Markup

    return {"title": title, "svg": Markup(svg), "caption": caption} if svg else None


def _sureness_figures(column: ColumnReport) -> list[dict[str, Any]]:
    figures: list[dict[str, Any] | None] = []
    if column.calibration is not None:
        caption = "Below the dotted line it is surer than it should be, above it less sure. Bins of about equal size."
        svg = reliability_svg(column.calibration, column.calibration_before)
        figures.append(_figure("Reliability", svg, caption))
    if column.risk_coverage is not None:
        caption = "If only the surest rows are answered, how many of the answers are wrong?"
        figures.append(_figure("Risk and coverage", risk_coverage_svg(column.risk_coverage), caption))
    if column.precision_recall is not None:
        caption = f"Of label {column.positive}, at every threshold of its probability."
        figures.append(_figure("Precision and recall", precision_recall_svg(column.precision_recall), caption))
    return [figure for figure in figures if figure is not None]


def _lists(column: ColumnReport) -> list[dict[str, Any]]:
    """Give the lists of rows to look at."""
    unsure = "Rows whose answer has the lowest probability, right or wrong, given or withheld."
    if column.kind == "labels":
        unsure = "The label of each paper whose probability is nearest to its threshold, right or wrong."
    lists: list[dict[str, Any]] = [
        {
            "title": "Sure, and wrong",
            "explained": "Wrong answers, the surest first. Is the table's label right?",
            "rows": column.mistakes,
            "who": "the run",
        },
        {
            "title": "Least sure",
            "explained": unsure,
            "rows": column.unsure,
            "who": "the run",
        },
    ]
    if column.noise is not None:
        likelier, asked = "another label is likelier", ""
        if column.noise.labels:
            likelier = "the opposite is likelier"
            asked = f" Looked at: whether a paper has each of the {len(column.noise.labels)} most frequent labels."
        explained = (
            f"{noise_in_words(column.noise)}: {likelier} to TF-IDF and logistic regression "
            f"that has learnt from the other rows (five-fold cross-validation, confident learning).{asked}"
        )
        lists.append(
            {
                "title": "Labels that may be wrong",
                "explained": explained,
                "rows": column.noise.candidates,
                "who": "TF-IDF",
            }
        )
    return [each for each in lists if each["rows"]]


def _duration(seconds: float | None) -> str:
    """Give a time in the largest unit that leaves a number of at least 1."""
    if seconds is None:
        return "–"
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds else "none"


def _axis(intervals: Sequence[Interval]) -> Interval:
    """Choose the ends of the axis on which intervals are drawn: twentieths, with some room, from 0 to 1 at most."""
    if not intervals:
        return Interval(0.0, 1.0)
    low = math.floor(min(interval.low for interval in intervals) * 20 - 0.5) / 20
    high = math.ceil(max(interval.high for interval in intervals) * 20 + 0.5) / 20
    return Interval(max(0.0, low), min(1.0, high))


def _shares(scores: Scores | None) -> list[list[float]]:
    """Return each cell of a confusion matrix as a share of the rows with its gold label; nothing if it is too wide."""
    if not isinstance(scores, LabelScores) or len(scores.labels) > MAX_CONFUSION:
        return []
    return [
        [cell / max(label.support, 1) for cell in row]
        for row, label in zip(scores.confusion, scores.per_label, strict=True)
    ]


def _judge(cell: SampleCell | SampleList) -> dict[str, Any]:
    """Tell what of a sample's prediction is right, as far as the table says.

    Returns:
        `right` (True, False, or None if it cannot be said) for a label; `predicted` and `given` as lists of (text,
        whether the other list has it too) for lists, `given` None if the table says nothing, and `nothing`, what an
        empty list says.
    """
    if isinstance(cell, SampleCell):
        return {"right": cell.predicted == cell.given if cell.given else None}
    is_labels = cell.kind == "labels"
    given = None if cell.given is None else _marked(cell.given, cell.predicted, exactly=is_labels)
    return {
        "predicted": _marked(cell.predicted, cell.given or [], exactly=is_labels),
        "given": given,
        "nothing": "none of the labels" if is_labels else "no answer",
    }


def _marked(texts: Sequence[str], others: Sequence[str], *, exactly: bool) -> list[tuple[str, bool]]:
    """Give each text and whether it is among others too, exactly or in the form in which keywords are compared."""
    forms = [text if exactly else normalise_keyword(text) for text in texts]
    known = {text if exactly else normalise_keyword(text) for text in others} - {""}
    return [(text, form in known) for text, form in zip(texts, forms, strict=True)]
