"""What a user gives to a training of any stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertune.errors import RecipeError
from papertune.recipe import Recipe


@dataclass(frozen=True)
class TrainingRequest:
    """What to learn from, as in `papertune.pipelines.train.train`."""

    tables: Any
    dev: Any = None
    dev_fraction: float = 0.0
    only: Sequence[str] = ()
    base: str | Path | None = None

    @property
    def table_list(self) -> list[Any]:
        """The tables; a list of dicts is one."""
        many = isinstance(self.tables, list | tuple) and not (self.tables and isinstance(self.tables[0], Mapping))
        return list(self.tables) if many else [self.tables]

    @property
    def dev_list(self) -> list[Any]:
        """The dev table, if there is one."""
        return [] if self.dev is None else [self.dev]

    @property
    def base_place(self) -> Path | None:
        """Where the user says that the base model is; None: where the recipe says."""
        return None if self.base is None else Path(self.base)

    def dev_share(self, recipe: Recipe) -> float:
        """Return the share of the rows that become dev rows; 0 if there is a dev table.

        Raises:
            RecipeError: If the user asks for both.
        """
        if self.dev is None:
            return self.dev_fraction or recipe.training.dev_fraction
        if self.dev_fraction:
            raise RecipeError("--dev and --dev-fraction exclude each other. Give one of them.")
        return 0.0
