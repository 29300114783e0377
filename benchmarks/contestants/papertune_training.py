"""papertune's own training, from encoded rows to trained weights, checkpoint included."""

import shutil
from pathlib import Path
from typing import Any

from contestants.protocol import Work, serve


class Training(Work):
    """Trains a fresh adapter in each round."""

    packages = ("papertune", "torch", "transformers", "peft")

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        from papertune.recipe import load_recipe

        torch.set_num_threads(job["threads"])
        self._job = job
        self._recipe = load_recipe(job["recipe"], job["overrides"]).only(tuple(job["columns"]))

    def prepare(self) -> None:
        """Load the model anew, since a round changes it."""
        from papertune.methods import build_trainable
        from papertune.models import choose_dtype, load_model
        from papertune.prompts import PromptEncoder
        from papertune.prompts.examples import training_examples
        from papertune.tables import read_table
        from papertune.training import encode_examples

        job, recipe = self._job, self._recipe
        precision = recipe.training.precision
        model, tokenizer = load_model(job["model"], precision=precision, device=job["device"])
        encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
        examples = list(training_examples(read_table(job["table"]), recipe))
        self._rows = encode_examples(examples, recipe.questions, encoder)
        self._dtype = choose_dtype(precision, job["device"])
        self._model = build_trainable(model, recipe.method, seed=recipe.training.seed)
        shutil.rmtree(job["folder"], ignore_errors=True)

    def run(self) -> dict[str, Any]:
        """Train one epoch."""
        from papertune.training import FitSettings, fit

        folder = Path(self._job["folder"])
        folder.mkdir()
        settings = FitSettings(self._recipe.training, folder / "training", folder / "metrics.jsonl", self._dtype)
        result = fit(self._model, self._rows.rows, self._rows.label_sets, settings)
        return {"steps": result.steps, "examples": sum(len(row.questions) for row in self._rows.rows)}

    def finish(self) -> dict[str, Any]:
        """Save the adapter, and let go of everything."""
        adapter = Path(self._job["folder"]) / "adapter"
        self._recipe.method.save(self._model, adapter, self._recipe.model, self._dtype)
        del self._model, self._rows
        return {"adapter": str(adapter)}


if __name__ == "__main__":
    serve(Training)
