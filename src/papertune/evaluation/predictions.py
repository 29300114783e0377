"""Answers beside the truth: what a run or a file said of each row, and how it scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from papertune.errors import TableError
from papertune.kinds.labels.matrix import TrueLabels
from papertune.kinds.label.decision import Decision
from papertune.inference.outputs import keyword_cells, label_cells, label_set_cells
from papertune.kinds.values import ColumnValues
from papertune.kinds import Column, KeywordsColumn, LabelColumn, LabelsColumn, RankedKeywordsColumn
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.label.cells import read_label
from papertune.kinds.labels.cells import read_labels
from papertune.kinds.output_names import probability_columns
from papertune.metrics.keyword_scores import KeywordScores, f1_at_5_by_paper, score_keywords
from papertune.metrics.label_scores import SUM_TOLERANCE, LabelScores, score_labels
from papertune.metrics.multilabel_scores import MultilabelScores, micro_f1_difference, score_multilabel
from papertune.metrics.paired import (
    PairedDifference,
    accuracy_difference,
    average_precision_difference,
    mean_difference,
)
from papertune.prompts.examples import RowReader, answer_text
from papertune.recipe import Recipe
from papertune.tables import Table

Scores = LabelScores | MultilabelScores | KeywordScores

_REMEDY = (
    "Give the file that `papertune predict --probabilities` has written, or leave the columns of probabilities out."
)


@dataclass(frozen=True)
class Answers:
    """What was said of one column, a cell for each row.

    Attributes:
        cells: The cells.
        probabilities: For a label or labels column the probability of each label, in the recipe's order, if known; of a
            row that was not asked none.
        raw: For a label column the same as the model gives them, before they are calibrated; None if that is not known.
        withheld: For a label column the rows where the run gives no answer since it is not sure enough; their cells
            hold what it would say, by which they are scored. None: there are no such rows, or it is not known.
    """

    cells: Sequence[str]
    probabilities: Sequence[Sequence[float]] | None = None
    raw: Sequence[Sequence[float]] | None = None
    withheld: Sequence[bool] | None = None


def answers_of_values(
    values: Mapping[str, ColumnValues], recipe: Recipe, decisions: Mapping[str, Decision] | None = None
) -> dict[str, Answers]:
    """Give what a predictor said, by column.

    Args:
        values: Its values.
        recipe: The columns.
        decisions: How each label column is answered; None: with the likeliest label, however unsure, since a model must
            not look better for the rows that it leaves out.
    """
    answers: dict[str, Answers] = {}
    for name, column in recipe.columns.items():
        said = values[name]
        if isinstance(column, LabelColumn | LabelsColumn):
            likely = np.asarray(said)
            if isinstance(column, LabelColumn):
                decision = Decision() if decisions is None else decisions[name]
                cells = label_cells(said, column, decision)
                raw, likely = _where_asked(likely, cells), decision.calibrated(likely)
            else:
                cells, raw = label_set_cells(said, column), None
            answers[name] = Answers(cells.fill_null("").to_list(), _where_asked(likely, cells), raw)
        else:
            answers[name] = Answers(keyword_cells(said, column).fill_null("").to_list())
    return answers


def mark_withheld(answers: Answers, decision: Decision) -> Answers:
    """Mark the rows of a label column where a run gives no answer, without emptying their cells.

    Args:
        answers: An answer for each row, however unsure, and the calibrated probabilities.
        decision: How the run answers the column.
    """
    if answers.probabilities is None:
        return answers
    withheld = np.zeros(len(answers.cells), dtype=np.bool_)
    asked = [row for row, likely in enumerate(answers.probabilities) if len(likely)]
    if asked:
        withheld[asked] = decision.withheld(np.array([answers.probabilities[row] for row in asked]))
    return replace(answers, withheld=withheld.tolist())


def answers_of_table(predicted: Table, recipe: Recipe, decisions: Mapping[str, Decision]) -> dict[str, Answers]:
    """Give what a predicted table says, by column; its rows must be in the order that is wanted.

    Where a label's cell is empty, the run was not sure enough. If the row has probabilities, they say what it would
    have answered; otherwise the cell stays empty.

    Args:
        predicted: The table.
        recipe: The columns.
        decisions: How each label column is answered.

    Raises:
        TableError: If it has none of the recipe's columns, or a cell that is no label or no probability.
    """
    answers: dict[str, Answers] = {}
    for name, column in recipe.columns.items():
        if name not in predicted.columns:
            continue
        cells = predicted.column(name)
        probabilities = None
        if isinstance(column, LabelColumn | LabelsColumn):
            _check_labels(predicted, name, column)
            probabilities = _read_probabilities(predicted, name, column)
        answers[name] = Answers(cells, probabilities)
        if isinstance(column, LabelColumn):
            answers[name] = _filled_in(answers[name], column, decisions[name])
    if not answers:
        raise TableError(
            f"{predicted.source} has none of the run's columns ({', '.join(recipe.columns)}). Give the file that "
            "`papertune predict` has written."
        )
    return answers


def score_answers(
    answers: Mapping[str, Answers], truth: RowReader, recipe: Recipe, rows: Sequence[int]
) -> dict[str, Scores]:
    """Score the answers of the columns that the truth has.

    Args:
        answers: By column, a cell for each of `rows`.
        truth: Reads the true cells and the documents.
        recipe: The columns.
        rows: Rows of the truth's table that the answers are about, in the answers' order.
    """
    scores: dict[str, Scores] = {}
    for name, said in answers.items():
        column = recipe.columns[name]
        if isinstance(column, LabelsColumn):
            true = TrueLabels.read(truth, name, column, rows)
            if true.entries:
                nothing = [float("nan")] * len(column.labels)  # of a row that asks for another column
                likely = None
                if said.probabilities is not None:
                    likely = true.likely(np.array([row or nothing for row in said.probabilities]))
                scores[name] = score_multilabel(true.has, true.predicted(said.cells, column), column.labels, likely)
            continue
        known = _known(truth, name, column, rows)
        if not known:
            continue
        cells = [said.cells[index] for index, _, _ in known]
        if isinstance(column, LabelColumn):
            labels = [read_label(cell, column.labels) or "" for _, _, cell in known]
            where = [index for index, _, _ in known]
            probabilities = _likely(said.probabilities, where)
            ranking = _ranking(said, where, column)
            scores[name] = score_labels(labels, cells, column.labels, probabilities, ranking)
        else:
            documents = [truth.document(row) for _, row, _ in known]
            lists = [split_keywords(cell) for _, _, cell in known]
            scores[name] = score_keywords(lists, [read_keywords(cell, column) for cell in cells], documents)
    return scores


def answers_difference(
    first: Answers, second: Answers, truth: RowReader, name: str, column: Column, rows: Sequence[int]
) -> PairedDifference:
    """Compare what two contestants said of a column, row by row.

    By accuracy of a label column, micro F1 of a labels column, F1@5 of keywords.

    Args:
        first: A cell for each of `rows`.
        second: The same, of whom the first one is compared with.
        truth: Reads the true cells.
        name: The column's name.
        column: The column.
        rows: Rows of the truth's table that the answers are about; at least one has a true cell.
    """
    if isinstance(column, LabelsColumn):
        true = TrueLabels.read(truth, name, column, rows)
        both = [true.predicted(said.cells, column) for said in (first, second)]
        return micro_f1_difference(true.has, both[0], both[1])
    known = _known(truth, name, column, rows)
    cells = [[said.cells[index] for index, _, _ in known] for said in (first, second)]
    if isinstance(column, LabelColumn):
        labels = [read_label(cell, column.labels) for _, _, cell in known]
        right = [np.array([a == b for a, b in zip(said, labels, strict=True)]) for said in cells]
        return accuracy_difference(right[0], right[1])
    lists = [split_keywords(cell) for _, _, cell in known]
    f1 = [f1_at_5_by_paper(lists, [read_keywords(cell, column) for cell in said]) for said in cells]
    return mean_difference(f1[0], f1[1])


def read_keywords(cell: str, column: KeywordsColumn | RankedKeywordsColumn) -> list[str]:
    """Give the keywords of an answer, whatever the column writes between them."""
    return split_keywords(cell.replace(column.output_separator, ";"))


def ranking_difference(
    first: Answers, second: Answers, truth: RowReader, name: str, column: Column, rows: Sequence[int]
) -> PairedDifference | None:
    """Compare the average precision of two contestants, for the first label of a column with two.

    Args:
        first: A cell for each of `rows`.
        second: The same, of whom the first one is compared with.
        truth: Reads the true cells.
        name: The column's name.
        column: The column.
        rows: Rows of the truth's table that the answers are about.

    Returns:
        The difference; None if the column is of another kind, one of the two has not ranked all rows, or no row has the
        label.
    """
    if not isinstance(column, LabelColumn):
        return None
    known = _known(truth, name, column, rows)
    positive = np.array([read_label(cell, column.labels) == column.labels[0] for _, _, cell in known], dtype=np.bool_)
    ranked = [_ranking(said, [index for index, _, _ in known], column) for said in (first, second)]
    if ranked[0] is None or ranked[1] is None or not positive.any():
        return None
    return average_precision_difference(ranked[0], ranked[1], positive)


def main_score(scores: Scores) -> float:
    """Give the one number that stands for a column: macro F1 of a label, micro F1 of labels, F1@5 of keywords."""
    if isinstance(scores, MultilabelScores):
        return scores.micro_f1
    return scores.macro_f1 if isinstance(scores, LabelScores) else scores.f1_at_5


def _likely(probabilities: Sequence[Sequence[float]] | None, where: Sequence[int]) -> NDArray[np.float64] | None:
    """Give the probabilities of some rows, shape (rows, labels); None if one of them has none."""
    if probabilities is None or not all(len(probabilities[index]) for index in where):
        return None
    return np.array([probabilities[index] for index in where], dtype=np.float64)


def _ranking(said: Answers, where: Sequence[int], column: LabelColumn) -> NDArray[np.float64] | None:
    """Give by what some rows are ranked for the first of two labels, shape (rows,); None if that is not known.

    Isotonic regression makes neighbours equal. The model's own probability, by which `predict --sort-by` puts equals
    in order, still tells them apart.
    """
    likely = _likely(said.probabilities, where)
    if likely is None or len(column.labels) != 2:
        return None
    raw = _likely(said.raw, where)
    return (likely if raw is None else raw)[:, 0]


def _known(truth: RowReader, name: str, column: Column, rows: Sequence[int]) -> list[tuple[int, int, str]]:
    """Give the rows with a true cell: where it stands in the answers, which row it is, and the cell."""
    given = [(index, row, truth.given(row, name)) for index, row in enumerate(rows)]
    return [(index, row, cell) for index, row, cell in given if cell is not None and _has_truth(cell, column)]


def _where_asked(likely: NDArray[np.float64], cells: pl.Series) -> list[list[float]]:
    """Give the probabilities of each row, none where the row was not asked, which has no cell."""
    return [row.tolist() if asked else [] for row, asked in zip(likely, cells.is_not_null().to_list(), strict=True)]


def _has_truth(cell: str, column: Column) -> bool:
    return answer_text(cell, column) is not None


def _filled_in(answers: Answers, column: LabelColumn, decision: Decision) -> Answers:
    """Put into the empty cells what the probabilities of their rows say, and mark these rows as withheld."""
    if answers.probabilities is None:
        return answers
    cells = list(answers.cells)
    empty = [row for row, likely in enumerate(answers.probabilities) if len(likely) and not cells[row]]
    if empty:
        chosen = decision.chosen(np.array([answers.probabilities[row] for row in empty]))
        for row, label in zip(empty, chosen.tolist(), strict=True):
            cells[row] = column.labels[label]
    withheld = [given != cell for given, cell in zip(answers.cells, cells, strict=True)]
    return replace(answers, cells=cells, withheld=withheld)


def _check_labels(predicted: Table, name: str, column: LabelColumn | LabelsColumn) -> None:
    for row, cell in enumerate(predicted.frame[name]):
        is_known = read_labels(cell, column) is not None if isinstance(column, LabelsColumn) else cell in column.labels
        if cell and not is_known:
            raise TableError(
                f'{predicted.where(row, name)}: "{cell}" is none of the labels {", ".join(column.labels)}.'
            )


def _read_probabilities(predicted: Table, name: str, column: LabelColumn | LabelsColumn) -> list[list[float]] | None:
    """Read the probabilities of each row; None if the table has not those of all labels.

    Of a labels column, an empty cell of a row that has others becomes NaN: such a row asks for some of the labels only.
    """
    names = probability_columns(name, column)
    if any(title not in predicted.columns for title in names):
        return None
    gaps = isinstance(column, LabelsColumn)
    rows: list[list[float]] = []
    for row, cells in enumerate(predicted.frame.select(names).rows()):
        probabilities: list[float] = []
        if any(cells):  # a row of an instruction file that asks for another column has none
            probabilities = [
                float("nan") if gaps and not cell else _read_probability(cell, predicted.where(row, title))
                for title, cell in zip(names, cells, strict=True)
            ]
            total = float(np.sum(probabilities))  # as the scores add them up
            if not gaps and abs(total - 1) > SUM_TOLERANCE:
                raise TableError(
                    f"{predicted.where(row, names[0])}: the probabilities of the {len(names)} labels of this row add "
                    f"up to {total:.6g} and not to 1. {_REMEDY}"
                )
        rows.append(probabilities)
    return rows


def _read_probability(cell: str, where: str) -> float:
    try:
        probability = float(cell)
    except ValueError:
        probability = float("nan")
    if not 0 <= probability <= 1:  # NaN is not either
        raise TableError(f'{where}: "{cell}" is no probability, which is a number from 0 to 1. {_REMEDY}')
    return probability
