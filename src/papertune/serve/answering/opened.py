"""Runs in memory: as many as fit, and the least recently used one leaves."""

import gc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papertune.recipe import Recipe
from papertune.serve.answering.collecting import collected_warnings
from papertune.serve.answering.wanted import TEXT

if TYPE_CHECKING:
    from papertune.inference.batches import BatchPredictor
    from papertune.run import Run
    from papertune.serve.answering.writing import Writer


class OpenRun:
    """A run with what it needs to answer again and again.

    Args:
        run: The run.

    Attributes:
        recipe: Its recipe; rows need no id, since answers keep their order.
        decisions: How each column is predicted.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.recipe = _with_table(run.recipe, id=None)
        self.decisions: dict[str, Any] = run.decisions if run.recipe.stage.fills_columns else {}
        self._predictors: dict[tuple[str, ...], tuple[BatchPredictor, list[str]]] = {}
        self._writer: Writer | None = None

    def asked(self, columns: tuple[str, ...] | None, *, is_text: bool) -> Recipe:
        """Return the recipe of some columns.

        Args:
            columns: Their names; None: all.
            is_text: Whether each row is the whole document, in a column called `TEXT`.
        """
        recipe = self.recipe if columns is None else self.recipe.only(columns)
        return _with_table(recipe, document=f"{{{TEXT}}}") if is_text else recipe

    def predictor(self, recipe: Recipe) -> "tuple[BatchPredictor, list[str]]":
        """Return what answers the columns of a recipe, and the warnings of loading it; the model stays loaded."""
        names = tuple(recipe.columns)
        if names not in self._predictors:
            with collected_warnings() as texts:
                self._predictors[names] = self.run.predictor("auto", recipe), texts
        return self._predictors[names]

    @property
    def writer(self) -> "Writer":
        """What writes texts with the run's model.

        Raises:
            RunError: If the run has no model.
        """
        from papertune.serve.answering.writing import Writer

        if self._writer is None:
            if self.recipe.columns and self.run.directory.has_model:
                predictor = self.run.model_predictor()
                model, tokenizer = predictor.model, predictor.tokenizer
            else:
                model, tokenizer = self.run.load_to_predict()
            self._writer = Writer(model, tokenizer, self.recipe)
        return self._writer


class OpenRuns:
    """Runs that are open.

    Args:
        find: Returns the folder of a run by its name; raises if there is none.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        capacity: Maximum number of open runs.
    """

    def __init__(self, find: Callable[[str], Path], device: str | None = None, capacity: int = 1) -> None:
        self._find = find
        self._device = device
        self._capacity = capacity
        self._open: OrderedDict[str, tuple[OpenRun, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, name: str) -> OpenRun:
        """Return a run; one that was trained or calibrated anew meanwhile is opened again.

        Raises:
            ServeError: If there is none.
            PapertuneError: If it cannot be opened.
        """
        from papertune.run import load_run

        path = self._find(name)
        if name in self._open:
            known, stamp = self._open.pop(name)
            if stamp == _stamp(path):
                self._open[name] = known, stamp  # now the most recently used one
                return known
            del known
        while len(self._open) >= self._capacity:
            self._open.popitem(last=False)
        gc.collect()  # a model is part of reference cycles
        stamp = _stamp(path)
        opened = OpenRun(load_run(path, device=self._device))
        self._open[name] = opened, stamp
        return opened

    def has_room_for(self, name: str) -> bool:
        """Whether a run can be opened without closing another one."""
        return name in self._open or len(self._open) < self._capacity

    def close(self) -> None:
        """Close all, so that their memory is free."""
        self._open.clear()
        gc.collect()


def _stamp(path: Path) -> int:
    manifest = path / "run.json"
    return manifest.stat().st_mtime_ns if manifest.is_file() else 0


def _with_table(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(update={"table": recipe.table.model_copy(update=changes)})
