"""The column kinds. A new kind is a package of its own and a line in `KINDS`."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from papertune.kinds.base import ColumnSpec
from papertune.kinds.keywords.column import KeywordsColumn
from papertune.kinds.keywords.ranked.column import RankedKeywordsColumn
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.labels.column import LabelsColumn
from papertune.kinds.number.column import NumberColumn
from papertune.kinds.text.column import TextColumn

KINDS: tuple[type[ColumnSpec], ...] = (
    LabelColumn,
    LabelsColumn,
    KeywordsColumn,
    RankedKeywordsColumn,
    TextColumn,
    NumberColumn,
)

# The type of `columns.NAME` in a recipe: the class is chosen by `kind`.
if TYPE_CHECKING:
    Column = ColumnSpec
else:
    Column = Annotated[reduce(or_, KINDS), Field(discriminator="kind")]


def columns_by_kind() -> dict[str, type[ColumnSpec]]:
    """Return the classes by the value of `kind`."""
    return {kind.kind_name(): kind for kind in KINDS}
