"""papertune's own prediction, `run.predict` of a table: check, tokens, model and output are all counted."""

import inspect
from pathlib import Path
from typing import Any, get_args

from contestants.protocol import NotMeasured, Work, serve


class Predict(Work):
    """Fills in columns of a table with a run."""

    packages = ("papertune", "torch", "transformers", "peft")

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        from papertune.errors import PapertuneError
        from papertune.recipe import load_recipe
        from papertune.run import Run, load_run
        from papertune.tables import read_table

        torch.set_num_threads(job["threads"])
        self._precision, self._columns = job["precision"], job["columns"]
        if self._precision not in get_args(inspect.signature(Run.predictor).parameters["precision"].annotation):
            raise NotMeasured(f"this version of papertune has no precision {self._precision}")
        run = load_run(job["run"], device=job["device"], base=job["base"])
        if job["overrides"]:  # the same weights, asked in another way
            recipe = load_recipe(run.recipe, job["overrides"])
            base = None if job["base"] is None else Path(job["base"])
            run = Run(run.directory, recipe, run.manifest, device=job["device"], base=base)
        self._run = run
        self._table = read_table(job["table"])
        try:
            run.predictor(self._precision)
        except PapertuneError as error:
            raise NotMeasured(str(error)) from error
        self._predict(self._table.take([0]))

    def run(self) -> dict[str, Any]:
        """Fill in the columns of all rows."""
        self._filled = self._predict(self._table)
        return {}

    def finish(self) -> dict[str, Any]:
        """Return the cells; None where one is empty."""
        return {"cells": {name: [cell or None for cell in self._filled[name]] for name in self._columns}}

    def _predict(self, table: Any) -> Any:
        return self._run.predict(table, columns=self._columns, precision=self._precision)


if __name__ == "__main__":
    serve(Predict)
