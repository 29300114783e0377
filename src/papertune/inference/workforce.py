"""Prediction with a run in several processes, for `predict_file`; this process loads no model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from papertune.events import SILENT, Listener
from papertune.inference.journal import Journal, prediction_facts
from papertune.inference.plan import Plan, batch_tokens
from papertune.inference.predict import Predicted
from papertune.inference.predictor import Predictor
from papertune.inference.workers import Workers
from papertune.models import PredictionPrecision
from papertune.prompts import PromptEncoder
from papertune.recipe import Recipe
from papertune.tables import Table

if TYPE_CHECKING:
    from papertune.run import Run


@contextmanager
def workforce(run: "Run", count: int, precision: PredictionPrecision) -> Iterator["Workforce"]:
    """Start the workers of a run; they end with the context.

    Args:
        run: The run. Each machine must have it under the same path.
        count: Number of workers.
        precision: Number format of the weights.

    Raises:
        MissingExtraError: If Ray is not installed.
        ModelError: If there are fewer cores or GPUs than workers.
    """
    reopen = run.reopening()
    with Workers(count, device=run.device) as workers:
        precision_name = workers.call(partial(_worker_precision, reopen, precision))
        yield Workforce(run, workers, precision_name, partial(_worker_predictor, reopen, precision))


class Workforce:
    """Predicts the rows of tables in other processes.

    Attributes:
        encoder: Encoder of prompts, the same as in the workers.
        max_batch_tokens: Maximum of padded prompt tokens in a batch.
        precision_name: Number format of the workers' weights.
        about: Short description of the workers.
    """

    def __init__(
        self,
        run: "Run",
        workers: Workers,
        precision_name: str,
        opening: Callable[[str], tuple[Predictor, Mapping[str, str | None]]],
    ) -> None:
        self.encoder = PromptEncoder(run.load_tokenizer(), run.recipe.encoding, chat=run.recipe.chat)
        self.max_batch_tokens = batch_tokens(workers.device)
        self.precision_name = precision_name
        threads = "1 thread" if workers.threads == 1 else f"{workers.threads} threads"
        self.about = f"{workers.count} workers on {workers.device}, {threads} each"
        self._run = run
        self._workers = workers
        self._opening = partial(opening, workers.device)

    def predict_rows(
        self, table: Table, asked: Recipe, plan: Plan, *, journal: Journal, listener: Listener = SILENT
    ) -> Predicted:
        """Run a plan, like `papertune.inference.predict.predict_rows` in one process."""
        facts = prediction_facts(self._run, self.precision_name)
        return self._workers.predict_rows(
            self._opening, facts, table, self._run.recipe, asked, plan, journal=journal, listener=listener
        )


def _worker_precision(reopen: Callable[[str], "Run"], precision: PredictionPrecision, device: str) -> str:
    return reopen(device).settled_precision(precision)


def _worker_predictor(
    reopen: Callable[[str], "Run"], precision: PredictionPrecision, device: str
) -> tuple[Predictor, Mapping[str, str | None]]:
    run = reopen(device)
    predictor = run.predictor(precision)
    return predictor, prediction_facts(run, predictor.precision_name)
