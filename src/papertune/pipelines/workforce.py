"""A run in several processes: what `predict_file` needs of a predictor, without the model in this process."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from papertune.events import SILENT, Listener
from papertune.inference.journal import Journal
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
        count: How many workers.
        precision: Of the weights.

    Raises:
        MissingExtraError: If Ray is not installed.
        ModelError: If there are not so many cores or GPUs.
    """
    reopen = run.reopening()
    with Workers(count, device=run.device) as workers:
        precision_name = workers.call(partial(_precision_there, reopen, precision))
        yield Workforce(run, workers, precision_name, partial(_predictor_there, reopen, precision))


class Workforce:
    """Answers the rows of tables in other processes.

    Attributes:
        encoder: Of prompts, as the workers have it.
        max_batch_tokens: Padded prompt tokens in a batch.
        precision_name: What the workers' weights are in.
        about: The workers in a few words.
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
        """Run a plan, as `papertune.inference.predict.predict_rows` does in one process."""
        facts = self._run.facts(self.precision_name)
        return self._workers.predict_rows(
            self._opening, facts, table, self._run.recipe, asked, plan, journal=journal, listener=listener
        )


def _precision_there(reopen: Callable[[str], "Run"], precision: PredictionPrecision, device: str) -> str:
    return reopen(device).settled_precision(precision)


def _predictor_there(
    reopen: Callable[[str], "Run"], precision: PredictionPrecision, device: str
) -> tuple[Predictor, Mapping[str, str | None]]:
    run = reopen(device)
    predictor = run.predictor(precision)
    return predictor, run.facts(predictor.precision_name)
