"""Column kinds: what a cell means, what is asked, what is learned, and how answers are decoded, written and scored."""

from papertune.kinds.asked import AskedSpec
from papertune.kinds.base import ColumnSpec
from papertune.kinds.keywords import KeywordsColumn, RankedKeywordsColumn
from papertune.kinds.label import Costs, LabelColumn
from papertune.kinds.labels import LabelsColumn
from papertune.kinds.number import NumberColumn
from papertune.kinds.registry import Column
from papertune.kinds.text import TextColumn

__all__ = [
    "AskedSpec",
    "Column",
    "ColumnSpec",
    "Costs",
    "KeywordsColumn",
    "LabelColumn",
    "LabelsColumn",
    "NumberColumn",
    "RankedKeywordsColumn",
    "TextColumn",
]
