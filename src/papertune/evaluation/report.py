"""The report of an evaluation: one HTML page for people, one JSON file for programs, a few lines for the terminal."""

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from papertune.errors import OutputError
from papertune.evaluation.curves import curve_svg
from papertune.evaluation.intervals import COVERAGE, RESAMPLES, Interval
from papertune.evaluation.keyword_scores import KeywordScores
from papertune.evaluation.label_scores import LabelScores
from papertune.tasks.phrases import normalise_keyword

# A wider confusion matrix is not readable on a page; the whole of it is in report.json.
WIDEST_CONFUSION = 30

# A longer document is folded: this many characters are shown until it is opened.
_SHOWN_OF_DOCUMENT = 360


@dataclass(frozen=True)
class Contestant:
    """One way of filling a column, and how well it did.

    Attributes:
        name: What it is called in tables.
        scores: Its scores, of the column's kind.
        note: A remark shown below the name, such as what it cost.
    """

    name: str
    scores: LabelScores | KeywordScores
    note: str = ""


@dataclass(frozen=True)
class ColumnReport:
    """What is told about one column.

    Attributes:
        name: The column's name in the table.
        kind: "label" or "keywords".
        question: What the model was asked.
        contestants: The run first, then what it is compared with.
    """

    name: str
    kind: str
    question: str
    contestants: list[Contestant]


@dataclass(frozen=True)
class SampleCell:
    """A prediction beside the table's own cell.

    Attributes:
        column: The column's name.
        predicted: What the run says.
        given: What the table says; "" if it says nothing.
        probability: The run's probability of what it says, from 0 to 1; None if it has none.
    """

    column: str
    predicted: str
    given: str
    probability: float | None


@dataclass(frozen=True)
class SampleRow:
    """One paper to look at.

    Attributes:
        id: The row's id in the table.
        document: The text that the model read.
        cells: Its columns.
    """

    id: str
    document: str
    cells: list[SampleCell]


@dataclass(frozen=True)
class Report:
    """All that a report tells.

    Attributes:
        title: The heading.
        table: Name of the table that was scored.
        rows: How many rows it has.
        facts: What else to know (base model, method, versions), in the order to show it.
        columns: The columns that were scored.
        loss_curve: (optimizer step, training loss).
        dev_curve: (optimizer step, score on the development table).
        samples: Papers to look at.
    """

    title: str
    table: str
    rows: int
    facts: dict[str, str]
    columns: list[ColumnReport]
    loss_curve: list[tuple[int, float]]
    dev_curve: list[tuple[int, float]]
    samples: list[SampleRow]


@dataclass(frozen=True)
class Measure:
    """One score of a contestant, as tables show it.

    Attributes:
        key: Its name in report.json.
        name: Its name on the page.
        score: Its value; None where it is not defined.
        interval: Its 95 percent interval, if it has one.
    """

    key: str
    name: str
    score: float | None
    interval: Interval | None = None


def measures(scores: LabelScores | KeywordScores) -> list[Measure]:
    """Give the scores that stand for a contestant; by the first one, which has an interval, they are compared."""
    if isinstance(scores, LabelScores):
        return [
            Measure("accuracy", "Accuracy", scores.accuracy, scores.accuracy_interval),
            Measure("macro_f1", "Macro F1", scores.macro_f1, scores.macro_f1_interval),
            Measure("auc", "AUC", scores.auc),
            Measure("log_loss", "Log loss", scores.log_loss),
        ]
    return [
        Measure("f1_at_5", "F1@5", scores.f1_at_5, scores.f1_at_5_interval),
        Measure("f1_at_o", "F1@O", scores.f1_at_o, scores.f1_at_o_interval),
        Measure("f1_at_m", "F1@M", scores.f1_at_m),
        Measure("present_recall", "Recall, present", None if scores.present is None else scores.present.recall),
    ]


def verdict(column: ColumnReport) -> str:
    """Say in a sentence how the first contestant stands against the best of the others.

    Intervals that do not overlap are a stricter test than a difference at the 5 percent level (Schenker and Gentleman
    2001), so "may be chance" means that this table cannot tell, not that the two are equal.

    Args:
        column: The column with its contestants.

    Returns:
        The sentence; "" if there is nothing to compare with.
    """
    if len(column.contestants) < 2:
        return ""
    run, *others = column.contestants
    best = max(others, key=lambda contestant: _main(contestant)[0])
    score, interval = _main(run)
    best_score, best_interval = _main(best)
    name = measures(run.scores)[0].name
    numbers = f"{name} {score:.3f} against {best_score:.3f}"
    if best_score == score:
        return f"{run.name} and {best.name} have the same score: {numbers}."
    ahead, behind = (run, best) if score > best_score else (best, run)
    if interval.overlaps(best_interval):
        return (
            f"{ahead.name} is ahead of {behind.name}, but the intervals overlap, so the difference may be chance: "
            f"{numbers}."
        )
    return f"{ahead.name} is better than {behind.name}, and the intervals do not overlap: {numbers}."


