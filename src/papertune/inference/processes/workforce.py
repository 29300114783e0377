"""Prediction with a run in several processes, for `predict_file`; this process loads no model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from papertune.events import SILENT, Listener
from papertune.inference.batches import BatchPredictor
from papertune.inference.joined import columns_asking_model
from papertune.inference.journal import Journal, prediction_facts
from papertune.inference.plan import Plan, batch_tokens, document_plan, make_plan
from papertune.inference.predict import Predicted
from papertune.inference.processes.workers import Workers
from papertune.models import PredictionPrecision, load_config
from papertune.prompts.context import encoder_within_context
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table

if TYPE_CHECKING:
    from papertune.run import Run


@contextmanager
def workforce(run: "Run", asked: Recipe, count: int, precision: PredictionPrecision) -> Iterator["Workforce"]:
    """Start the workers of a run; they end with the context.

    Args:
        run: The run. Each machine must have it under the same path.
        asked: The recipe with only the columns to predict.
        count: Number of workers.
        precision: Number format of the weights.

    Raises:
        MissingExtraError: If Ray is not installed.
        ModelError: If there are fewer cores or GPUs than workers.
    """
    reopen = run.reopening()
    with Workers(count, device=run.device) as workers:
        precision_name = workers.call(partial(_worker_precision, reopen, precision, asked))
        yield Workforce(run, asked, workers, precision_name, partial(_worker_predictor, reopen, precision, asked))


class Workforce:
    """Predicts the rows of tables in other processes.

    Attributes:
        max_batch_tokens: Maximum of padded prompt tokens in a batch; 0 where no model is asked.
        precision_name: Number format of the workers' weights.
        about: Short description of the workers.
    """

    def __init__(
        self,
        run: "Run",
        asked: Recipe,
        workers: Workers,
        precision_name: str,
        opening: Callable[[str], tuple[BatchPredictor, Mapping[str, str | None]]],
    ) -> None:
        self._asking_model = columns_asking_model(asked, run.joins, run.decisions)
        self.max_batch_tokens = batch_tokens(workers.device) if self._asking_model else 0
        self.precision_name = precision_name
        threads = "1 thread" if workers.threads == 1 else f"{workers.threads} threads"
        self.about = f"{workers.count} workers on {workers.device}, {threads} each"
        self._run = run
        self._workers = workers
        self._opening = partial(opening, workers.device)

    def plan(self, reader: RowReader, rows: Sequence[int]) -> Plan:
        """Put rows into batches, as the workers' predictors would."""
        if not self._asking_model:
            return document_plan(rows)
        recipe = self._run.recipe
        config = load_config(self._run.base)
        encoder = encoder_within_context(self._run.load_tokenizer(), recipe, config, recipe.method.prefix_tokens)
        return make_plan(encoder, reader.only(self._asking_model), rows, self.max_batch_tokens)

    def predict_rows(
        self, table: Table, asked: Recipe, plan: Plan, *, journal: Journal, listener: Listener = SILENT
    ) -> Predicted:
        """Run a plan, like `papertune.inference.predict.predict_rows` in one process."""
        facts = prediction_facts(self._run, self.precision_name)
        return self._workers.predict_rows(
            self._opening, facts, table, self._run.recipe, asked, plan, journal=journal, listener=listener
        )


def _worker_precision(
    reopen: Callable[[str], "Run"], precision: PredictionPrecision, asked: Recipe, device: str
) -> str:
    return reopen(device).settled_precision(precision, asked)


def _worker_predictor(
    reopen: Callable[[str], "Run"], precision: PredictionPrecision, asked: Recipe, device: str
) -> tuple[BatchPredictor, Mapping[str, str | None]]:
    run = reopen(device)
    predictor = run.predictor(precision, asked)
    return predictor, prediction_facts(run, predictor.precision_name)
