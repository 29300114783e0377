"""Cascades of a run: which columns have one, what it costs, and why others have none, in words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from papertune.errors import RunError, quoted
from papertune.inference.joined import cascading_questions, columns_asking_model
from papertune.kinds.label.record import MIN_EVIDENCE, Cascade
from papertune.recipe import Recipe
from papertune.run_directory import RESTORE

if TYPE_CHECKING:
    from papertune.run import Run


def checked_cascades(run: "Run") -> Mapping[str, Cascade]:
    """Return the cascades that calibration has chosen for a run, by column.

    Raises:
        RunError: If no column has one, or run.json has one that does not fit its joins.
    """
    asking = {name: cascading_questions(run.recipe, run.joins, name) for name in run.recipe.columns}
    columns = [name for name in asking if asking[name]]
    if not columns:
        raise RunError(
            f"{run.directory.path}: --cascade spares the model the rows that words or other sources decide, and no "
            "column of this run is answered by them and the model together. Leave out --cascade."
        )
    found = {name: run.manifest.cascades[name] for name in columns if name in run.manifest.cascades}
    if not found:
        raise RunError(
            f"{run.directory.path}: --cascade needs a certainty that is chosen on dev rows, and the run has none for "
            f"{' and '.join(map(quoted, columns))}. Choose it with `papertune calibrate {run.directory.path} DEV`, "
            f"where DEV is a table of at least {MIN_EVIDENCE} rows with answers that it was not trained on."
        )
    for name, cascade in found.items():
        # Else a question of a decided row would have no answer.
        if {*cascade.joins} != {*asking[name]} or any(join.asks_model for join in cascade.joins.values()):
            raise RunError(
                f'{run.directory.manifest_file} is damaged: "cascades.{name}.joins" does not fit "joins". {RESTORE}'
            )
    return found


def cascade_in_words(name: str, cascade: Cascade, *, several_labels: bool) -> str:
    """Return which dev rows skip the model, and what it costs there, in one line.

    Args:
        name: The column.
        cascade: Its cascade.
        several_labels: Whether a cell has several labels, so that the score is micro F1.
    """
    if cascade.certainty is None:
        return f"{name}: no row skips the model: on {cascade.rows:,} dev rows any share of them cost too much"
    cells = "1 cell" if cascade.changed == 1 else f"{cascade.changed:,} cells"
    score = "micro F1" if several_labels else "accuracy"
    (full_loss, loss), (full_score, found) = cascade.log_loss, cascade.score
    return (
        f"{name}: {cascade.share:.0%} of {cascade.rows:,} dev rows need no model, those of which the other sources are "
        f"certain by {cascade.certainty:.3f}; that changes {cells}, log-loss {full_loss:.3f} to "
        f"{loss:.3f}, {score} {full_score:.3f} to {found:.3f}"
    )


def cascades_in_words(cascades: Mapping[str, Cascade], recipe: Recipe) -> list[str]:
    """Return a line for each column of a recipe that has a cascade."""
    return [
        cascade_in_words(name, each, several_labels=recipe.columns[name].kind == "labels")
        for name, each in cascades.items()
        if name in recipe.columns
    ]


def about_cascades(run: "Run", asked: Recipe) -> list[str]:
    """Return a line for each column about which the model is asked: its cascade, or why it has none; [] without any.

    Args:
        run: The run.
        asked: The recipe with only the columns to predict.
    """
    if not run.cascades:
        return []
    asking = columns_asking_model(asked, run.joins, run.decisions)
    others = [f"{name}: no row skips the model: {_why_none(run, name)}" for name in asking if name not in run.cascades]
    return [f"--cascade: {text}" for text in (*cascades_in_words(run.cascades, asked), *others)]


def _why_none(run: "Run", name: str) -> str:
    """Return why a column about which the model is asked has no cascade."""
    if cascading_questions(run.recipe, run.joins, name):
        return (
            f"calibration had fewer than {MIN_EVIDENCE} dev rows with an answer (more: `papertune calibrate "
            f"{run.directory.path} DEV`)"
        )
    some = not run.joins.keys().isdisjoint(run.recipe.questions_of(name))
    return f"no other source answers {'all of its labels' if some else 'this column'}"


def decided_in_words(decided: Mapping[str, int], answered: int) -> list[str]:
    """Return how many rows needed no model, a line for each column.

    Args:
        decided: By column with a cascade the number of rows that were answered without the model.
        answered: The number of rows that were answered.
    """
    return [
        f"--cascade: {name}: {count:,} of the {answered:,} rows were decided without the model"
        for name, count in decided.items()
        if answered
    ]