def summary(report: Report) -> str:
    """Give the report as plain text for the terminal.

    Args:
        report: The report.

    Returns:
        For each column its name, a line per contestant with scores and intervals, and the verdict; no line end at the
        end.
    """
    lines = [f"{report.table}: {report.rows} {'row' if report.rows == 1 else 'rows'}"]
    for column in report.columns:
        lines.append(f"{column.name}:")
        width = max((len(contestant.name) for contestant in column.contestants), default=0)
        for contestant in column.contestants:
            cells = [_in_words(measure) for measure in measures(contestant.scores) if measure.score is not None]
            lines.append(f"  {contestant.name:<{width}}  {'  '.join(cells)}")
        if said := verdict(column):
            lines.append(f"  {said}")
    return "\n".join(lines)


def write_report(report: Report, folder: Path) -> None:
    """Write report.html and report.json.

    The page is one file: no script, nothing from the network, light or dark as the reader's system is. Both files are
    written under another name first and then renamed, so a reader never meets half of one.

    Args:
        report: What to write.
        folder: Where to; made if it is missing. Older reports in it are replaced.

    Raises:
        OutputError: If a file cannot be written.
    """
    contents = {
        "report.html": _page(report),
        "report.json": json.dumps(_plain(report), ensure_ascii=False, indent=2, allow_nan=False) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _write_whole(folder / name, content)
    except OSError as error:
        raise OutputError(
            f"{folder}: the report cannot be written ({error.strerror or error}). Name a folder that can be written to."
        ) from error


def _write_whole(path: Path, content: str) -> None:
    """Write a file under another name, then rename it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Half of a surrogate pair, which JSON lines can hold, has no UTF-8 form; it becomes a question mark.
        part.write_bytes(content.encode("utf-8", errors="replace"))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _main(contestant: Contestant) -> tuple[float, Interval]:
    """Give the score by which a contestant is compared, and its interval."""
    first = measures(contestant.scores)[0]
    assert first.score is not None
    assert first.interval is not None
    return first.score, first.interval


def _in_words(measure: Measure) -> str:
    """Give `Accuracy 0.945 (0.910 to 0.970)`."""
    text = f"{measure.name} {measure.score:.3f}"
    if measure.interval is not None:
        text += f" ({measure.interval.low:.3f} to {measure.interval.high:.3f})"
    return text


def _plain(report: Report) -> dict[str, Any]:
    """Give the report as dicts, lists, strings and finite numbers."""
    return {
        "title": report.title,
        "table": report.table,
        "rows": report.rows,
        "facts": report.facts,
        "contestants": [
            {
                "column": column.name,
                "name": contestant.name,
                "metric": measure.key,
                "score": measure.score,
                "low": measure.interval.low,
                "high": measure.interval.high,
            }
            for column in report.columns
            for contestant in column.contestants
            for measure in measures(contestant.scores)
            if measure.interval is not None
        ],
        "columns": [
            {
                "name": column.name,
                "kind": column.kind,
                "question": column.question,
                "verdict": verdict(column),
                "contestants": [
                    {"name": contestant.name, "note": contestant.note, "scores": contestant.scores.as_dict()}
                    for contestant in column.contestants
                ],
            }
            for column in report.columns
        ],
        "loss_curve": _plain_curve(report.loss_curve),
        "dev_curve": _plain_curve(report.dev_curve),
        "samples": [
            {"id": row.id, "document": row.document, "cells": [vars(cell) for cell in row.cells]}
            for row in report.samples
        ],
    }


def _plain_curve(points: Sequence[tuple[int, float]]) -> list[tuple[int, float | None]]:
    """Give a curve with None for what JSON has no number for."""
    return [(step, value if math.isfinite(value) else None) for step, value in points]


def _page(report: Report) -> str:
    """Give the HTML page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["score"] = lambda value: "–" if value is None else f"{value:.3f}"
    source = files("papertune.evaluation").joinpath("report.html").read_text(encoding="utf-8")
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
        "axis": _axis([interval for contestant in column.contestants for interval in [_main(contestant)[1]]]),
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
