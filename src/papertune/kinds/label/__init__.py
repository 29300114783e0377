"""`kind = "label"`: one label of a set."""

from papertune.kinds.label.column import Costs, LabelColumn

__all__ = ["Costs", "LabelColumn"]
