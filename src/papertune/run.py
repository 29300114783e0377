"""A finished run: loading it, and predicting tables with it."""

import gc
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from papertune.errors import OutputError, PapertuneWarning, RunError, TableError
from papertune.events import SILENT, Listener
from papertune.inference.journal import Journal, fingerprint
from papertune.inference.outputs import build_output, choose_columns, empty_cells, predicting
from papertune.inference.plan import Plan, make_plan
from papertune.inference.predict import Predicted, predict_rows
from papertune.inference.predictor import Predictor
from papertune.kinds import ColumnSpec
from papertune.kinds.label.output import most_probable_rows
from papertune.kinds.values import ColumnValues
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
from papertune.prompts import PromptEncoder
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run_directory import RESTORE, Manifest, RunDirectory, library_versions
from papertune.tables import Table, check_output, read_table, write_table
from papertune.tables.xlsx_files import check_fits_xlsx

if TYPE_CHECKING:
    from papertune.inference.workforce import Workforce

Columns = Sequence[str] | Literal["all"] | None


def load_run(path: str | Path, *, device: str | None = None, base: str | Path | None = None) -> "Run":
    """Open a finished run. Its weights are loaded when they are first needed.

    Args:
        path: The run directory.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        base: Folder or .gguf file of the base model, if it is not where the recipe says.

    Raises:
        RunError: If the folder is no complete run, or the base model is not the one it was trained on.
    """
    directory = RunDirectory(Path(path))
    recipe, manifest = directory.read()
    run = Run(directory, recipe, manifest, device=device, base=None if base is None else Path(base))
    _ = run.decisions  # damage is reported now
    return run


