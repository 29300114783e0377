"""A first recipe for a table: which columns it has, and what stands in them."""

from papertune.pipelines.init.label_cells import MAX_LABELS
from papertune.pipelines.init.recipe_text import recipe_for

__all__ = ["MAX_LABELS", "recipe_for"]
