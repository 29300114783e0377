"""papertune fine-tunes a language model on a table of papers and fills in columns.

import papertune

run = papertune.train("papers.csv", "medical-papers", "my-run")
filled = run.predict("papers_new.csv")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from papertune.errors import (
    MissingExtraError,
    ModelError,
    OutputError,
    PapertuneError,
    PapertuneWarning,
    RecipeError,
    RunError,
    TableError,
    TrainingStopped,
)
from papertune.garbage import collection_paused

if TYPE_CHECKING:
    from papertune.api.adopt import adopt
    from papertune.api.compare import compare
    from papertune.api.evaluate import evaluate
    from papertune.api.run import Run, load_run
    from papertune.api.train import train
    from papertune.config import Recipe, load_recipe
    from papertune.tables import Table, read_table

__version__ = "0.1.0"

# Loaded when first used: torch alone takes seconds, and `papertune --help` needs none of it.
_LATE = {
    "Recipe": "papertune.config",
    "Run": "papertune.api.run",
    "Table": "papertune.tables",
    "adopt": "papertune.api.adopt",
    "compare": "papertune.api.compare",
    "evaluate": "papertune.api.evaluate",
    "load_recipe": "papertune.config",
    "load_run": "papertune.api.run",
    "read_table": "papertune.tables",
    "train": "papertune.api.train",
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
    "Table",
    "TableError",
    "TrainingStopped",
    "adopt",
    "compare",
    "evaluate",
    "load_recipe",
    "load_run",
    "read_table",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        with collection_paused():
            value = getattr(import_module(_LATE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'papertune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
