"""Column kinds: what a cell means, what is asked, what an answer is."""

from papertune.kinds.columns import (
    AskedColumn,
    Column,
    Costs,
    KeywordsColumn,
    LabelColumn,
    LabelsColumn,
    RankedKeywordsColumn,
)

__all__ = [
    "AskedColumn",
    "Column",
    "Costs",
    "KeywordsColumn",
    "LabelColumn",
    "LabelsColumn",
    "RankedKeywordsColumn",
]
