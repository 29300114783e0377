"""The report as one HTML page without scripts that loads nothing; light or dark like the reader's system."""

import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from papertune.evaluation.report.data import ColumnReport, Report, SampleCell, SampleList, SampleText
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
    confidence_facts,
    label_errors_in_words,
    leak_sentences,
    p_value_in_words,
    paired_difference,
    shown_measures,
    unanswered,
    verdict,
)
from papertune.metrics.intervals import COVERAGE, RESAMPLES, Interval
from papertune.metrics.label_scores import LabelScores
from papertune.metrics.phrases import normalise_keyword
from papertune.metrics.scores import Scores

# A wider confusion matrix is not readable on a page; report.json has it.
MAX_CONFUSION = 30

# Characters of a long document that are shown until it is unfolded.
_SHOWN_OF_DOCUMENT = 300

_MAX_DUPLICATES = 10

# Names of facts that the page words otherwise than report.json, whose keys stay as they are.
_SHOWN_FACTS = {"trained weights": "trainable parameters", "learnt from": "training tables"}


def page(report: Report) -> str:
    """Return the HTML page."""
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
        duplicates=duplicates[:_MAX_DUPLICATES],
        all_duplicates=len(duplicates),
        facts={_SHOWN_FACTS.get(name, name): value for name, value in report.facts.items()},
        samples=[(row, [(cell, _judge(cell)) for cell in row.cells]) for row in report.samples],
        shown_of_document=_SHOWN_OF_DOCUMENT,
        coverage=f"{COVERAGE:.0%}",
        resamples=RESAMPLES,
    )


def _column_for_page(column: ColumnReport, number: int) -> dict[str, Any]:
    """Return what the template shows of a column."""
    rows = [(system, shown_measures(column, system), paired_difference(column, system)) for system in column.systems]
    scores = column.systems[0].scores if column.systems else None
    baseline = best_baseline(column)
    costs = [
        cost
        for each in column.systems
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
        "confidence": confidence_facts(column),
        "figures": _confidence_figures(column),
        "lists": _lists(column),
    }


def _figure(title: str, svg: str, caption: str = "") -> dict[str, Any] | None:
    """Return a plot for the template; None without one. The SVG text is from matplotlib, which escapes its input."""
    from markupsafe import Markup

    return {"title": title, "svg": Markup(svg), "caption": caption} if svg else None


def _confidence_figures(column: ColumnReport) -> list[dict[str, Any]]:
    figures: list[dict[str, Any] | None] = []
    if column.calibration is not None:
        caption = "Below the dotted line the confidence is too high, above it too low. Bins of about equal size."
        svg = reliability_svg(column.calibration, column.calibration_before)
        figures.append(_figure("Reliability", svg, caption))
    if column.risk_coverage is not None:
        caption = "If only the most confident rows are answered, how many of the answers are wrong?"
        figures.append(_figure("Risk and coverage", risk_coverage_svg(column.risk_coverage), caption))
    if column.precision_recall is not None:
        caption = f"Of label {column.positive}, at every threshold of its probability."
        figures.append(_figure("Precision and recall", precision_recall_svg(column.precision_recall), caption))
    return [figure for figure in figures if figure is not None]


def _lists(column: ColumnReport) -> list[dict[str, Any]]:
    """Return the lists of rows to look at."""
    uncertain = "Predictions with the lowest confidence, right or wrong; rows where the run abstains are among them."
    if column.kind == "labels":
        uncertain = "The label of each paper whose probability is nearest to its threshold, right or wrong."
    lists: list[dict[str, Any]] = [
        {
            "title": "Confident errors",
            "explained": "Wrong predictions, the most confident first. Is the label in the table right?",
            "rows": column.confident_errors,
            "who": "the run",
        },
        {
            "title": "Uncertain rows",
            "explained": uncertain,
            "rows": column.uncertain_rows,
            "who": "the run",
        },
    ]
    if column.label_errors is not None:
        likelier, checked = "another label is more probable", ""
        if column.label_errors.labels:
            likelier = "the opposite is more probable"
            checked = f" Only the {len(column.label_errors.labels)} most frequent labels are checked."
        explained = (
            f"{label_errors_in_words(column.label_errors)}: {likelier} to TF-IDF and logistic regression "
            f"trained on the other rows (five-fold cross-validation, confident learning).{checked}"
        )
        lists.append(
            {
                "title": "Likely label errors",
                "explained": explained,
                "rows": column.label_errors.candidates,
                "who": "TF-IDF",
            }
        )
    return [each for each in lists if each["rows"]]


def _duration(seconds: float | None) -> str:
    """Format a time in the largest unit in which it is at least 1."""
    if seconds is None:
        return "–"
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds else "none"


def _axis(intervals: Sequence[Interval]) -> Interval:
    """Choose the ends of the axis for intervals: multiples of 0.05 with some room, from 0 to 1 at most."""
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
    """Compare a predicted cell of a sample with the table.

    Returns:
        For a label or a text, `right`: True, False, or None where it cannot be judged; and `shows_gold`: whether the
        table's cell is shown. For lists, `predicted` and `given`: lists of (text, whether the other list has it too),
        `given` None without a gold cell; and `nothing`: an empty list in words.
    """
    if isinstance(cell, SampleText):
        return {"right": None, "shows_gold": bool(cell.given)}
    if isinstance(cell, SampleCell):
        right = cell.predicted == cell.given if cell.given else None
        return {"right": right, "shows_gold": right is False}
    is_labels = cell.kind == "labels"
    given = None if cell.given is None else _marked(cell.given, cell.predicted, exactly=is_labels)
    return {
        "predicted": _marked(cell.predicted, cell.given or [], exactly=is_labels),
        "given": given,
        "nothing": "none of the labels" if is_labels else "no answer",
    }


def _marked(texts: Sequence[str], others: Sequence[str], *, exactly: bool) -> list[tuple[str, bool]]:
    """Return each text and whether it is among others too, compared exactly or like keywords."""
    forms = [text if exactly else normalise_keyword(text) for text in texts]
    known = {text if exactly else normalise_keyword(text) for text in others} - {""}
    return [(text, form in known) for text, form in zip(texts, forms, strict=True)]
