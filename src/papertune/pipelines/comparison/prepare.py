"""The columns and rows of a comparison, checked before any work, and what a system may see of them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneWarning, RecipeError, RunError, TableError
from papertune.evaluation.systems.outputs import rows_with_answers
from papertune.kinds import Column
from papertune.models import find_base
from papertune.pipelines.comparison.base_model import without_answers
from papertune.pipelines.comparison.report_parts import check_gold
from papertune.pipelines.training.chosen_columns import choose_columns_to_learn
from papertune.pipelines.training.job import prepare_job
from papertune.pipelines.training.request import TrainingRequest
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader
from papertune.prompts.given_cells import open_table
from papertune.prompts.separators import with_clear_separators
from papertune.recipe import Recipe, load_recipe
from papertune.run import Run, load_run
from papertune.tables import Table

# The parts of a recipe that prompts depend on, beside the columns, and those that training depends on.
_PROMPTING = ("layout", "chat", "table", "encoding")
_TRAINING = ("method", "training")


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        recipe: With just the columns that are compared.
        train: The training table of all systems.
        dev: The dev table of the trainings, if any.
        test: The table that systems are scored on, with gold cells.
        documents: The same table without gold cells: all that systems see of it.
    """

    recipe: Recipe
    train: Table
    dev: Table | None
    test: Table
    documents: Table


def prepare_comparison(
    train: Any,
    test: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    only: Sequence[str],
    overrides: Sequence[str],
    dev: Any = None,
) -> Comparison:
    """Read and check the tables of a comparison.

    Args:
        train: The training table: a path, a data frame or a list of dicts.
        test: The table to score on.
        recipe: A recipe, its file or built-in name, or a mapping.
        only: Just these of its columns.
        overrides: Settings.
        dev: The dev table.

    Raises:
        RecipeError: If the recipe is invalid, or lacks a column of `only`.
        TableError: If a table does not fit it, two are the same, or a column has no gold cell in one.
    """
    chosen = choose_columns_to_learn(load_recipe(recipe, overrides), only)
    training, scored = open_table(train, chosen), open_table(test, chosen)
    dev_table = None if dev is None else open_table(dev, chosen)
    chosen, messages = with_clear_separators(chosen, [training])
    for message in messages:
        warnings.warn(message, PapertuneWarning, stacklevel=3)
    _check_different(training, scored, dev_table)
    found = check_table(scored, chosen, "score")
    used = [training] if dev_table is None else [training, dev_table]
    problems = [problem for table in used for problem in check_table(table, chosen, "train").problems]
    if problems := [*problems, *found.problems]:
        raise TableError.collect("the tables do not fit the recipe", problems)
    for table in (training, scored):
        _check_whole_labels(table, chosen)
    check_gold(scored, chosen)
    for warning in found.warnings:  # the training warns of the other tables
        warnings.warn(warning, PapertuneWarning, stacklevel=3)
    names = [name for name in chosen.columns if rows_with_answers(scored, chosen, name)]
    for name in chosen.columns:
        if name not in names:
            warnings.warn(
                f'{scored.source} has no answer for "{name}", so this column is neither learned nor compared.',
                PapertuneWarning,
                stacklevel=3,
            )
    for name in names:
        if not rows_with_answers(training, chosen, name):
            rest = " --only ".join(other for other in names if rows_with_answers(training, chosen, other)) or "COLUMN"
            raise TableError(
                f'{training.source} has nothing to learn for the column "{name}". Leave it out with --only {rest}, or '
                "give another table as TRAIN."
            )
    compared = chosen.only(tuple(names))
    return Comparison(compared, training, dev_table, scored, without_answers(scored, compared))


def open_run(run: str | Path | Run, comparison: Comparison, device: str | None, base: str | Path | None) -> Run:
    """Open a run, and check that it gets the same prompts as the base model.

    Args:
        run: The run.
        comparison: What is compared.
        device: As in `compare`, like the base.
        base: Where the base model is now.

    Raises:
        RunError: If it is not a run, has another base model or other prompts, or was trained on the table that it would
            be scored on.
    """
    opened = run if isinstance(run, Run) else load_run(run, device=device, base=base)
    opened.directory.check_fills_columns(opened.recipe, "be compared")
    path, recipe = opened.directory.path, comparison.recipe
    if comparison.test.checksum() in {note.checksum for note in opened.manifest.tables}:
        raise RunError(
            f"{path} was trained on {comparison.test.source}, so its scores there would mean nothing. Give rows "
            "that it was not trained on as TEST."
        )
    if missing := [name for name in recipe.columns if name not in opened.recipe.columns]:
        raise RunError(
            f'{path} has no column "{missing[0]}". It has: {", ".join(opened.recipe.columns)}. Name these with --only.'
        )
    different = [key for key in _PROMPTING if getattr(opened.recipe, key) != getattr(recipe, key)]
    different += [
        f"columns.{name}"
        for name in recipe.columns
        if _prompted_settings(opened.recipe.columns[name]) != _prompted_settings(recipe.columns[name])
    ]
    if "table" in different and opened.recipe.table.clean != recipe.table.clean:
        how, value = ("cleaned", "true") if opened.recipe.table.clean else ("as they are", "false")
        raise RunError(
            f"{path} reads documents {how}, unlike the recipe, so its prompts differ from those of the base model. Add "
            f"--set table.clean={value}."
        )
    if different:
        raise RunError(
            f"{path} was trained with another {' and another '.join(different)} than the recipe has, so its prompts "
            f"differ from those of the base model. Give its own recipe: -r {path / 'recipe.toml'}"
        )
    _check_base(opened, recipe.model, base)
    return opened


