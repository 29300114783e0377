"""From a request to the files and the arguments of a job."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from papertune.errors import quoted
from papertune.files import write_atomically
from papertune.run_directory import RunDirectory
from papertune.serve.errors import ServeError, invalid_request
from papertune.serve.jobs.job import FILLED, PAIRS, RECIPE, REPORT
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
from papertune.serve.workspace import Workspace
from papertune.tables import SUFFIXES

# File names may have 255 bytes, with the suffix, and with that of a temporary file.
_MAX_STEM_BYTES = 150

_Options = TypeVar("_Options", bound=Options)


@dataclass(frozen=True)
class Preparation:
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

    def arguments(self) -> list[str]:
        """Write the files that the job reads, and return its arguments.

        Raises:
            ServeError: If something of the request is missing or does not fit.
            RecipeError: If the recipe is invalid.
            OSError: If a file cannot be written.
        """
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
        if self.request.recipe is None:
            raise _missing("recipe", "A training needs one: make it with /api/recipes/init.")
        if self.request.run is not None:
            raise ServeError(400, "invalid_request", "run: a training makes a run. Name it by `name`.", "run")
        text = recipe_toml(self.request.recipe)
        target = self.workspace.new_run_path(self.request.name)
        write_atomically(self.folder / RECIPE, text)
        arguments = ["train", self._table("table", self.request.table), "-r", self._own(RECIPE)]
        arguments += ["-o", str(target.relative_to(self.workspace.root))]
        if options.dev is not None:
            arguments.append(f"--dev={self._table('dev', options.dev)}")
        if options.dev_fraction is not None:
            arguments.append(f"--dev-fraction={options.dev_fraction}")
        arguments += [f"--only={name}" for name in options.only]
        return arguments if options.stage is None else [*arguments, f"--stage={options.stage}"]

    def _predict(self, options: PredictOptions) -> list[str]:
        columns = options.columns if options.columns == "all" else ",".join(options.columns)
        if options.columns != "all" and (comma := next((each for each in options.columns if "," in each), None)):
            raise ServeError(
                400,
                "invalid_request",
                f'options.columns: {quoted(comma)} has a comma, which separates names. Choose "all".',
                "options.columns",
            )
        arguments = ["predict", self._run(), self._table("table", self.request.table), "-o", self._own(FILLED)]
        arguments.append(f"--columns={columns}")
        if options.probabilities:
            arguments.append("--probabilities")
        return arguments if options.sort_by is None else [*arguments, f"--sort-by={options.sort_by}"]

    def _evaluate(self, options: EvaluateOptions) -> list[str]:
        arguments = ["evaluate", self._run(), self._table("table", self.request.table), "-o", self._own(REPORT)]
        for name in ("truth", "baselines"):
            if (table := getattr(options, name)) is not None:
                arguments.append(f"--{name}={self._table(name, table)}")
        return [*arguments, "--overwrite"]  # an attempt that was stopped may have left a part

    def _prefer(self, options: PreferOptions) -> list[str]:
        recipe = f"{self._run()}/{RECIPE}"
        filled = self._table("table", self.request.table, corrected=False)
        arguments = ["prefer", filled]
        if options.corrected is not None:
            arguments.append(self._table("corrected", options.corrected))
        elif self.tables.changed_cells(self.request.table):
            arguments.append(self._table("corrected", self.request.table))
        elif not options.synthesise:
            name = self.tables.meta(self.request.table).name
            raise ServeError(
                400,
                "nothing_corrected",
                f"no cell of {name} is corrected, so no answer is preferred. Correct some cells first.",
                "table",
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
            raise ServeError(400, "invalid_request", "recipe: only a training has one. Leave it out.", "recipe")
        if self.request.run is None:
            raise _missing("run", "Choose one of /api/runs.")
        path = self.workspace.run_path(self.request.run)
        RunDirectory(path).read()  # an unfinished or damaged run is an error before the job begins
        return str(path.relative_to(self.workspace.root))

    def _table(self, role: str, table: str, *, corrected: bool = True) -> str:
        """Write a copy of a table, and return its path; later corrections would keep the job from being resumed.

        Args:
            role: The folder of the copy.
            table: The id.
            corrected: Whether corrections are in the copy.
        """
        source = self.tables.file(table, corrected=corrected)
        folder = self.folder / role
        folder.mkdir()
        target = folder / f"{_stem(self.tables.meta(table).name)}{source.suffix}"
        try:
            target.hardlink_to(source)  # files of tables never change
        except OSError:
            shutil.copyfile(source, target)
        return self._own(f"{role}/{target.name}")

    def _own(self, name: str) -> str:
        """Return the path of a file of the job in the work folder."""
        return f"{self.folder.relative_to(self.workspace.root)}/{name}"


def _stem(name: str) -> str:
    """Return the name of a table's file without its suffix, short enough for a file."""
    stem = Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name
    return stem.encode()[:_MAX_STEM_BYTES].decode(errors="ignore") or "table"


def _missing(name: str, remedy: str) -> ServeError:
    return ServeError(400, "invalid_request", f"{name} is missing. {remedy}", name)
