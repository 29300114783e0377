"""What a training is about, known before weights load: recipe, rows, base model."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneWarning, RecipeError, TableError
from papertune.kinds.label.fit import MIN_ROWS
from papertune.methods import check_adapter
from papertune.models import Base, check_quantization, find_base
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import training_examples
from papertune.recipe import Recipe, dump_recipe, load_recipe
from papertune.run_directory import RunDirectory, TableNote, TrainingPlan
from papertune.tables import Table, read_table


@dataclass(frozen=True)
class TrainingJob:
    """What is known before weights load.

    Attributes:
        recipe: With just the columns that are learnt.
        tables: The tables that are learnt from.
        dev: The tables whose score chooses the best checkpoint.
        kept_apart: Dev rows that do not, on which probabilities are calibrated and thresholds are chosen.
        notes: What the run will remember of `tables`.
        base: The base model.
        start: An adapter folder that the adapter begins from; None: it begins with zeros.
        plan: What a resumed training must have in common.
    """

    recipe: Recipe
    tables: list[Table]
    dev: list[Table]
    kept_apart: list[Table]
    notes: list[TableNote]
    base: Base
    start: Path | None
    plan: TrainingPlan


def prepare_job(
    tables: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    dev: Any,
    dev_fraction: float,
    only: Sequence[str],
    overrides: Sequence[str],
    base: str | Path | None,
    processes: int,
) -> TrainingJob:
    """Find all mistakes that can be found before weights load.

    Args:
        tables: As in `train`, like all the rest.
        recipe: A recipe, its file or built-in name, or a mapping.
        dev: The dev table.
        dev_fraction: Instead of `dev`: a share of the rows.
        only: Just these columns.
        overrides: Settings.
        base: Where the base model is now.
        processes: How many processes train.

    Raises:
        RecipeError, TableError, ModelError: The mistakes.
    """
    from papertune.training import check_trackers  # late: `papertune check` needs no trainer

    chosen = _inherit_adapter_settings(choose_columns_to_learn(load_recipe(recipe, overrides), only))
    check_trackers(chosen.training.report_to)
    check_quantization(chosen.base_bits)
    learnt_from, dev_tables = _read(tables, dev, dev_fraction, chosen)
    scored, kept_apart = split_dev_rows(dev_tables, chosen)
    _check_scored(scored, chosen)
    warn_of_shortage(kept_apart, chosen)
    answered = _count_answered([*scored, *kept_apart], chosen)
    for name, column in chosen.columns.items():
        if column.required_calibration and not answered[name]:
            lack = "none of them has an answer" if scored else "there are none"
            raise RecipeError(
                f'columns.{name}.thresholds is "f1": they are chosen on dev rows, and {lack}. Add --dev or '
                "--dev-fraction, or write numbers."
            )
    notes = [TableNote(table.source, len(table), table.checksum()) for table in learnt_from]
    found = find_base(chosen.model, None if base is None else Path(base))
    plan = TrainingPlan(
        recipe=dump_recipe(chosen),
        tables=[note.checksum for note in notes],
        dev=[table.checksum() for table in [*scored, *kept_apart]],
        base=found.checksum,
        processes=processes,
    )
    return TrainingJob(chosen, learnt_from, scored, kept_apart, notes, found, _start(chosen, found), plan)


def choose_columns_to_learn(recipe: Recipe, only: Sequence[str]) -> Recipe:
    """Give the recipe with just the columns named, or all if none is.

    Raises:
        RecipeError: If the recipe lacks one.
    """
    unknown = [name for name in only if name not in recipe.columns]
    if unknown:
        raise RecipeError(f"--only {unknown[0]}: the recipe has no such column. It has: {', '.join(recipe.columns)}.")
    return recipe.only(tuple(only)) if only else recipe


def _read(tables: Any, dev: Any, dev_fraction: float, recipe: Recipe) -> tuple[list[Table], list[Table]]:
    """Read the tables that are learnt from and the dev tables; the warnings are for the caller of `train`."""
    many = isinstance(tables, list | tuple) and not (tables and isinstance(tables[0], Mapping))
    train_tables = [t if isinstance(t, Table) else read_table(t) for t in (tables if many else [tables])]
    dev_tables = [] if dev is None else [dev if isinstance(dev, Table) else read_table(dev)]
    problems: list[str] = []
    for table in [*train_tables, *dev_tables]:
        findings = check_table(table, recipe, "train")
        problems += findings.problems
        for warning in findings.warnings:
            warnings.warn(warning, PapertuneWarning, stacklevel=4)
    if problems:
        raise TableError.collect("the tables do not fit the recipe", problems)
    learnt = {example.column for table in train_tables for example in training_examples(table, recipe)}
    if unlearnt := [name for name in recipe.columns if learnt.isdisjoint(recipe.questions_of(name))]:
        raise TableError(
            f'no table has anything to learn for the column "{unlearnt[0]}". Leave it out with --only '
            f"{' --only '.join(n for n in recipe.columns if n not in unlearnt) or 'COLUMN'}, or add a table."
        )
    if dev_fraction and not dev_tables:
        parts = [t.split(dev_fraction, recipe.training.seed, first_label(t, recipe)) for t in train_tables]
        train_tables, dev_tables = [rest for rest, _ in parts], [part for _, part in parts]
    return train_tables, dev_tables


def split_dev_rows(tables: Sequence[Table], recipe: Recipe) -> tuple[list[Table], list[Table]]:
    """Part dev rows into those that choose the weights and those that are kept apart for probabilities and thresholds.

    A checkpoint that is chosen on some rows looks better on them than it is, and so do probabilities that are
    calibrated there. Half of a table's rows choose, at most `training.dev_rows`; of the others, at most
    `training.calibration_rows` are kept apart. Where no column wants it, or too few of them have an answer in such a
    column to fit anything, no row is.

    Args:
        tables: The dev tables.
        recipe: The recipe.

    Returns:
        The rows that choose and the rows that are kept apart, each in at most as many tables.
    """
    spec = recipe.training
    choosing: list[Table] = []
    kept_apart: list[Table] = []
    for table in tables:
        half = min(spec.dev_rows, (len(table) + 1) // 2)
        if half == len(table):
            choosing.append(table)  # its only row
        else:
            others, chosen = table.split(half / len(table), spec.seed, first_label(table, recipe))
            choosing.append(chosen)
            kept_apart.append(_at_most(spec.calibration_rows, others, recipe))
    answered = _count_answered(kept_apart, recipe)
    if any(answered[name] >= MIN_ROWS for name, column in recipe.columns.items() if column.wants_calibration_set):
        return choosing, kept_apart
    return [_at_most(spec.dev_rows, table, recipe) for table in tables], []


def _count_answered(tables: Sequence[Table], recipe: Recipe) -> dict[str, int]:
    """Count for each column the rows that have an answer to it, or to a part of it."""
    asked = {question: name for name in recipe.columns for question in recipe.questions_of(name)}
    rows: dict[str, set[tuple[int, int]]] = {name: set() for name in recipe.columns}
    for number, table in enumerate(tables):
        for example in training_examples(table, recipe):
            rows[asked[example.column]].add((number, example.row))
    return {name: len(answered) for name, answered in rows.items()}


def _at_most(count: int, table: Table, recipe: Recipe) -> Table:
    """Give so many rows of a table, the same ones each time, with each label of the first label column in its share."""
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


def warn_of_shortage(kept_apart: Sequence[Table], recipe: Recipe) -> None:
    """Warn of what the recipe asks for and the rows that are kept apart cannot give."""
    answers: dict[str, list[str]] = {name: [] for name in recipe.questions}
    for table in kept_apart:
        for example in training_examples(table, recipe):
            answers[example.column].append(example.answer)
    for name, column in recipe.columns.items():
        keys, why = column.calibration_shortage(answers.get(name, []))
        if why:
            warnings.warn(
                f'column "{name}": {" and ".join(keys)} will not be fitted: {why}. Give more rows with --dev or '
                "--dev-fraction; half of them are kept apart.",
                PapertuneWarning,
                stacklevel=4,
            )


def first_label(table: Table, recipe: Recipe) -> str | None:
    """Give the label column whose labels keep their shares where the rows of a table are parted; None without one."""
    names = (name for name, column in recipe.columns.items() if column.is_ranked_by_first_label)
    return next((name for name in names if name in table.columns), None)


def _inherit_adapter_settings(recipe: Recipe) -> Recipe:
    """Return the recipe with the settings of the adapter that is trained further."""
    method = recipe.method
    if method.start_run is None:
        return recipe
    start = RunDirectory(Path(method.start_run))
    start.read()
    if not start.adapter.is_dir():
        raise RecipeError(
            f"method.start_from: {start.path} holds a whole model, not an adapter. Give {start.model} as model instead."
        )
    inherited = method.inherited_settings(check_adapter(start.adapter), start.path)
    return load_recipe(recipe, [f"method.{key}={value}" for key, value in inherited.items()])


def _start(recipe: Recipe, base: Base) -> Path | None:
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
