"""`kind = "labels"`: none, one or several labels of a set."""

from papertune.kinds.labels.column import LabelsColumn

__all__ = ["LabelsColumn"]
