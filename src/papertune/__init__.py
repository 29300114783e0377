"""papertune fine-tunes a language model on a table of papers and fills in columns.

import papertune

run = papertune.train("papers.csv", "medical-papers", "my-run")
filled = run.predict("papers_new.csv")
"""

from typing import TYPE_CHECKING

from papertune.errors import (
    MissingExtraError,
    ModelError,
    OutputError,
    PapertuneError,
    PapertuneWarning,
    RecipeError,
    RunError,
    ScreeningError,
    TableError,
    TrainingStopped,
)
from papertune.startup.foreign_warnings import ignore_unused_kernel
from papertune.startup.late import late_names
from papertune.startup.openmp import limit_spinning

if TYPE_CHECKING:
    from papertune.exports.export import export
    from papertune.pipelines.adopt import adopt
    from papertune.pipelines.calibrate import calibrate
    from papertune.pipelines.comparison.compare import compare
    from papertune.pipelines.evaluate import evaluate
    from papertune.pipelines.prefer import prefer
    from papertune.pipelines.train import train
    from papertune.recipe import Recipe, load_recipe
    from papertune.run import Run, load_run
    from papertune.tables import Table, read_table

__version__ = "0.1.0"

limit_spinning()
ignore_unused_kernel()

# Loaded when first used: torch alone takes seconds, and `papertune --help` needs none of it.
_LATE = {
    "Recipe": "papertune.recipe",
    "Run": "papertune.run",
    "Table": "papertune.tables",
    "adopt": "papertune.pipelines.adopt",
    "calibrate": "papertune.pipelines.calibrate",
    "compare": "papertune.pipelines.comparison.compare",
    "evaluate": "papertune.pipelines.evaluate",
    "export": "papertune.exports.export",
    "load_recipe": "papertune.recipe",
    "load_run": "papertune.run",
    "prefer": "papertune.pipelines.prefer",
    "read_table": "papertune.tables",
    "train": "papertune.pipelines.train",
}

__all__ = [
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "PapertuneError",
    "PapertuneWarning",
    "Recipe",
    "RecipeError",
    "Run",
    "RunError",
    "ScreeningError",
    "Table",
    "TableError",
    "TrainingStopped",
    "adopt",
    "calibrate",
    "compare",
    "evaluate",
    "export",
    "load_recipe",
    "load_run",
    "prefer",
    "read_table",
    "train",
]


__getattr__ = late_names(__name__, _LATE)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
