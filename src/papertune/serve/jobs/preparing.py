"""From a request to the files and the arguments of a job."""

import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from papertune.errors import quoted
from papertune.files import write_atomically
from papertune.run_directory import RunDirectory
from papertune.serve.errors import ServeError, invalid_request
from papertune.serve.jobs.job import FILLED, PAIRS, RECIPE, REPORT, Job, no_such_job, read_job
from papertune.serve.jobs.requests import (
    EvaluateOptions,
    JobRequest,
    Options,
    PredictOptions,
    PreferOptions,
    TrainOptions,
)
from papertune.serve.recipes.toml import recipe_toml
from papertune.serve.tables.store import Tables
from papertune.serve.workspace import Workspace, is_name
from papertune.tables import SUFFIXES

# File names may have 255 bytes, with the suffix, and with that of a temporary file.
_MAX_STEM_BYTES = 150

_Options = TypeVar("_Options", bound=Options)


@dataclass(frozen=True)
class Prepared:
    """A job that can begin.

    Attributes:
        arguments: Arguments of `papertune`.
        table: Id of the table that it is about.
        reads: Names of the runs that it reads.
    """

    arguments: list[str]
    table: str
    reads: tuple[str, ...]


def prepare(workspace: Workspace, tables: Tables, folder: Path, request: JobRequest) -> Prepared:
    """Write the files that a job reads, and return how it is begun.

    Args:
        workspace: The work folder.
        tables: Its tables.
        folder: The folder of the job, empty at first.
        request: What was asked for.

    Raises:
        ServeError: If something of the request is missing or does not fit.
        RecipeError: If the recipe is invalid.
        OSError: If a file cannot be written.
    """
    preparation = _Preparation(workspace, tables, folder, request)
    return Prepared(preparation.arguments(), preparation.about, preparation.reads)


def uses_run(workspace: Workspace, job: Job, run: Path) -> bool:
    """Whether a job makes or reads a run: itself, or as the start or the model of a run."""
    if job.run == run.name:
        return True
    there = run.resolve()
    own = [] if job.run is None else [workspace.runs / job.run]
    for folder in (workspace.jobs / job.id, *own):
        recipe: dict[str, Any] = {}
        with suppress(OSError, ValueError):  # only a training has one; that of a run may be damaged meanwhile
            recipe = tomllib.loads((folder / RECIPE).read_text("utf-8"))
        for text in _texts(recipe):
            with suppress(OSError, ValueError):  # a text that cannot be a path
                if (workspace.root / text).resolve().is_relative_to(there):
                    return True
    return False


def needing_run(workspace: Workspace, run: Path) -> str | None:
    """Return the name of another run whose base model is in a run; None if there is none. A start is not needed."""
    there = run.resolve()
    for other in sorted(path for path in workspace.runs.iterdir() if is_name(path.name)):
        with suppress(OSError, ValueError, KeyError):  # a damaged run needs nothing
            model = tomllib.loads((other / RECIPE).read_text("utf-8"))["model"]
            if other.resolve() != there and (workspace.root / str(model)).resolve().is_relative_to(there):
                return other.name
    return None


