"""Cascades of a run: which columns have one, and what it costs, in words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from papertune.errors import RunError, quoted
from papertune.inference.joined import JoinedPredictor, cascading_questions
from papertune.kinds.label.record import Cascade
from papertune.recipe import Recipe

if TYPE_CHECKING:
    from papertune.run import Run


def checked_cascades(run: "Run") -> Mapping[str, Cascade]:
    """Return the cascades that calibration has chosen for a run, by column.

    Raises:
        RunError: If no column can have one, or calibration has chosen none.
    """
    columns = [name for name in run.recipe.columns if cascading_questions(run.recipe, run.joins, name)]
    if not columns:
        raise RunError(
            f"{run.directory.path}: --cascade spares the model the rows that words or other sources decide, and no "
            "column of this run is answered by them and the model together. Leave out --cascade."
        )
    if missing := [name for name in columns if name not in run.manifest.cascades]:
        raise RunError(
            f"{run.directory.path}: --cascade needs a certainty that is chosen on dev rows, and the run has none for "
            f"{' and '.join(map(quoted, missing))}. Choose it with `papertune calibrate {run.directory.path} DEV`, "
            "where DEV is a table of rows that it was not trained on."
        )
    return {name: run.manifest.cascades[name] for name in columns}


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


def decided_in_words(predictor: JoinedPredictor) -> list[str]:
    """Return how many of the rows that a predictor has answered needed no model, a line for each column."""
    return [
        f"--cascade: {name}: {count:,} of the {predictor.answered:,} rows were decided without the model"
        for name, count in predictor.decided.items()
        if predictor.answered and name in predictor.recipe.columns
    ]
