"""`kind = "number"`: a number within a range, or that none is stated."""

from papertune.kinds.number.column import NumberColumn

__all__ = ["NumberColumn"]