@dataclass(frozen=True)
class _Preparation:
    """The folder of a new job.

    Attributes:
        workspace: The work folder.
        tables: Its tables.
        folder: The folder of the job, empty at first.
        request: What was asked for.
    """

    workspace: Workspace
    tables: Tables
    folder: Path
    request: JobRequest

    @property
    def about(self) -> str:
        """Id of the table that the job is about: of pairs, the table that was corrected."""
        if self.request.table is not None:
            return self.request.table
        pairs = self.request.options.get("pairs") if self.request.kind == "train" else None
        if pairs is None:
            raise _missing("table", "Choose one of /api/tables.")
        return self._prefer_job(pairs).table

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the runs that the job reads."""
        start = self.request.options.get("start_from") if self.request.kind == "train" else None
        return tuple(name for name in (self.request.run, start) if name is not None)

    def arguments(self) -> list[str]:
        """Write the files that the job reads, and return its arguments."""
        match self.request.kind:
            case "train":
                return self._train(self._options(TrainOptions))
            case "predict":
                return self._predict(self._options(PredictOptions))
            case "evaluate":
                return self._evaluate(self._options(EvaluateOptions))
            case "prefer":
                return self._prefer(self._options(PreferOptions))

    def _train(self, options: TrainOptions) -> list[str]:
        if self.request.run is not None:
            raise ServeError(400, "run_not_wanted", "run: a training makes a run. Name it by `name`.", "run")
        text = recipe_toml(self._recipe(options))
        target = self.workspace.new_run_path(self.request.name)
        write_atomically(self.folder / RECIPE, text)
        if options.pairs is None:
            source, dev = self._table("table", self.about), options.dev and self._table("dev", options.dev)
        elif self.request.table is not None:
            raise ServeError(
                400, "table_and_pairs", "a training learns a table or `options.pairs`. Leave one of them out.", "table"
            )
        else:
            source, dev = self._pairs("pairs", options.pairs), options.dev and self._pairs("dev", options.dev)
        arguments = ["train", source, "-r", self._own(RECIPE), "-o", str(target.relative_to(self.workspace.root))]
        if dev is not None:
            arguments.append(f"--dev={dev}")
        if options.dev_fraction is not None:
            arguments.append(f"--dev-fraction={options.dev_fraction}")
        arguments += [f"--only={name}" for name in options.only]
        return arguments if options.stage is None else [*arguments, f"--stage={options.stage}"]

    def _recipe(self, options: TrainOptions) -> dict[str, Any]:
        """Return the recipe of a training, from the run that it starts from."""
        recipe = self.request.recipe
        if options.start_from is None:
            if recipe is None:
                raise _missing("recipe", "A training needs one: make it with /api/recipes/init.")
            return recipe
        start = self.workspace.run_path(options.start_from)
        RunDirectory(start).read()
        if recipe is None:
            recipe = tomllib.loads((start / RECIPE).read_text("utf-8"))
            if options.stage is not None:
                # A run's recipe has all defaults, and those of its own stage: what another stage needs is different.
                recipe.pop("stage", None)
                recipe.get("training", {}).pop("learning_rate", None)
        method = recipe.get("method", {})
        if not isinstance(method, Mapping):
            return recipe  # which is then found to be invalid
        return recipe | {"method": {**method, "start_from": str(start.relative_to(self.workspace.root))}}

    def _predict(self, options: PredictOptions) -> list[str]:
        columns = options.columns if options.columns == "all" else ",".join(options.columns)
        if options.columns != "all" and (comma := next((each for each in options.columns if "," in each), None)):
            raise ServeError(
                400,
                "comma",
                f'options.columns: {quoted(comma)} has a comma, which separates names. Choose "all".',
                "options.columns",
                column=comma,
            )
        arguments = ["predict", self._run(), self._table("table", self.about), "-o", self._own(FILLED)]
        # An attempt that was killed just before its end has written the file already.
        arguments += [f"--columns={columns}", "--overwrite"]
        if options.probabilities:
            arguments.append("--probabilities")
        return arguments if options.sort_by is None else [*arguments, f"--sort-by={options.sort_by}"]

    def _evaluate(self, options: EvaluateOptions) -> list[str]:
        arguments = ["evaluate", self._run(), self._table("table", self.about), "-o", self._own(REPORT)]
        for name in ("truth", "baselines"):
            if (table := getattr(options, name)) is not None:
                arguments.append(f"--{name}={self._table(name, table)}")
        return [*arguments, "--overwrite"]  # an attempt that was stopped may have left a part

    def _prefer(self, options: PreferOptions) -> list[str]:
        recipe = f"{self._run()}/{RECIPE}"
        filled = self._table("table", self.about, corrected=False)
        arguments = ["prefer", filled]
        if options.corrected is not None:
            arguments.append(self._table("corrected", options.corrected))
        elif self.tables.changed_cells(self.about):
            arguments.append(self._table("corrected", self.about))
        elif not options.synthesise:
            name = self.tables.meta(self.about).name
            raise ServeError(
                400,
                "nothing_corrected",
                f"no cell of {name} is corrected, so no answer is preferred. Correct some cells first.",
                "table",
                table=name,
            )
        arguments += ["-r", recipe, "-o", self._own(PAIRS), "--overwrite"]
        return [*arguments, *(["--synthesise"] if options.synthesise else [])]

    def _options(self, kind: type[_Options]) -> _Options:
        try:
            return kind.model_validate(self.request.options)
        except ValidationError as error:
            raise invalid_request(error, "options") from None

    def _run(self) -> str:
        """Return the path of the run that the job uses."""
        if self.request.recipe is not None:
            raise ServeError(400, "recipe_not_wanted", "recipe: only a training has one. Leave it out.", "recipe")
        if self.request.run is None:
            raise _missing("run", "Choose one of /api/runs.")
        path = self.workspace.run_path(self.request.run)
        RunDirectory(path).read()  # an unfinished or damaged run is an error before the job begins
        return str(path.relative_to(self.workspace.root))

    def _prefer_job(self, job_id: str) -> Job:
        """Return a job that has made pairs of answers."""
        folder = self.workspace.job_path(job_id)
        try:
            job = read_job(folder)
        except (OSError, ValueError):
            raise no_such_job(job_id) from None
        if (job.kind, job.state) != ("prefer", "done"):
            raise ServeError(
                409,
                "no_pairs",
                f"{quoted(job.name)} has no pairs of answers: only a finished `prefer` job has. Choose one.",
                "options.pairs",
                name=job.name,
            )
        return job

    def _pairs(self, role: str, job_id: str) -> str:
        """Copy the pairs of a job, which may be deleted, and return the path of the copy."""
        self._prefer_job(job_id)
        return self._copy(role, self.workspace.job_path(job_id) / PAIRS, PAIRS)

    def _table(self, role: str, table: str, *, corrected: bool = True) -> str:
        """Write a copy of a table, and return its path; later corrections would keep the job from being resumed.

        Args:
            role: The folder of the copy.
            table: The id.
            corrected: Whether corrections are in the copy.
        """
        source = self.tables.file(table, corrected=corrected)
        return self._copy(role, source, _copied_name(self.tables.meta(table).name, source.suffix))

    def _copy(self, role: str, source: Path, name: str) -> str:
        folder = self.folder / role
        folder.mkdir()
        target = folder / name
        try:
            target.hardlink_to(source)  # it never changes
        except OSError:
            shutil.copyfile(source, target)
        return self._own(f"{role}/{target.name}")

    def _own(self, name: str) -> str:
        """Return the path of a file of the job in the work folder."""
        return f"{self.folder.relative_to(self.workspace.root)}/{name}"


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a recipe."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _copied_name(name: str, suffix: str) -> str:
    """Return the name of a copy of a table: that of its file, short enough, with the suffix of the copy behind it."""
    known = Path(name).suffix if Path(name).suffix.lower() in SUFFIXES else ""
    stem = name.removesuffix(known).encode()[:_MAX_STEM_BYTES].decode(errors="ignore") or "table"
    return f"{stem}{suffix}" if known.lower() in ("", suffix) else f"{stem}{known}{suffix}"


def _missing(name: str, remedy: str) -> ServeError:
    return ServeError(400, "missing", f"{name} is missing. {remedy}", name, name=name)
