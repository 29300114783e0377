"""The recipe, rows and base model of a training, checked before weights load."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from papertune.errors import PapertuneWarning, RecipeError, TableError
from papertune.kinds.label.fit import MIN_ROWS
from papertune.kinds.label.record import MODEL
from papertune.manifest import Parent, TableNote
from papertune.methods import check_adapter
from papertune.models import Base, check_quantization, find_base, load_config, load_tokenizer
from papertune.pipelines.training.chosen_columns import choose_columns_to_learn
from papertune.pipelines.training.request import TrainingRequest
from papertune.prompts import PromptEncoder
from papertune.prompts.check_table import check_table
from papertune.prompts.context import check_context
from papertune.prompts.examples import training_examples
from papertune.prompts.given_cells import open_table
from papertune.prompts.separators import with_clear_separators
from papertune.recipe import Recipe, dump_recipe, load_recipe
from papertune.run_directory import RunDirectory, TrainingPlan, trained_columns
from papertune.sources.wanted import wanted_sources
from papertune.tables import Table


@dataclass(frozen=True)
class TrainingJob:
    """A training before weights load.

    Attributes:
        recipe: The recipe with just the columns to learn.
        tables: The training rows.
        selection_set: Dev rows whose score chooses the checkpoint.
        calibration_set: The other dev rows.
        sources: The sources of each question.
        source_tables: The rows that sources beside the model are fitted on: the training rows, and the dev rows if
            these were split off.
        notes: What the manifest records of `tables`.
        base: The base model.
        start: An adapter folder to start from; None: a new adapter.
        parents: The runs that the training starts from, the first one first.
        plan: What a resumed training must have in common.
    """

    recipe: Recipe
    tables: list[Table]
    selection_set: list[Table]
    calibration_set: list[Table]
    sources: dict[str, tuple[str, ...]]
    source_tables: list[Table]
    notes: list[TableNote]
    base: Base
    start: Path | None
    parents: list[Parent]
    plan: TrainingPlan

    @property
    def trained_recipe(self) -> Recipe | None:
        """The recipe with the columns that a model learns; None if there are none."""
        names = trained_columns(self.recipe)
        return self.recipe.only(names) if names else None


def prepare_job(request: TrainingRequest, recipe: Recipe, processes: int = 1) -> TrainingJob:
    """Read and check all that can be checked before weights load.

    Args:
        request: What to learn from.
        recipe: The recipe.
        processes: Number of processes.

    Raises:
        RecipeError, TableError, ModelError: If something is invalid.
    """
    from papertune.training import check_trackers  # late: `papertune check` needs no trainer

    chosen = inherit_adapter_settings(choose_columns_to_learn(recipe, request.only))
    if not chosen.stage.fits_sources:
        raise RecipeError(
            f'stage.kind is "{chosen.stage.kind}", but only stage "sft" is compared with other systems. Remove [stage] '
            "from the recipe, or add --set stage.kind=sft."
        )
    check_trackers(chosen.training.report_to)
    check_quantization(chosen.base_bits)
    sources = wanted_sources(chosen)
    training_tables, dev_tables, chosen = _read(request, chosen)
    selection_set, calibration_set = split_dev_rows(dev_tables, chosen)
    _check_scored(selection_set, chosen)
    warn_of_shortage(calibration_set, chosen)
    _check_thresholds([*selection_set, *calibration_set], chosen, sources, has_dev=bool(selection_set))
    notes = [TableNote(table.source, len(table), table.checksum()) for table in training_tables]
    found = find_base(chosen.model, request.base_place)
    start, parents = start_adapter(chosen, found), find_parents(chosen)
    plan = TrainingPlan(
        recipe=dump_recipe(chosen),
        tables=[note.checksum for note in notes],
        dev=[table.checksum() for table in [*selection_set, *calibration_set]],
        base=found.checksum,
        processes=processes,
        runs=[each.checksum for each in parents],
    )
    source_tables = [*training_tables, *([*selection_set, *calibration_set] if request.dev is None else [])]
    job = TrainingJob(
        chosen,
        training_tables,
        selection_set,
        calibration_set,
        sources,
        source_tables,
        notes,
        found,
        start,
        parents,
        plan,
    )
    return _within_context(job)


def _check_thresholds(
    dev_tables: Sequence[Table], recipe: Recipe, sources: Mapping[str, Sequence[str]], *, has_dev: bool
) -> None:
    """Raise a RecipeError for thresholds that are to be chosen on dev rows of which none has an answer."""
    answered = _count_answered(dev_tables, recipe)
    for name, column in recipe.columns.items():
        has_other_sources = any(set(sources[question]) - {MODEL} for question in recipe.questions_of(name))
        if column.required_calibration and not answered[name] and (has_dev or not has_other_sources):
            lack = "none of them has an answer" if has_dev else "there are none"
            raise RecipeError(
                f'columns.{name}.thresholds is "f1": they are chosen on dev rows, and {lack}. Add --dev or '
                "--dev-fraction, or write numbers."
            )


def _within_context(job: TrainingJob) -> TrainingJob:
    """Return a job after the check that prompts and answers fit into the context of the model, if one is trained."""
    if (recipe := job.trained_recipe) is not None:
        encoder = PromptEncoder(load_tokenizer(job.base), recipe.encoding, chat=recipe.chat)
        check_context(recipe, encoder, load_config(job.base))
    return job


def _read(request: TrainingRequest, recipe: Recipe) -> tuple[list[Table], list[Table], Recipe]:
    """Read and check the training and dev tables; warnings name the caller of `train`.

    Returns:
        The training and dev tables, and the recipe with the separators that the training tables show.
    """
    dev_share = request.dev_share(recipe)
    train_tables = [open_table(table, recipe) for table in request.table_list]
    dev_tables = [open_table(table, recipe) for table in request.dev_list]
    recipe, messages = with_clear_separators(recipe, train_tables)
    for message in messages:
        warnings.warn(message, PapertuneWarning, stacklevel=5)
    problems: list[str] = []
    for table in [*train_tables, *dev_tables]:
        findings = check_table(table, recipe, "train")
        problems += findings.problems
        for warning in findings.warnings:
            warnings.warn(warning, PapertuneWarning, stacklevel=5)
    if problems:
        raise TableError.collect("the tables do not fit the recipe", problems)
    asked = {example.column for table in train_tables for example in training_examples(table, recipe)}
    if empty := [name for name in recipe.columns if asked.isdisjoint(recipe.questions_of(name))]:
        raise TableError(
            f'no table has anything to learn for the column "{empty[0]}". Leave it out with --only '
            f"{' --only '.join(n for n in recipe.columns if n not in empty) or 'COLUMN'}, or add a table."
        )
    if dev_share:
        parts = [t.split(dev_share, recipe.training.seed, first_label(t, recipe)) for t in train_tables]
        train_tables, dev_tables = [rest for rest, _ in parts], [part for _, part in parts]
    return train_tables, dev_tables, recipe


def split_dev_rows(tables: Sequence[Table], recipe: Recipe) -> tuple[list[Table], list[Table]]:
    """Split dev rows into a selection set and a calibration set.

    A checkpoint looks better than it is on the rows that it was chosen on, and its confidence there is too high. So
    half of the rows of each table, at most `training.dev_rows`, are the selection set; of the others, at most
    `training.calibration_rows` are the calibration set. The calibration set is empty if no column needs one, or if it
    would have too few gold answers in these columns.

    Args:
        tables: The dev tables.
        recipe: The recipe.

    Returns:
        The selection set and the calibration set, each as parts of the tables.
    """
    spec = recipe.training
    selection_set: list[Table] = []
    calibration_set: list[Table] = []
    for table in tables:
        half = min(spec.dev_rows, (len(table) + 1) // 2)
        if half == len(table):
            selection_set.append(table)  # its only row
        else:
            others, selected = table.split(half / len(table), spec.seed, first_label(table, recipe))
            selection_set.append(selected)
            calibration_set.append(at_most(spec.calibration_rows, others, recipe))
    answered = _count_answered(calibration_set, recipe)
    if any(answered[name] >= MIN_ROWS for name, column in recipe.columns.items() if column.wants_calibration_set):
        return selection_set, calibration_set
    return [at_most(spec.dev_rows, table, recipe) for table in tables], []


def _count_answered(tables: Sequence[Table], recipe: Recipe) -> dict[str, int]:
    """Count for each column the rows with a gold answer to one of its questions."""
    asked = {question: name for name in recipe.columns for question in recipe.questions_of(name)}
    rows: dict[str, set[tuple[int, int]]] = {name: set() for name in recipe.columns}
    for number, table in enumerate(tables):
        for example in training_examples(table, recipe):
            rows[asked[example.column]].add((number, example.row))
    return {name: len(answered) for name, answered in rows.items()}


def at_most(count: int, table: Table, recipe: Recipe) -> Table:
    """Return at most `count` rows of a table, the same ones each time, stratified by the first label column."""
    if len(table) <= count:
        return table
    return table.split(count / len(table), recipe.training.seed, first_label(table, recipe))[1]


def _check_scored(tables: Sequence[Table], recipe: Recipe) -> None:
    if tables and not any(True for table in tables for _ in training_examples(table, recipe)):
        sources = ", ".join(dict.fromkeys(table.source for table in tables))
        raise TableError(
            f"the dev rows of {sources} have no answer in {', '.join(recipe.columns)}, so nothing can be scored. "
            "Choose other rows, or train without them."
        )


def warn_of_shortage(calibration_set: Sequence[Table], recipe: Recipe) -> None:
    """Warn of settings that cannot be fitted on a calibration set."""
    answers: dict[str, list[str]] = {name: [] for name in recipe.questions}
    for table in calibration_set:
        for example in training_examples(table, recipe):
            answers[example.column].append(example.answer)
    for name, column in recipe.columns.items():
        keys, why = column.calibration_shortage(answers.get(name, []))
        if why:
            warnings.warn(
                f'column "{name}": {" and ".join(keys)} will not be fitted: {why}. Give more rows with --dev or '
                "--dev-fraction; half of them become the calibration set.",
                PapertuneWarning,
                stacklevel=5,
            )


def first_label(table: Table, recipe: Recipe) -> str | None:
    """Return the first label column, by which splits of a table are stratified; None without one."""
    names = (name for name, column in recipe.columns.items() if column.is_ranked_by_first_label)
    return next((name for name in names if name in table.columns), None)


def inherit_adapter_settings(recipe: Recipe) -> Recipe:
    """Return the recipe with the settings of the adapter that is trained further."""
    method = recipe.method
    if method.start_run is None:
        return recipe
    start = RunDirectory(Path(method.start_run))
    start.read()  # raises an error of its own unless it is a run
    if not start.adapter.is_dir():
        raise RecipeError(
            f"method.start_from: {start.path} holds a whole model, not an adapter. Give {start.model} as model instead."
        )
    inherited = method.inherited_settings(check_adapter(start.adapter), start.path)
    return load_recipe(recipe, [f"method.{key}={value}" for key, value in inherited.items()])


def start_adapter(recipe: Recipe, base: Base) -> Path | None:
    """Return the adapter that is trained further, or None.

    Raises:
        RecipeError: If it was trained on another base model.
    """
    if recipe.method.start_run is None:
        return None
    start = RunDirectory(Path(recipe.method.start_run))
    _, manifest = start.read()
    if manifest.base_checksum != base.checksum and None not in (manifest.base_checksum, base.checksum):
        raise RecipeError(
            f"method.start_from: {start.path} was trained on {manifest.base_name}, whose weights are not those of "
            f"{base.location}. Name the same model."
        )
    return start.adapter


def find_parents(recipe: Recipe) -> list[Parent]:
    """Return the runs that a training starts from: the parents of its start, and the start itself.

    The start is the run of `method.start_from`, and, where `model` is the whole model of a run, that run.

    Raises:
        RecipeError: If nothing can start from a run of its stage.
        RunError: If it is not a run.
    """
    parents: list[Parent] = []
    for path in _start_folders(recipe):
        directory = RunDirectory(Path(path))
        stage, manifest = directory.read()[0].stage, directory.read()[1]
        if not stage.can_be_start:
            raise RecipeError(
                f'method.start_from: {path} is {stage.run_in_words} (stage "{stage.kind}"), from which no training can '
                "start. Name the run that it was trained from, or leave start_from out."
            )
        parents += [*manifest.parents, Parent(manifest.stage, path, directory.weights_checksum())]
    return parents


def _start_folders(recipe: Recipe) -> Sequence[str]:
    model = Path(recipe.model)
    folders = []
    if model.is_dir() and RunDirectory(model.parent).is_complete and RunDirectory(model.parent).model == model:
        folders.append(str(model.parent))
    if recipe.method.start_run is not None:
        folders.append(recipe.method.start_run)
    return folders
