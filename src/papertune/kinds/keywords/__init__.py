"""`kind = "keywords"` and `kind = "ranked_keywords"`: keywords as one list, or each by itself with a confidence."""

from papertune.kinds.keywords.column import KeywordsColumn
from papertune.kinds.keywords.ranked.column import RankedKeywordsColumn

__all__ = ["KeywordsColumn", "RankedKeywordsColumn"]
