"""Screening decisions that programs write into notes, as columns of their own.

notes: ... RAYYAN-INCLUSION: {"Ann"=>"Included", "Bob"=>"Included"} | RAYYAN-LABELS: rct
->  rayyan_inclusion: Included          (where the reviewers differ: Undecided)

notes: ASReview_relevant; ...           (also ASReview_irrelevant, ASReview_not_seen)
->  asreview_label: 1                   (also 0, -1)
"""

import re
from dataclasses import replace

from papertune.tables.table import Table

_RAYYAN = re.compile(r"RAYYAN-INCLUSION\s*:\s*\{([^{}]*)\}", re.IGNORECASE)
# A reviewer's name and decision; Ruby's arrow, also as HTML.
_DECISION = re.compile(r'"(?:[^"\\]|\\.)*"\s*(?:=>|=&gt;|:)\s*"([^"]*)"')
_ASREVIEW = re.compile(r"ASReview_(relevant|irrelevant|not_seen)\b", re.IGNORECASE)
_ASREVIEW_LABELS = {"relevant": "1", "irrelevant": "0", "not_seen": "-1"}


def with_decisions(table: Table) -> Table:
    """Return a table with a column for the decisions in its notes, if there are any; "" in rows without one.

    A column that the table has already stays as it is.
    """
    import polars as pl

    notes = [name for name in table.columns if "note" in name.casefold()]
    derived: dict[str, list[str]] = {}
    for title, mark, read in (
        ("rayyan_inclusion", "RAYYAN-INCLUSION", _rayyan_inclusion),
        ("asreview_label", "ASReview_", _asreview_label),
    ):
        having = [name for name in notes if table.frame[name].str.contains(f"(?i){mark}").any()]
        if having and title not in table.columns:
            derived[title] = [read(" | ".join(cells)) for cells in table.frame.select(having).rows()]
    if not any(any(cells) for cells in derived.values()):
        return table
    frame = table.frame.with_columns(pl.Series(name, cells, dtype=pl.String) for name, cells in derived.items())
    return replace(table, frame=frame, derived=[*table.derived, *derived])


def _rayyan_inclusion(notes: str) -> str:
    decisions = {decision for found in _RAYYAN.findall(notes) for decision in _DECISION.findall(found)} - {""}
    return "Undecided" if len(decisions) > 1 else "".join(decisions)


def _asreview_label(notes: str) -> str:
    found = {_ASREVIEW_LABELS[mark.lower()] for mark in _ASREVIEW.findall(notes)}
    return "".join(found) if len(found) == 1 else ""