class Run:
    """A fine-tuned model with everything that prediction needs.

    Attributes:
        directory: The run's files.
        recipe: The recipe that it was trained with.
        manifest: What it remembers of its training.
    """

    def __init__(
        self, directory: RunDirectory, recipe: Recipe, manifest: Manifest, *, device: str | None, base: Path | None
    ) -> None:
        self.directory = directory
        self.recipe = recipe
        self.manifest = manifest
        self._device = device
        self._base_folder = base
        self._predictor: tuple[str, Predictor] | None = None  # and the name of its precision

    @property
    def device(self) -> str | None:
        """The device that was asked for: "cpu", "cuda", ...; None: a GPU if there is one."""
        return self._device

    @property
    def decisions(self) -> dict[str, Any]:
        """How each column is predicted, with what calibration has found.

        Raises:
            RunError: If what the run keeps of its calibration is damaged.
        """
        with self._telling_damage():
            return {name: each.decision(name, self.manifest.record(name, each)) for name, each in self._columns.items()}

    @property
    def _columns(self) -> Mapping[str, ColumnSpec]:
        return self.recipe.columns

    @contextmanager
    def _telling_damage(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise RunError(f"{self.directory.manifest_file} is damaged: {error}. {RESTORE}") from None

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
            probabilities: Add columns with the calibrated probability of each label, and how sure each ranked keyword
                is.
            precision: Of the weights.

        Returns:
            A polars data frame in table order; a pandas one, if the table was one.

        Raises:
            TableError: If the table does not fit the run.
        """
        read = self._open(table)
        chosen = choose_columns(columns, read, self.recipe, probabilities=probabilities)
        asked = predicting(self.recipe, chosen)
        self._warn_of_gaps(asked)
        reader = RowReader(read, asked)
        predictor = self.predictor(precision)
        plan = self._plan(predictor.encoder, predictor.max_batch_tokens, read, reader)
        values = predict_rows(predictor, reader, plan).values
        output = build_output(read, self.recipe, values, chosen, self.decisions)
        self._warn_of_empty_cells(values, chosen, read.source)
        if type(table).__module__.partition(".")[0] != "pandas":
            return output
        # With the table's own index, `table["label"] = filled["label"]` puts each cell beside its paper.
        return type(table)(output.to_dict(as_series=False), index=table.index)

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
        """Fill in the columns of a table and write it; the same call goes on where a killed one stopped.

        Args:
            table: A path, a data frame, or a list of dicts.
            output: The file to write; its suffix says the format.
            columns: As in `predict`.
            probabilities: As in `predict`.
            sort_by: A label column; rows are written by the probability of its first label, the highest first. None: in
                table order.
            precision: As in `predict`.
            overwrite: Replace a file that is there; only when all rows are done.
            workers: Processes that share the rows, through Ray; 1: this process alone.
            listener: Gets messages, and the progress after each batch.

        Raises:
            OutputError: If the file exists, cannot be written, or is being written by another process.
            TableError: If the table does not fit the run.
            MissingExtraError: If several workers are asked for and Ray is not installed.
            ModelError: If there are not so many cores or GPUs.
        """
        path = Path(output)
        read = self._open(table)
        chosen = choose_columns(columns, read, self.recipe, probabilities=probabilities)
        names = [name for name, column in self.recipe.columns.items() if column.is_ranked_by_first_label]
        if sort_by is not None and sort_by not in names:
            there = f"there are: {', '.join(names)}" if names else "it has none"
            raise TableError(f'--sort-by: "{sort_by}" is no label column of the run; {there}.')
        asked = predicting(self.recipe, chosen if sort_by is None else [*chosen, sort_by])
        self._warn_of_gaps(asked)
        reader = RowReader(read, asked)
        # A journal beside an output may mean that a kill came between writing the one and removing the other.
        try:
            going_on = path.with_name(f"{path.name}.journal").exists()
        except OSError as error:  # such as a name that is too long
            raise OutputError(f"{path} cannot be written: {error.strerror or error}. Choose another name.") from None
        check_output(path, overwrite=overwrite or going_on)
        if path.suffix.lower() == ".xlsx":  # it has limits, better met now than when all is done
            check_fits_xlsx(build_output(read, self.recipe, {}, chosen, self.decisions), str(path))
        with ExitStack() as stack:
            found: Predictor | Workforce
            if workers == 1:
                found = predictor = self.predictor(precision)
                run_plan: Callable[..., Predicted] = partial(predict_rows, predictor, reader)
            else:
                from papertune.inference.workforce import workforce

                found = force = stack.enter_context(workforce(self, workers, precision))
                run_plan = partial(force.predict_rows, read, asked)
                listener.message(force.about)
            plan = self._plan(found.encoder, found.max_batch_tokens, read, reader)
            # How many processes and threads there are is no part of it: the batches are the same, and so are the bytes.
            options = [chosen, list(asked.columns), probabilities, found.max_batch_tokens]
            told_apart = fingerprint(self.facts(found.precision_name), read.checksum(), options)
            journal = stack.enter_context(Journal(path, told_apart, len(plan.batches)))
            if kept := int(plan.batches.sizes[journal.finished].sum()):
                listener.message(f"going on: {kept:,} of {len(read):,} rows are done already")
            predicted = run_plan(plan, journal=journal, listener=listener)
            frame = build_output(read, self.recipe, predicted.values, chosen, self.decisions)
            if sort_by is not None:
                frame = frame[most_probable_rows(predicted.values[sort_by], self.decisions[sort_by])]
            self._write(frame, path, journal, overwrite=overwrite)
        self._warn_of_empty_cells(predicted.values, chosen, str(path))
        return predicted

    def facts(self, precision_name: str) -> dict[str, str | None]:
        """Give what must be the same for two predictions to be the same: weights, rankings, precision, libraries."""
        libraries = ["papertune", "torch", "transformers", "tokenizers"]
        if self.recipe.base_bits is not None:
            libraries.append("bitsandbytes")
        versions = library_versions()
        weights = {"the run": self.directory.weights_checksum(), "the base model": self._base.checksum}
        if any(column.record_field == "rankings" for column in self.recipe.columns.values()):
            # A journal from before keywords had a confidence cannot be read any more.
            weights["what is kept of ranked keywords"] = "texts and confidences"
        if self.manifest.rankings:  # keywords are chosen before the journal has them
            rankings = {name: asdict(ranking) for name, ranking in self.manifest.rankings.items()}
            weights["the ranking of keywords"] = json.dumps(rankings)
        return {**weights, "the precision": precision_name, **{name: versions.get(name) for name in libraries}}

    def settled_precision(self, precision: PredictionPrecision = "auto") -> str:
        """Give the name of the precision that `predictor` will have, without loading the weights."""
        chosen = self._with_int8(precision)
        if chosen == "int8":
            from papertune.models import check_int8, int8_name

            check_int8(choose_device(self._device), self.recipe.base_bits)
            return int8_name()
        return str(choose_dtype(chosen, choose_device(self._device))).removeprefix("torch.")

    def reopening(self) -> "Callable[[str], Run]":
        """Give what opens this run on a device, here or in a process with another working directory."""
        base, name = self._base_folder, self.manifest.base_name
        if base is None and name not in KNOWN_MODELS and Path(name).exists():
            base = Path(name)
        return partial(_reopen, self.directory.path.resolve(), None if base is None else base.absolute())

    def load_tokenizer(self) -> Any:
        """Load the run's tokenizer without the model."""
        return load_tokenizer(replace(self._base, location=str(self.directory.tokenizer)))

    def predictor(self, precision: PredictionPrecision = "auto") -> Predictor:
        """Load the model with what it has learnt, and give what answers batches with it.

        A run keeps one model. Another precision's is loaded when that of the one before is gone.
        """
        name = self.settled_precision(precision)
        if self._predictor is None or self._predictor[0] != name:
            if self._predictor is not None:
                self._predictor = None
                gc.collect()  # a model has references in circles
            model, tokenizer = self.load(self._with_int8(precision))
            self._predictor = name, Predictor(model, tokenizer, self.recipe)
        predictor = self._predictor[1]
        predictor.use_decisions(self.decisions)
        return predictor

    def _with_int8(self, precision: PredictionPrecision) -> PredictionPrecision:
        """Give the precision; for "auto" int8, where this CPU is quick at it and the dev rows have confirmed it."""
        from papertune.models import cpu_features

        confirmed = self.manifest.int8 is not None and self.manifest.int8.confirms
        best = confirmed and choose_device(self._device) == "cpu" and cpu_features().int8
        return "int8" if best and precision == "auto" else precision

    def load(self, precision: PredictionPrecision = "auto") -> tuple[Any, Any]:
        """Load the model with what it has learnt, and the tokenizer.

        A LoRA adapter is merged, but stays beside a quantized base; a prefix stands before the model.

        Raises:
            RunError: If the base model is not the one the run was trained on.
            ModelError: If it cannot be loaded.
            MissingExtraError: If quantized weights need a package that is not installed.
        """
        from papertune.methods import load_for_prediction
        from papertune.models import check_int8, to_int8, use_grouped_attention

        if precision == "int8":
            check_int8(choose_device(self._device), self.recipe.base_bits)
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
        """Load the base model without what was learnt, in as many bits as it was trained in, and the tokenizer."""
        from papertune.models import load_model

        return load_model(
            self._base,
            precision=precision,
            device=self._device,
            tokenizer=self.directory.tokenizer,
            base_bits=self.recipe.base_bits,
        )

    def merge(self, folder: str | Path, *, precision: Precision = "auto") -> None:
        """Write the merged model as an ordinary model folder, W = W0 + scale x B A.

        Where the run was trained on a quantized base, W0 is what the few bits stand for: the adapter has learnt to go
        with these weights, not with those that they were rounded from.

        Raises:
            OutputError: If the folder exists and is not empty, or cannot be written.
            RunError: If the run has learnt a prefix.
        """
        from papertune.inference.merge import merge

        merge(self, Path(folder), precision)

    @cached_property
    def _base(self) -> Base:
        if self.directory.model.is_dir():
            return find_base(str(self.directory.model))
        base = find_base(self.manifest.base_name, self._base_folder)
        trained_on = self.manifest.base_checksum
        if trained_on is not None and base.checksum is not None and base.checksum != trained_on:
            raise RunError(
                f"{self.directory.path} was trained on {self.manifest.base_name} with weights {trained_on[:12]}..., "
                f"but {base.location} has {base.checksum[:12]}.... Give the folder of the right ones with --base."
            )
        return base

    def _warn_of_gaps(self, asked: Recipe) -> None:
        """Warn of settings that ask for a calibration which found nothing."""
        for name, column in asked.columns.items():
            for key, consequence in column.calibration_gaps(self.manifest.record(name, column)).items():
                warnings.warn(
                    f'column "{name}": the dev rows of the training gave nothing for {key}; {consequence}.',
                    PapertuneWarning,
                    stacklevel=3,
                )

    def _open(self, table: Any) -> Table:
        read = table if isinstance(table, Table) else read_table(table)
        findings = check_table(read, self.recipe, "predict")
        for warning in findings.warnings:
            warnings.warn(warning, PapertuneWarning, stacklevel=3)
        findings.raise_problems(read)
        return read

    def _plan(self, encoder: PromptEncoder, max_batch_tokens: int, read: Table, reader: RowReader) -> Plan:
        plan = make_plan(encoder, reader, range(len(read)), max_batch_tokens)
        if plan.truncated:
            count = "1 document has" if len(plan.truncated) == 1 else f"{len(plan.truncated):,} documents have"
            warnings.warn(
                f"{read.where(min(plan.truncated))}: {count} more than {encoder.max_prompt_tokens} tokens; "
                "only the beginning is read (this is the first).",
                PapertuneWarning,
                stacklevel=3,
            )
        return plan

    def _warn_of_empty_cells(self, values: Mapping[str, ColumnValues], chosen: Sequence[str], where: str) -> None:
        counts = empty_cells(values, self.recipe, self.decisions)
        for name, count in ((name, counts[name]) for name in chosen if name in counts):
            why = self.recipe.columns[name].reason_for_empty(self.decisions[name])
            cells = "1 cell" if count == 1 else f"{count:,} cells"
            verb = "is" if count == 1 else "are"
            warnings.warn(f'{where}: {cells} of "{name}" {verb} empty ({why}).', PapertuneWarning, stacklevel=3)

    def _write(self, frame: Any, path: Path, journal: Journal, *, overwrite: bool) -> None:
        if path.exists() and not overwrite:
            # Ours from before a kill, or somebody's file that appeared meanwhile?
            fresh = path.with_name(f".{path.stem}.check{path.suffix}")
            write_table(frame, fresh, overwrite=True)
            same = fresh.read_bytes() == path.read_bytes()
            fresh.unlink()
            if not same:
                raise OutputError(
                    f"{path} exists and is not this prediction. The finished rows are safe in {journal.path}; add "
                    "--overwrite to replace the file, or move it away and run the same command."
                )
        else:
            write_table(frame, path, overwrite=overwrite)
        journal.remove()


def _reopen(path: Path, base: Path | None, device: str) -> Run:
    return load_run(path, device=device, base=base)