def check_curve_point(run: Run, comparison: Comparison) -> None:
    """Check that a run can be a point of a learning curve whose other runs are trained with the recipe and dev table.

    Warns if only the run, or only the others, have dev rows: then the points differ by more than the number of rows.

    Raises:
        RunError: If the run was trained with other settings.
    """
    path, recipe, dev = run.directory.path, comparison.recipe, comparison.dev
    if others := [key for key in _TRAINING if getattr(run.recipe, key) != getattr(recipe, key)]:
        raise RunError(
            f"{path} was trained with another {' and another '.join(others)} than the recipe has, with which the other "
            f"runs of the learning curve are trained. Give its own recipe: -r {path / 'recipe.toml'}"
        )
    if not run.manifest.tables:  # how an adopted adapter was trained is not known
        return
    had_dev = run.manifest.dev_score is not None
    if had_dev and dev is None:
        differs = "was trained with dev rows, and the other runs of the learning curve are trained without any"
        remedy = "give --dev a table of the same kind, such as the dev rows of the run"
    elif dev is not None and not had_dev:
        differs = f"was trained without dev rows, and the other runs of the learning curve with those of {dev.source}"
        remedy = "leave --dev out"
    else:
        return
    warnings.warn(
        f"{path} {differs}, so its point differs from theirs by more than the number of rows: {remedy}.",
        PapertuneWarning,
        stacklevel=4,
    )


def check_trainings(tables: Sequence[Table], comparison: Comparison, base: str | Path | None) -> None:
    """Check the trainings of a comparison before any work.

    Args:
        tables: The training table of each: the whole table or a part of it.
        comparison: What is compared.
        base: Where the base model is now.

    Raises:
        RecipeError, ModelError: If the recipe cannot be trained here.
        TableError: If a part of the table has no gold cell in a column.
    """
    if not tables:
        return
    recipe = comparison.recipe
    for name, column in recipe.columns.items():
        if comparison.dev is None and column.required_calibration:
            raise RecipeError(
                f'columns.{name}.thresholds is "f1": they are chosen on dev rows, and there are none. Add --dev DEV, '
                "or write numbers. A run that was trained with dev rows has the numbers in its recipe: --run RUN -r "
                "RUN/recipe.toml."
            )
    for table in tables:
        for name in recipe.columns:
            if not rows_with_answers(table, recipe, name):
                raise TableError(
                    f"--curve: {len(table)} rows of {table.source}, drawn at random, have nothing to learn for the "
                    f'column "{name}". Begin the curve with more rows, or leave the column out with --only.'
                )
    with warnings.catch_warnings():  # the training warns
        warnings.simplefilter("ignore", PapertuneWarning)
        prepare_job(TrainingRequest(tables[0], comparison.dev, base=base), recipe)


def _check_different(train: Table, test: Table, dev: Table | None) -> None:
    """Check that the training, test and dev tables are different.

    Raises:
        TableError: If two tables are the same.
    """
    if train.checksum() == test.checksum():
        raise TableError(
            f"{test.source} is also the training table, so scores on it would mean nothing. Give other rows as TEST."
        )
    if dev is None:
        return
    for other, reason in (
        (test, "test table. A run that is chosen and calibrated on the scored rows looks better than it is"),
        (train, "training table. There the last checkpoint always looks best, and every confidence is too high"),
    ):
        if dev.checksum() == other.checksum():
            raise TableError(f"--dev: {dev.source} is also the {reason}. Give other rows.")


def _check_whole_labels(table: Table, recipe: Recipe) -> None:
    """Check that a table does not ask about each label of a labels column separately, which only a run can answer.

    Raises:
        TableError: If it does.
    """
    if not table.is_instructions:
        return
    reader = RowReader(table, recipe)
    asked = {question for row in range(len(table)) for question in reader.asked(row)}
    for name, column in recipe.columns.items():
        if column.question_of_label(name) and not asked.isdisjoint(recipe.questions_of(name)):
            rest = " --only ".join(other for other in recipe.columns if other != name) or "COLUMN"
            raise TableError(
                f'{table.source} is an instruction file, whose rows ask about one label of "{name}" each, and most '
                f"systems predict all labels of a paper at once. Give a table with a column {name}, or leave it out "
                f"with --only {rest}."
            )


def _check_base(run: Run, model: str, base: str | Path | None) -> None:
    """Check that a run was trained on the base model of the recipe, by checksum if both are known.

    Raises:
        RunError: If it was not.
    """
    trained_on = run.manifest.base_checksum
    found = find_base(model, None if base is None else Path(base))
    known = None not in (trained_on, found.checksum)
    if trained_on == found.checksum if known else run.recipe.model == model:
        return
    raise RunError(
        f"{run.directory.path} was trained on another model than that of the recipe: {run.manifest.base_name}, whose "
        f"weights are not those of {found.location}. Give its own recipe: -r {run.directory.path / 'recipe.toml'}, and "
        "--base if that model has moved."
    )


def _prompted_settings(column: Column) -> dict[str, Any]:
    """Return the settings of a column that its prompts and answers depend on."""
    return column.model_dump(include={"kind", "question", "labels", "answers"})
