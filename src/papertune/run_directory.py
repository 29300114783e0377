"""A run directory: the files of a training; no other module knows their names.

RUN/
  run.json         the manifest, written last: without it the run is unfinished
  recipe.toml      the recipe with all defaults
  adapter/         the adapter in peft's format, or
  model/           the whole model, if some or all of its own parameters were trained
                   neither, if no model is trained
  tokenizer/       the tokenizer's files, if a model is trained
  sources/         what answers label columns beside the model
  metrics.jsonl    losses and dev scores by step
  versions.json    versions of Python and of the libraries
  README.md        a description, and the command to use the run
  training/        checkpoints; only needed to resume
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any
from urllib.parse import quote

from papertune.errors import OutputError, RunError, Sentence
from papertune.files import check_place, is_temporary, lock_now, write_atomically
from papertune.kinds.label.join_words import join_in_words
from papertune.manifest import FORMAT, Manifest
from papertune.recipe import Recipe, dump_recipe, load_recipe
from papertune.recipe.changes import not_this_training, training_changes
from papertune.records import AS_WRITTEN, parse_record

RESTORE = "Train again, or restore the file."
_LIBRARIES = (
    "papertune",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "polars",
    "tokenizers",
    "bitsandbytes",
    "scikit-learn",
    "trl",
)


@dataclass(frozen=True)
class TrainingPlan:
    """What a training must have in common with the one that it resumes.

    Attributes:
        recipe: The recipe with all defaults, as TOML.
        tables: Checksums of the training tables.
        dev: Checksums of the dev tables.
        base: Checksum of the base model's weights; None for a model with a hub id.
        processes: Number of processes; each has a part of the batches and of the checkpoints.
        runs: Checksums of the runs that a stage starts from or takes rewards from.
    """

    __pydantic_config__ = AS_WRITTEN

    recipe: str
    tables: list[str]
    dev: list[str]
    base: str | None
    processes: int = 1
    runs: list[str] = field(default_factory=list)

    def differences(self, begun: "TrainingPlan") -> list[str]:
        """Return the names of what differs from the plan that was begun."""
        names = {"recipe": "recipe", "tables": "tables", "dev": "dev table", "runs": "start or reward run"}
        different = [name for key, name in names.items() if getattr(self, key) != getattr(begun, key)]
        if None not in (self.base, begun.base) and self.base != begun.base:
            different.append("base model")
        if self.processes != begun.processes:
            different.append(f"number of processes ({begun.processes}, not {self.processes})")
        return different


class RunDirectory:
    """The files of one run.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.adapter = path / "adapter"
        self.model = path / "model"
        self.tokenizer = path / "tokenizer"
        self.sources = path / "sources"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "training"
        self.manifest_file = path / "run.json"
        self._recipe = path / "recipe.toml"
        self._plan = path / "training" / "plan.json"
        self._lock = path / "training" / "lock"

    def source_folder(self, column: str) -> Path:
        """Return the folder for what a column has learned without the model."""
        return self.sources / quote(column, safe=" ").replace(".", "%2E")

    @property
    def is_complete(self) -> bool:
        """Whether the training is finished."""
        return self.manifest_file.is_file()

    @property
    def has_model(self) -> bool:
        """Whether a model was trained."""
        return self.adapter.is_dir() or self.model.is_dir()

    def check_has_model(self, recipe: Recipe) -> None:
        """Raise a RunError if no model was trained."""
        if not self.has_model:
            columns = ", ".join(f'"{name}"' for name in recipe.columns)
            raise RunError(f"{self.path} has no trained model: words or other sources answer {columns}.")

    def check_fills_columns(self, recipe: Recipe, purpose: str) -> None:
        """Refuse a run of a stage that does not fill in columns.

        Args:
            recipe: The recipe of the run.
            purpose: What it cannot do, such as "predict".

        Raises:
            RunError: If it is such a run.
        """
        stage = recipe.stage
        if not stage.fills_columns:
            setting = stage.start_setting(str(self.path), saves_adapter=recipe.method.saves_adapter)
            start = f" Train from it first, with {setting}." if stage.can_be_start else ""
            raise RunError(
                f'{self.path} is {stage.run_in_words} (stage "{stage.kind}"); it fills in no columns, so it '
                f"cannot {purpose}.{start}"
            )

    @property
    def is_begun(self) -> bool:
        """Whether a training has begun here."""
        return self._plan.is_file()

    def check_free(self, plan: TrainingPlan, *, resume: bool) -> None:
        """Check that a training may begin here, or that it is the one to resume. Nothing is written.

        Raises:
            OutputError: If the folder has a run, another training or other files, or cannot be written.
        """
        check_place(self.path)
        if self.is_complete and not (resume and self.is_begun):
            raise OutputError(f"{self.path} holds a finished run already. Choose another folder, or move it away.")
        if self.is_begun:
            if not resume:
                raise OutputError(
                    f"{self.path} holds an unfinished training. Add --resume to go on, or choose another folder."
                )
            try:
                begun = parse_record(TrainingPlan, self._plan.read_text("utf-8"))
            except (TypeError, ValueError) as error:
                raise OutputError(f"{self._plan} is damaged: {error}. Choose another folder to train in.") from None
            if changes := training_changes(asdict(begun), asdict(plan)):
                raise OutputError(f"{self.path}: {not_this_training(changes)}")
            return
        # A training that was killed before it wrote its plan leaves just an empty folder for checkpoints.
        inside = [child for folder in (self.path, self.checkpoints) if folder.is_dir() for child in folder.iterdir()]
        if any(child not in (self.checkpoints, self._lock) and not is_temporary(child) for child in inside):
            raise OutputError(f"{self.path} exists and is not a run. Choose an empty or new folder.")

    @contextmanager
    def claimed(self, plan: TrainingPlan, *, resume: bool) -> Iterator[None]:
        """Lock the folder for one training; the lock of a killed process ends with it.

        Raises:
            OutputError: If another process trains or has trained here, or the folder cannot be written.
        """
        busy = "another papertune process trains in this folder. Wait for it, or choose another folder."
        lock = lock_now(self._lock, OutputError(f"{self.path}: {busy}"), self.path)
        try:
            self.check_free(plan, resume=resume)
            if self.is_complete:
                raise OutputError(f"{self.path}: another papertune process has finished this training.")
            if not self.is_begun:
                try:
                    write_atomically(self._plan, json.dumps(asdict(plan)))
                    self._recipe.write_text(plan.recipe, "utf-8")
                except OSError as error:
                    raise OutputError(
                        f"{self.path} cannot be written: {error.strerror or error}. Choose another folder."
                    ) from error
            yield
        finally:
            lock.release()

    def finish(self, manifest: Manifest, recipe: Recipe) -> None:
        """Write or replace the last files; the manifest is written last and makes the run complete."""
        write_atomically(self._recipe, dump_recipe(recipe))
        (self.path / "versions.json").write_text(json.dumps(library_versions(), indent=2) + "\n", "utf-8")
        (self.path / "README.md").write_text(_readme(self.path.name, manifest, recipe), "utf-8")
        write_atomically(self.manifest_file, json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n")

    def read(self) -> tuple[Recipe, Manifest]:
        """Read a complete run's recipe and manifest.

        Raises:
            RunError: If the folder is not a run, or the run is unfinished, damaged or from a newer papertune.
        """
        if not self.path.is_dir():
            text = f"{self.path}: there is no such run directory. Check the path; `papertune train` creates one."
            raise RunError(Sentence(text, "no_run", name=self.path.name))
        if not self.is_complete:
            if self.is_begun:
                text = f"{self.path}: its training has not finished. Continue it with `papertune train ... --resume`."
                raise RunError(Sentence(text, "unfinished_run", name=self.path.name))
            raise RunError(f"{self.path} is not a run directory: it has no run.json. `papertune train` creates one.")
        try:
            text = self.manifest_file.read_text("utf-8")
            values: dict[str, Any] = dict(json.loads(text))
            if int(values["format"]) > FORMAT:
                raise RunError(
                    f"{self.path} was written by a newer papertune (format {values['format']}). Update papertune."
                )
            manifest = parse_record(Manifest, text)
        except KeyError as error:
            raise RunError(f"{self.manifest_file} is damaged: {error} is missing. {RESTORE}") from None
        except (TypeError, ValueError, RecursionError) as error:
            raise RunError(f"{self.manifest_file} is damaged: {error}. {RESTORE}") from None
        recipe = load_recipe(self._recipe) if self._recipe.exists() else None
        missing = [] if recipe else [self._recipe.name]
        if recipe is None or asks_for_model(recipe):
            missing += [] if self.tokenizer.exists() else [self.tokenizer.name]
            missing += [] if self.has_model else ["adapter or model"]
        if recipe is not None and not self.sources.is_dir() and (manifest.joins or not asks_for_model(recipe)):
            missing.append(self.sources.name)
        if missing or recipe is None:
            raise RunError(f"{self.path} is incomplete: {', '.join(missing)} is missing. Copy the whole folder again.")
        return _as_trained(recipe, manifest.format), manifest

    def metric_entries(self) -> list[dict[str, float]]:
        """Return the numbers of each line of metrics.jsonl with a step, without lines that a kill has cut off."""
        if not self.metrics.is_file():
            return []
        entries: list[dict[str, float]] = []
        for line in self.metrics.read_bytes().splitlines():
            with suppress(ValueError):
                values = parse_record(dict[str, Any], line)
                entries.append({key: value for key, value in values.items() if isinstance(value, int | float)})
        return [entry for entry in entries if "step" in entry]

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that the run was trained with; empty if they are not known.

        Raises:
            RunError: If the file is damaged.
        """
        path = self.path / "versions.json"
        if not path.is_file():
            return {}
        try:
            return parse_record(dict[str, str], path.read_bytes())
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}. Restore or delete it.") from None

    def weights_checksum(self) -> str:
        """Return the SHA-256 of the recipe, the trained weights and the sources."""
        total = hashlib.sha256(self._recipe.read_bytes())
        folder = self.adapter if self.adapter.is_dir() else self.model
        for file in [*sorted(folder.glob("*")), *sorted(self.sources.rglob("*"))]:
            if file.is_file():
                with file.open("rb") as stream:
                    total.update(hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()


def asks_for_model(recipe: Recipe) -> bool:
    """Whether a recipe trains a model."""
    return bool(trained_columns(recipe)) if recipe.stage.fits_sources else recipe.method.trains


def trained_columns(recipe: Recipe) -> tuple[str, ...]:
    """Return the columns that a model learns: a question names no sources, or the model among them."""
    if not recipe.method.trains:
        return ()
    chosen = {
        name: [question.chosen_sources for question in recipe.questions_of(name).values()] for name in recipe.columns
    }
    return tuple(name for name, each in chosen.items() if any(s is None or "model" in s for s in each))


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on."""
    versions = {"python": python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _as_trained(recipe: Recipe, version: int) -> Recipe:
    """Return the recipe of a run with what its settings meant in its format.

    Before format 6 documents were not cleaned. Before format 5 labels of several tokens were learned as answers and
    scored whole also with `loss = "labels"`. For labels of one token both are the same in prediction.
    """
    if version < 6:
        recipe = recipe.model_copy(update={"table": recipe.table.model_copy(update={"clean": False})})
    if version >= 5:
        return recipe
    columns = recipe.columns.items()
    return recipe.with_settings({name: {"loss": "answer"} for name, each in columns if hasattr(each, "loss")})


def _readme(name: str, manifest: Manifest, recipe: Recipe) -> str:
    columns = ", ".join(f"`{column}` ({spec.kind})" for column, spec in recipe.columns.items())
    tables = (
        "\n".join(f"- {table.source}, {table.rows:,} rows" for table in manifest.tables) or "- none (adopted adapter)"
    )
    answers = "".join(f"- {join_in_words(name, join)}.\n" for name, join in manifest.joins.items())
    joined = f"\nWhat answers the label columns:\n\n{answers}" if answers else ""
    trained = (
        f"trained by papertune from `{manifest.base_name}` ({recipe.method.kind}, {manifest.trained_weights:,} "
        f"trainable parameters, {manifest.steps:,} steps)"
        if asks_for_model(recipe)
        else "fitted by papertune without training a model"
    )
    score = "" if manifest.dev_score is None else f"\nBest score on the dev rows: {manifest.dev_score:.4f}.\n"
    stage = recipe.stage
    what = f"A run that fills in {columns} in a table of papers"
    if not stage.fills_columns:
        what = f'{stage.run_in_words.capitalize()} (stage "{stage.kind}")'
    if manifest.parents:
        trained += f", from {' and '.join(f'`{parent.path}` ({parent.stage})' for parent in manifest.parents)}"
    return f"""# {name}

{what}, {trained}.

Use it:

    {stage.usage(name, saves_adapter=recipe.method.saves_adapter)}

Trained on:

{tables}
{score}{joined}
`recipe.toml` has all settings, `metrics.jsonl` the losses, `versions.json` the libraries. The folder `training/` is
only needed to resume a training; it may be deleted.
"""
