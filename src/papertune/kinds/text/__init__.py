"""`kind = "text"`: a free answer, such as a number of patients, a sentence or a translation."""

from papertune.kinds.text.column import TextColumn

__all__ = ["TextColumn"]
