"""The report of an evaluation: one HTML page for people, one JSON file for programs, a few lines for the terminal."""

from papertune.evaluation.report.data import (
    Abstention,
    ColumnReport,
    LabelSets,
    LearningPoint,
    Report,
    SampleCell,
    SampleList,
    SampleRow,
    SampleText,
    SystemReport,
)
from papertune.evaluation.report.rows import sample_rows, with_rows_to_look_at
from papertune.evaluation.report.words import main_measure, shown_measures, summary, verdict
from papertune.evaluation.report.writing import write_report

__all__ = [
    "Abstention",
    "ColumnReport",
    "LabelSets",
    "LearningPoint",
    "Report",
    "SampleCell",
    "SampleList",
    "SampleRow",
    "SampleText",
    "SystemReport",
    "main_measure",
    "sample_rows",
    "shown_measures",
    "summary",
    "verdict",
    "with_rows_to_look_at",
    "write_report",
]
