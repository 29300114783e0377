"""The column kinds, in one place. A new kind is one more line here."""

from typing import Annotated

from pydantic import Field

from papertune.kinds.keywords import KeywordsColumn, RankedKeywordsColumn
from papertune.kinds.label import LabelColumn
from papertune.kinds.labels import LabelsColumn

# A column of a recipe; its `kind` says which class reads it.
Column = Annotated[
    LabelColumn | LabelsColumn | KeywordsColumn | RankedKeywordsColumn,
    Field(discriminator="kind"),
]
