"""The interface of what answers batches of rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from papertune.inference.plan import Plan, RowPrompts
from papertune.kinds.values import BatchValues
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe


class BatchPredictor(Protocol):
    """Answers the questions of a recipe about batches of rows.

    Attributes:
        recipe: The columns.
        max_batch_tokens: Padded prompt tokens in a batch; 0 where no model is asked.
        precision_name: Number format of the model's weights.
        encodes_ahead: Whether prompts are encoded while the batch before is answered.
        answers_in_threads: Whether several threads may call `answer` at the same time.
    """

    recipe: Recipe
    max_batch_tokens: int
    precision_name: str
    encodes_ahead: bool
    answers_in_threads: bool

    def use_decisions(self, decisions: Mapping[str, Any]) -> None:
        """Use these decisions from now on, after calibration has changed."""

    def plan(self, reader: RowReader, rows: Sequence[int]) -> Plan:
        """Put rows into batches."""

    def encode(self, reader: RowReader, rows: Sequence[int]) -> list[RowPrompts]:
        """Encode the prompts of one batch of rows; safe in another thread, beside `answer`."""

    def answer(
        self, reader: RowReader, rows: Sequence[int], encoded: Sequence[RowPrompts] | None = None
    ) -> BatchValues:
        """Answer all questions for one batch of rows: for each question a value for each row, None if not asked."""
