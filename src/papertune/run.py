"""A finished run: a handle to its files, its model and what it predicts."""

import gc
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from papertune.errors import RunError
from papertune.events import SILENT, Listener
from papertune.inference.batches import BatchPredictor
from papertune.inference.joined import JoinedPredictor, columns_asking_model
from papertune.inference.journal import NO_MODEL
from papertune.inference.predict import Predicted
from papertune.inference.predict_table import Columns, FileOptions, predict_file, predict_table
from papertune.inference.predictor import Predictor
from papertune.inference.rewards.best_of import BestOf, BestOfPredictor
from papertune.kinds import ColumnSpec
from papertune.kinds.label.record import Join
from papertune.manifest import Manifest
from papertune.models import (
    KNOWN_MODELS,
    Base,
    Precision,
    PredictionPrecision,
    choose_device,
    choose_dtype,
    find_base,
    load_tokenizer,
)
from papertune.recipe import Recipe
from papertune.run_directory import RESTORE, RunDirectory
from papertune.sources.label_sources import LabelSources
from papertune.sources.source import Surroundings


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
    return run


class Run:
    """A fine-tuned model with everything that prediction needs.

    Attributes:
        directory: The run's files.
        recipe: The recipe that it was trained with.
        manifest: What run.json records of its training.
        device: The requested device: "cpu", "cuda", ...; None: a GPU if there is one.
        base_place: Where the caller says that the base model is; None: where the recipe says.
        best_of: How written answers are chosen among several; None: they are greedy.
    """

    def __init__(
        self, directory: RunDirectory, recipe: Recipe, manifest: Manifest, *, device: str | None, base: Path | None
    ) -> None:
        self.directory = directory
        self.recipe = recipe
        self.manifest = manifest
        self.device = device
        self.base_place = base
        self._predictor: tuple[str, Predictor] | None = None  # and the name of its precision
        self.best_of: BestOf | None = None

    def with_best_of(self, answers: int, reward: str | Path) -> "Run":
        """Return this run with the best of several answers in the place of the greedy one, where answers are written.

        Args:
            answers: Number of answers, the greedy one included; the others are drawn at random.
            reward: A run of stage rm, whose rewards choose.

        Raises:
            RunError: If the reward run does not fit this run, or this run has no column whose answers are written.
        """
        from papertune.inference.rewards.reward_model import RewardModel

        written = [name for name in self.recipe.columns if _is_written(self.recipe, name)]
        if not written:
            raise RunError(
                f"{self.directory.path} has no column of keywords or text, of which several answers could be drawn. "
                "Leave out --best-of and --reward."
            )
        rewards = RewardModel(load_run(reward, device=self.device, base=self.base_place))
        rewards.check_fits(self.recipe.only(tuple(written)), self.manifest.base_checksum, str(self.directory.path))
        chosen = copy(self)
        chosen._predictor = None
        chosen.best_of = BestOf(answers, rewards, self.recipe.training.seed)
        return chosen

    def chooses_best_of(self, column: str) -> bool:
        """Whether the answers of a column are chosen among several."""
        return self.best_of is not None and _is_written(self.recipe, column)

    def greedy(self) -> "Run":
        """Return this run with greedy answers."""
        plain = copy(self)
        plain.best_of = None
        return plain

    def check_fills_columns(self, purpose: str) -> None:
        """Refuse a run of a stage that does not fill in columns.

        Args:
            purpose: What it cannot do, such as "predict".

        Raises:
            RunError: If it is such a run.
        """
        stage = self.recipe.stage
        if not stage.fills_columns:
            path, saves_adapter = str(self.directory.path), self.recipe.method.saves_adapter
            setting = stage.start_setting(path, saves_adapter=saves_adapter)
            start = f" Train from it first, with {setting}." if stage.can_be_start else ""
            raise RunError(
                f'{self.directory.path} is {stage.run_in_words} (stage "{stage.kind}"); it fills in no columns, so it '
                f"cannot {purpose}.{start}"
            )

    @property
    def decisions(self) -> dict[str, Any]:
        """How each column is predicted, by name, with what calibration has found.

        Raises:
            RunError: If the calibration in run.json, or a file of a source, is damaged.
        """
        columns: Mapping[str, ColumnSpec] = self.recipe.columns
        try:
            found = {name: each.decision(name, self.manifest.record(name, each)) for name, each in columns.items()}
        except ValueError as error:
            raise RunError(f"{self.directory.manifest_file} is damaged: {error}. {RESTORE}") from None
        try:
            return {n: each.with_sources(found[n], self.directory.source_folder(n)) for n, each in columns.items()}
        except ValueError as error:
            raise RunError(f"{error}. {RESTORE}") from None

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
        self.check_fills_columns("predict")
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
        self.check_fills_columns("predict")
        options = FileOptions(columns, probabilities, sort_by, precision, overwrite, workers)
        return predict_file(self, table, Path(output), options, listener)

    @property
    def joins(self) -> dict[str, Join]:
        """How the sources of each question are joined; a question that only the model answers is missing."""
        return self.manifest.joins

    @cached_property
    def label_sources(self) -> LabelSources:
        """The sources beside the model.

        Raises:
            RunError: If they are missing or damaged.
        """
        surroundings = Surroundings(self.recipe, lambda: self.load_base("auto"), self.device)
        return LabelSources(self.directory.sources, surroundings)

    def asks_model(self, columns: Recipe | None = None) -> bool:
        """Whether prediction needs the model, for all columns or for those of a recipe."""
        chosen = self.recipe if columns is None else columns
        return bool(columns_asking_model(chosen, self.joins, self.decisions))

    def settled_precision(self, precision: PredictionPrecision = "auto", columns: Recipe | None = None) -> str:
        """Return the name of the precision that `predictor` will have, without loading the weights."""
        if not self.asks_model(columns):
            return NO_MODEL
        return self._model_precision(precision)

    def _model_precision(self, precision: PredictionPrecision) -> str:
        chosen = self._with_int8(precision)
        if chosen == "int8":
            from papertune.models import check_int8, int8_name

            check_int8(choose_device(self.device), self.recipe.base_bits)
            return int8_name()
        return str(choose_dtype(chosen, choose_device(self.device))).removeprefix("torch.")

    def reopening(self) -> "Callable[[str], Run]":
        """Return a function that opens this run on a device, also in a process with another working directory."""
        base, name = self.base_place, self.manifest.base_name
        if base is None and name not in KNOWN_MODELS and Path(name).exists():
            base = Path(name)
        best = self.best_of
        how = None if best is None else (best.answers, best.rewards.run.directory.path.resolve())
        return partial(_reopen, self.directory.path.resolve(), None if base is None else base.absolute(), how)

    def load_tokenizer(self) -> Any:
        """Load the run's tokenizer without the model."""
        return load_tokenizer(replace(self.base, location=str(self.directory.tokenizer)))

    def predictor(self, precision: PredictionPrecision = "auto", columns: Recipe | None = None) -> BatchPredictor:
        """Return what answers batches of rows; the model is loaded if it is needed.

        Args:
            precision: Number format of the weights.
            columns: The recipe with the columns to answer; None: all.
        """
        model: BatchPredictor | None = None
        if self.asks_model(columns):
            model = own = self.model_predictor(precision)
            if self.best_of is not None:
                model = BestOfPredictor(own, self.best_of)
            asking = columns_asking_model(self.recipe, self.joins, self.decisions)
            if not self.joins and asking == tuple(self.recipe.columns):
                return model
        sources = self.label_sources if self.joins else None
        return JoinedPredictor(self.recipe, self.joins, self.decisions, sources, model)

    def model_predictor(self, precision: PredictionPrecision = "auto") -> Predictor:
        """Load the trained model and return what answers batches with it alone.

        A run keeps one model: the one in memory is released before that of another precision is loaded.
        """
        name = self._model_precision(precision)
        if self._predictor is None or self._predictor[0] != name:
            if self._predictor is not None:
                self._predictor = None
                gc.collect()  # a model is part of reference cycles
            model, tokenizer = self.load(self._with_int8(precision))
            self._predictor = name, Predictor(model, tokenizer, self.recipe)
        predictor = self._predictor[1]
        predictor.use_decisions(self.decisions)
        return predictor

    def _with_int8(self, precision: PredictionPrecision) -> PredictionPrecision:
        """Return the precision; for "auto" int8, if this CPU has fast int8 and the dev rows have confirmed it."""
        from papertune.models import cpu_features

        confirmed = self.manifest.int8 is not None and self.manifest.int8.confirms
        best = confirmed and choose_device(self.device) == "cpu" and cpu_features().int8
        return "int8" if best and precision == "auto" else precision

    def load(self, precision: PredictionPrecision = "auto") -> tuple[Any, Any]:
        """Load the trained model and the tokenizer.

        A LoRA adapter is merged, except into a quantized base; a prefix is kept as an adapter.

        Raises:
            RunError: If the base model is not the one the run was trained on, or no model was trained.
            ModelError: If it cannot be loaded.
            MissingExtraError: If quantized weights need a package that is not installed.
        """
        from papertune.methods import load_for_prediction
        from papertune.models import check_int8, to_int8, use_grouped_attention

        self.directory.check_has_model(self.recipe)
        if precision == "int8":
            check_int8(choose_device(self.device), self.recipe.base_bits)
        bare, tokenizer = self.load_base("fp32" if precision == "int8" else precision)
        model = bare
        if self.directory.adapter.is_dir():
            model = load_for_prediction(bare, self.directory.adapter)
        model.eval()
        if precision == "int8":
            to_int8(bare)
        if bare.device.type == "cpu":
            use_grouped_attention(bare)
        return model, tokenizer

    def load_base(self, precision: Precision) -> tuple[Any, Any]:
        """Load the base model without the adapter, in the number of bits of the training, and the tokenizer."""
        from papertune.models import load_model

        return load_model(
            self.base,
            precision=precision,
            device=self.device,
            tokenizer=self.directory.tokenizer if self.directory.tokenizer.exists() else None,
            base_bits=self.recipe.base_bits,
        )

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

    @cached_property
    def base(self) -> Base:
        """The base model.

        Raises:
            RunError: If it is not the one that the run was trained on.
        """
        if self.directory.model.is_dir():
            return find_base(str(self.directory.model))
        base = find_base(self.manifest.base_name, self.base_place)
        trained_on = self.manifest.base_checksum
        if trained_on is not None and base.checksum is not None and base.checksum != trained_on:
            raise RunError(
                f"{self.directory.path} was trained on {self.manifest.base_name} with weights {trained_on[:12]}..., "
                f"but {base.location} has {base.checksum[:12]}.... Give the folder of the right ones with --base."
            )
        return base


def _reopen(path: Path, base: Path | None, best_of: tuple[int, Path] | None, device: str) -> Run:
    run = load_run(path, device=device, base=base)
    return run if best_of is None else run.with_best_of(*best_of)


def _is_written(recipe: Recipe, column: str) -> bool:
    return any(asked.is_written for asked in recipe.questions_of(column).values())
