"""A run in memory, with what it needs to answer again and again."""

import gc
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papertune.recipe import Recipe
from papertune.serve.answering.wanted import TEXT
from papertune.serve.collecting import collected_warnings
from papertune.serve.errors import ServeError
from papertune.serve.workspace import changed_at

if TYPE_CHECKING:
    from papertune.inference.batches import BatchPredictor
    from papertune.inference.plan import Plan, RowPrompts
    from papertune.kinds.values import BatchValues
    from papertune.prompts.examples import RowReader
    from papertune.run import Run
    from papertune.serve.answering.writing import Writer


class _InTurns:
    """What answers batches in two threads: they encode in turns, since a tokenizer serves one at a time.

    Args:
        predictor: What answers.
        encoding: Is held while prompts are encoded; that of all predictors with the same tokenizer.
    """

    def __init__(self, predictor: "BatchPredictor", encoding: threading.Lock) -> None:
        self._predictor = predictor
        self._encoding = encoding
        self.recipe = predictor.recipe
        self.max_batch_tokens = predictor.max_batch_tokens
        self.precision_name = predictor.precision_name
        self.encodes_ahead = predictor.encodes_ahead
        self.answers_in_threads = predictor.answers_in_threads

    def use_decisions(self, decisions: Mapping[str, Any]) -> None:
        """Use these decisions from now on."""
        self._predictor.use_decisions(decisions)

    def plan(self, reader: "RowReader", rows: Sequence[int]) -> "Plan":
        """Put rows into batches."""
        with self._encoding:
            return self._predictor.plan(reader, rows)

    def encode(self, reader: "RowReader", rows: Sequence[int]) -> "list[RowPrompts]":
        """Encode the prompts of one batch of rows."""
        with self._encoding:
            return self._predictor.encode(reader, rows)

    def answer(
        self, reader: "RowReader", rows: Sequence[int], encoded: "Sequence[RowPrompts] | None" = None
    ) -> "BatchValues":
        """Answer all questions for one batch of rows."""
        return self._predictor.answer(reader, rows, self.encode(reader, rows) if encoded is None else encoded)


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
        self._loading = threading.Lock()
        self._encoding = threading.Lock()  # whatever the columns are, the tokenizer is one

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
        with self._loading:
            if names not in self._predictors:
                with collected_warnings() as texts:
                    self._predictors[names] = _InTurns(self.run.predictor("auto", recipe), self._encoding), texts
            return self._predictors[names]

    @property
    def answers_in_threads(self) -> bool:
        """Whether two threads may fill in rows at the same time; not before the first rows, which load the model."""
        known = list(self._predictors.values())
        return bool(known) and all(predictor.answers_in_threads for predictor, _ in known)

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


class RunInMemory:
    """The run that answers; another one takes its place.

    One at a time: a model of 7 billion weights leaves no room for a second one where it runs at all, and a small one is
    loaded in the time of a few requests.

    Args:
        find: Returns the folder of a run by its name; raises if there is none.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
    """

    def __init__(self, find: Callable[[str], Path], device: str | None = None) -> None:
        self._find = find
        self._device = device
        self._name: str | None = None
        self._changed_at = 0
        self._opened: OpenRun | None = None

    @property
    def name(self) -> str | None:
        """Its name; None: no run is in memory."""
        return self._name

    def open(self, name: str) -> OpenRun:
        """Return a run; one that was trained or calibrated anew meanwhile is opened again.

        Raises:
            ServeError: If there is none.
            PapertuneError: If it cannot be opened.
        """
        from papertune.run import load_run

        path = self._find(name)
        changed = changed_at(path)
        if self._opened is None or (self._name, self._changed_at) != (name, changed):
            self.close()
            self._opened = OpenRun(load_run(path, device=self._device))
            self._name, self._changed_at = name, changed
        return self._opened

    def is_current(self, name: str) -> bool:
        """Whether this run is in memory, as its folder has it now."""
        try:
            return self._name == name and self._changed_at == changed_at(self._find(name))
        except (ServeError, OSError):  # it is being deleted
            return False

    def is_deleted(self) -> bool:
        """Whether the folder of the run in memory is gone."""
        if self._name is not None:
            try:
                self._find(self._name)
            except ServeError:
                return True
        return False

    def close(self) -> None:
        """Close the run, so that its memory is free."""
        if self._name is not None:
            self._name = self._opened = None
            gc.collect()  # a model is part of reference cycles


def _with_table(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(update={"table": recipe.table.model_copy(update=changes)})
