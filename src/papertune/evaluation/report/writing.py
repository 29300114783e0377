"""The files of a report: report.html for people, report.json for programs."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from papertune.errors import OutputError
from papertune.evaluation.report.data import ColumnReport, Report, SystemReport
from papertune.evaluation.report.page import page
from papertune.evaluation.report.plots import thinned
from papertune.evaluation.report.words import by_ranking, verdict
from papertune.files import write_atomically


def write_report(report: Report, folder: Path) -> None:
    """Write report.html and report.json.

    Args:
        report: The report.
        folder: The folder; made if it is missing. An older report in it is replaced.

    Raises:
        OutputError: If a file cannot be written.
    """
    contents = {
        "report.html": page(report),
        "report.json": json.dumps(_plain(report), ensure_ascii=False, indent=2, allow_nan=False) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            # Half of a surrogate pair, which JSON lines can hold, has no UTF-8 form; it becomes a question mark.
            write_atomically(folder / name, content.encode(errors="replace"))
    except OSError as error:
        raise OutputError(
            f"{folder}: the report cannot be written ({error.strerror or error}). Name a folder that can be written to."
        ) from error


def _plain(report: Report) -> dict[str, Any]:
    """Return the report as dicts, lists, strings and finite numbers."""
    return {
        "title": report.title,
        "table": report.table,
        "rows": report.rows,
        "facts": report.facts,
        "contestants": [
            {
                "column": column.name,
                "name": system.name,
                "metric": measure.key,
                "score": measure.score,
                "low": measure.interval.low,
                "high": measure.interval.high,
            }
            for column in report.columns
            for system in column.systems
            for measure in system.scores.measures()
            if measure.interval is not None
        ],
        # Of the first column with probabilities; `columns` has all.
        "calibration": next(
            (
                {"column": column.name, **asdict(column.calibration)}
                for column in report.columns
                if column.calibration is not None
            ),
            None,
        ),
        "columns": [_plain_column(column) for column in report.columns],
        "loss_curve": _plain_curve(report.loss_curve),
        "dev_curve": _plain_curve(report.dev_curve),
        "leaks": None if report.leaks is None else asdict(report.leaks),
        "samples": [asdict(row) for row in report.samples],
    }


def _plain_column(column: ColumnReport) -> dict[str, Any]:
    risk, precision, errors = column.risk_coverage, column.precision_recall, column.label_errors
    return {
        "name": column.name,
        "kind": column.kind,
        "question": column.question,
        "verdict": verdict(column),
        "is_screening": by_ranking(column),
        "facts": column.facts,
        "contestants": [_plain_system(system) for system in column.systems],
        "learning_curve": {name: [asdict(point) for point in points] for name, points in column.learning_curve.items()},
        "calibration": _plain_part(column.calibration),
        "calibration_before": _plain_part(column.calibration_before),
        # Curves have as many points as are drawn.
        "risk_coverage": risk
        and {
            "area": risk.area,
            "points": [
                dict(zip(("coverage", "risk"), point, strict=True)) for point in _thinned(risk.coverage, risk.risk)
            ],
        },
        "abstention": _plain_part(column.abstention),
        "label_sets": _plain_part(column.label_sets),
        "precision_recall": precision
        and {
            "positive": column.positive,
            "average_precision": precision.average_precision,
            "points": [
                {
                    "recall": precision.recall[i],
                    "precision": precision.precision[i],
                    "threshold": precision.thresholds[i],
                }
                for i in thinned(len(precision.recall))
            ],
        },
        "work_saved": _plain_part(column.work_saved),
        "mistakes": [row.as_dict() for row in column.confident_errors],
        "unsure": [row.as_dict() for row in column.uncertain_rows],
        "noise": errors and {**asdict(errors), "candidates": [row.as_dict() for row in errors.candidates]},
    }


def _plain_system(system: SystemReport) -> dict[str, Any]:
    return {
        "name": system.name,
        "note": system.note,
        "scores": system.scores.as_dict(),
        "paired": _plain_part(system.paired),
        "paired_average_precision": _plain_part(system.paired_average_precision),
        "rows_per_s": system.rows_per_s,
        "training_s": system.training_s,
        "trained_weights": system.trained_weights,
        "prompt": system.prompt,
    }


def _plain_part(part: Any) -> dict[str, Any] | None:
    return None if part is None else asdict(part)


def _thinned(*values: Sequence[float]) -> list[tuple[float, ...]]:
    """Return the points of a curve that are drawn, from their coordinates."""
    return [tuple(of[i] for of in values) for i in thinned(len(values[0]))]


def _plain_curve(points: Sequence[tuple[int, float]]) -> list[tuple[int, float | None]]:
    """Return a curve with None for numbers that JSON does not have."""
    return [(step, value if math.isfinite(value) else None) for step, value in points]
