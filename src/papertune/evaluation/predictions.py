"""The predictions of a run or of a file, by column, and their scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from papertune.errors import TableError, listed
from papertune.kinds.predictions import Predictions
from papertune.kinds.values import ColumnValues
from papertune.metrics.scores import Scores
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.suggest import did_you_mean
from papertune.tables import Table


def predictions_of_values(
    values: Mapping[str, ColumnValues], recipe: Recipe, decisions: Mapping[str, Any] | None = None
) -> dict[str, Predictions]:
    """Return the predictions of a model, by column.

    Args:
        values: The values of the model, by column.
        recipe: The columns.
        decisions: How each column is predicted; None: without calibration.
    """
    return {
        name: column.predictions(values[name], None if decisions is None else decisions.get(name))
        for name, column in recipe.columns.items()
    }


def predictions_of_table(predicted: Table, recipe: Recipe, decisions: Mapping[str, Any]) -> dict[str, Predictions]:
    """Return the predictions of a predicted table, by column, in the order of its rows.

    Args:
        predicted: The table.
        recipe: The columns.
        decisions: How each column is predicted.

    Raises:
        TableError: If it has none of the recipe's columns, or an invalid cell.
    """
    found = {
        name: column.read_predictions(predicted, name, decisions[name])
        for name, column in recipe.columns.items()
        if name in predicted.columns
    }
    if not found:
        hint = did_you_mean(next(iter(recipe.columns)), predicted.columns)
        raise TableError(
            f"{predicted.source} has none of the run's columns ({', '.join(recipe.columns)}). It has: "
            f"{listed(predicted.columns)}.{hint} Give the file that `papertune predict` has written."
        )
    return found


def score_predictions(
    predictions: Mapping[str, Predictions], gold: RowReader, recipe: Recipe, rows: Sequence[int]
) -> dict[str, Scores]:
    """Score the predictions of the columns that have a gold answer in any row.

    Args:
        predictions: By column, one for each of `rows`.
        gold: Reads the gold cells and the documents.
        recipe: The columns.
        rows: The rows of the table, in the order of the predictions.
    """
    scores = {name: recipe.columns[name].score(each, gold, name, rows) for name, each in predictions.items()}
    return {name: score for name, score in scores.items() if score is not None}
