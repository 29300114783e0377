"""POST /api/predict: rows in, rows out."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from papertune.recipe import Recipe
from papertune.serve.answering.clients import unless_gone
from papertune.serve.answering.wanted import Filled, RowsWanted
from papertune.serve.answering.worker import ModelWorker
from papertune.serve.workspace import Workspace

# More rows are a job, which goes on without the client.
MAX_ROWS = 1000


class PredictRequest(BaseModel):
    """Rows to fill in.

    Attributes:
        run: Name of the run.
        rows: Values by column, as the run's document and questions need them.
        probabilities: Whether probabilities and confidences are wanted.
    """

    model_config = ConfigDict(extra="forbid")

    run: str
    rows: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_ROWS)]
    probabilities: bool = False


class PredictedRow(BaseModel):
    """A row that is filled in.

    Attributes:
        cells: The cell of each of the run's columns, as `papertune predict` writes it; "" where the run abstains.
        probabilities: The calibrated probability of each label.
        sets: The labels that cannot be ruled out, the most probable first, for columns with `coverage`.
        confidences: The probability of an answer, or of each keyword.
    """

    cells: dict[str, str]
    probabilities: dict[str, dict[str, float]] | None = None
    sets: dict[str, list[str]] | None = None
    confidences: dict[str, float | list[float]] | None = None


class PredictAnswer(BaseModel):
    """Rows in the order of the request, and what to know about them."""

    rows: list[PredictedRow]
    warnings: list[str]


def router(workspace: Workspace, worker: ModelWorker) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["answering"])

    @routes.post("/api/predict", response_model_exclude_none=True)
    async def predict(request: Request, body: PredictRequest) -> PredictAnswer:
        """Fill in rows with a run, as `papertune predict` does."""
        workspace.run_path(body.run)
        filled = await unless_gone(request, worker.fill(body.run, RowsWanted(body.rows)))
        rows = [predicted_row(filled, row, with_all=body.probabilities) for row in range(len(body.rows))]
        return PredictAnswer(rows=rows, warnings=filled.warnings)

    return routes


def predicted_row(filled: Filled, row: int, *, with_all: bool) -> PredictedRow:
    """Return a row of an answer.

    Args:
        filled: The rows.
        row: Which one, from 0.
        with_all: Whether with probabilities and confidences.
    """
    cells = {name: filled.cells[name][row] for name in filled.recipe.columns}
    sets, confidences = {}, {}
    for name, column in filled.recipe.columns.items():
        beside = {each.title: filled.cells[each.title][row] for each in column.output_columns(name)}
        if (title := f"{name}_set") in beside:
            sets[name] = beside[title].split("; ") if beside[title] else []
        if numbers := re.findall(r"[0-9.]+", beside.get(f"{name}_confidence", "")):
            # A list of keywords has a list of confidences, however long it is.
            is_list = hasattr(column, "output_separator")
            confidences[name] = [float(each) for each in numbers] if is_list else float(numbers[0])
    if not with_all:
        return PredictedRow(cells=cells, sets=sets or None)
    probabilities = {
        name: of_labels for name in filled.recipe.columns if (of_labels := probabilities_of(filled, name, row))
    }
    rounded = {name: {label: round(p, 6) for label, p in each.items()} for name, each in probabilities.items()}
    return PredictedRow(cells=cells, probabilities=rounded or None, sets=sets or None, confidences=confidences or None)


def probabilities_of(filled: Filled, name: str, row: int) -> dict[str, float]:
    """Return the calibrated probability of each label of a column; empty for a kind without labels.

    A label that the row was not asked about is missing.
    """
    known = filled.predictions[name].probabilities
    values = known[row] if known is not None else []
    return {label: p for label, p in zip(labels_of(filled.recipe, name), values, strict=False) if p == p}


def labels_of(recipe: Recipe, name: str) -> list[str]:
    """Return the labels of a column, in the recipe's order; none for a kind without labels."""
    column, prefix = recipe.columns[name], f"{name}_probability_"
    titles = [each.title for each in column.output_columns(name)]
    return [title.removeprefix(prefix) for title in titles if title.startswith(prefix)]
