"""A finished run: a handle to its files, its model and what it predicts."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

from papertune.events import SILENT, Listener
from papertune.inference.cascades import checked_cascades, decided_in_words
from papertune.inference.parts.predict_parts import PredictedParts, predict_parts
from papertune.inference.parts.shard import Shard
from papertune.inference.predict import Predicted
from papertune.inference.predict_table import Columns, FileOptions, predict_file, predict_table
from papertune.inference.rewards.best_of import checked_best_of
from papertune.models import KNOWN_MODELS, Precision, PredictionPrecision
from papertune.run.answering import AnsweringRun
from papertune.run_directory import RunDirectory


def load_run(path: str | Path, *, device: str | None = None, base: str | Path | None = None) -> "Run":
    """Open a finished run. Its weights are loaded when they are first needed.

    Args:
        path: The run directory.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        base: Folder or .gguf file of the base model, if it is not where the recipe says.

    Raises:
        RunError: If the folder is not a complete run, or the base model is not the one it was trained on.
    """
    directory = RunDirectory(Path(path))
    recipe, manifest = directory.read()
    run = Run(directory, recipe, manifest, device=device, base=None if base is None else Path(base))
    if recipe.stage.fills_columns:
        _ = run.decisions  # damage is reported now
        run.check_joins()
    return run


class Run(AnsweringRun):
    """A fine-tuned model with everything that prediction needs; its attributes are those of its base classes."""

    def with_best_of(self, answers: int, reward: str | Path) -> "Run":
        """Return this run with the best of several answers in the place of the greedy one, where answers are written.

        Args:
            answers: Number of answers, the greedy one included; the others are drawn at random.
            reward: A run of stage rm, whose rewards choose.

        Raises:
            RunError: If the reward run does not fit this run, or this run has no column whose answers are written.
        """
        chosen = copy(self)
        chosen.best_of = checked_best_of(self, answers, load_run(reward, device=self.device, base=self.base_place))
        return chosen

    def greedy(self) -> "Run":
        """Return this run with greedy answers."""
        plain = copy(self)
        plain.best_of = None
        return plain

    def with_cascade(self) -> "Run":
        """Return this run with a cascade: rows that the other sources decide do not go through the model.

        From which certainty they decide was chosen on dev rows, when the run was calibrated.

        Raises:
            RunError: If the model is joined with other sources in no column, or calibration has chosen no certainty for
                any.
        """
        chosen = copy(self)
        chosen.cascades = checked_cascades(self)
        return chosen

    def reopening(self) -> "Callable[[str], Run]":
        """Return a function that opens this run on a device, also in a process with another working directory."""
        base, name = self.base_place, self.manifest.base_name
        if base is None and name not in KNOWN_MODELS and Path(name).exists():
            base = Path(name)
        best = self.best_of
        how = None if best is None else (best.answers, best.rewards.run.directory.path.resolve())
        place = None if base is None else base.absolute()
        return partial(_reopen, self.directory.path.resolve(), place, how, bool(self.cascades))

    def predict(
        self,
        table: Any,
        *,
        columns: Columns = None,
        probabilities: bool = False,
        precision: PredictionPrecision = "auto",
    ) -> Any:
        """Fill in the columns of a table.

        Args:
            table: A path, a data frame, or a list of dicts.
            columns: Names of the output's columns; "all"; None: the id and the run's columns.
            probabilities: Add columns with the calibrated probability of each label and the confidence of each ranked
                keyword.
            precision: Number format of the weights.

        Returns:
            A polars data frame in table order; a pandas one, if the table was one.

        Raises:
            TableError: If the table does not fit the run.
        """
        self.directory.check_fills_columns(self.recipe, "predict")
        return predict_table(self, table, columns=columns, probabilities=probabilities, precision=precision)

    def predict_file(
        self,
        table: Any,
        output: str | Path,
        *,
        columns: Columns = None,
        probabilities: bool = False,
        sort_by: str | None = None,
        precision: PredictionPrecision = "auto",
        overwrite: bool = False,
        workers: int = 1,
        listener: Listener = SILENT,
    ) -> Predicted:
        """Fill in the columns of a table and write it; the same call resumes a killed one.

        Args:
            table: A path, a data frame, or a list of dicts.
            output: The file to write; its suffix is the format.
            columns: As in `predict`.
            probabilities: As in `predict`.
            sort_by: A label column; rows are sorted by the probability of its first label, highest first. None: table
                order.
            precision: As in `predict`.
            overwrite: Replace an existing file, once all rows are done.
            workers: Processes that share the rows, through Ray; 1: this process alone.
            listener: Gets messages, and the progress after each batch.

        Raises:
            OutputError: If the file exists, cannot be written, or is being written by another process.
            TableError: If the table does not fit the run.
            MissingExtraError: If several workers are asked for and Ray is not installed.
            ModelError: If there are fewer cores or GPUs than workers.
        """
        self.directory.check_fills_columns(self.recipe, "predict")
        options = FileOptions(columns, probabilities, sort_by, precision, overwrite, workers)
        predicted = predict_file(self, table, Path(output), options, listener)
        for text in decided_in_words(predicted.decided, predicted.answered):
            listener.message(text)
        return predicted

    def predict_parts(
        self,
        parts: Sequence[str | Path],
        folder: str | Path,
        *,
        shard: tuple[int, int] = (1, 1),
        columns: Columns = None,
        probabilities: bool = False,
        precision: PredictionPrecision = "auto",
        overwrite: bool = False,
        workers: int = 1,
        listener: Listener = SILENT,
    ) -> PredictedParts:
        """Fill in Parquet files, each into a file of the same name; the same call resumes a killed one.

        A file is read and filled in some row groups at a time, so that memory does not depend on its length. It appears
        in the folder when it is complete; files that are there are skipped.

        Args:
            parts: The files; no two have the same name.
            folder: Where the files go; it is made if it is missing.
            shard: Number, from 1, and count: of so many processes that are given the same files, this one fills in
                those that belong to its number. Each file belongs to one.
            columns: As in `predict`.
            probabilities: As in `predict`.
            precision: As in `predict`.
            overwrite: Replace files that are another prediction.
            workers: As in `predict_file`.
            listener: Gets messages, and the progress after each batch.

        Raises:
            OutputError: If a file is another prediction, cannot be written, or is being written by another process.
            TableError: If a file is no Parquet file or does not fit the run, or the shard does not exist.
        """
        self.directory.check_fills_columns(self.recipe, "predict")
        options = FileOptions(columns, probabilities, None, precision, overwrite, workers)
        return predict_parts(self, [*map(Path, parts)], Path(folder), Shard(*shard), options, listener)

    def merge(self, folder: str | Path, *, precision: Precision = "auto") -> None:
        """Write the merged model as an ordinary model folder, W = W0 + scale x B A.

        If the run was trained on a quantized base, W0 is the dequantized base: the adapter was trained with these
        weights, not with those before quantization.

        Raises:
            OutputError: If the folder exists and is not empty, or cannot be written.
            RunError: If the run has a prefix.
        """
        from papertune.inference.merge import merge

        merge(self, Path(folder), precision)


def _reopen(path: Path, base: Path | None, best_of: tuple[int, Path] | None, cascade: bool, device: str) -> Run:
    run = load_run(path, device=device, base=base)
    if cascade:
        run = run.with_cascade()
    return run if best_of is None else run.with_best_of(*best_of)
