"""Gold labels and predictions of a labels column as matrices of rows and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.labels.cells import join_labels, read_labels
from papertune.kinds.labels.column import LabelsColumn
from papertune.prompts.examples import RowReader

# Single labels are checked for the most frequent ones only: each takes up to a second for each column of a table.
MAX_LABELS_CHECKED = 10


def label_matrix(cells: Sequence[str], column: LabelsColumn) -> NDArray[np.bool_]:
    """Return which labels each cell has, bool, shape (rows, labels); none if a part of the cell is not a label."""
    named = [set(read_labels(cell, column) or ()) for cell in cells]
    has = np.array([[label in names for label in column.labels] for names in named], dtype=np.bool_)
    return has.reshape(len(cells), len(column.labels))


def label_cells_of(has: NDArray[np.bool_], column: LabelsColumn) -> list[str]:
    """Write the labels of each row, bool, shape (rows, labels), as cells."""
    return [join_labels((column.labels[n] for n in np.flatnonzero(row)), column) for row in has]


@dataclass(frozen=True)
class GoldLabels:
    """The gold labels of papers.

    An entry of an instruction file asks about one label, so several consecutive entries are about one paper.

    Attributes:
        entries: For each paper the positions of its rows among the rows that were read.
        has: Which labels each paper has, bool, shape (papers, labels).
        known: Which labels have a gold answer, bool, shape (papers, labels).
    """

    entries: list[list[int]]
    has: NDArray[np.bool_]
    known: NDArray[np.bool_]

    @classmethod
    def read(cls, gold: RowReader, name: str, column: LabelsColumn, rows: Sequence[int]) -> "GoldLabels":
        """Read the gold labels of some rows; rows without any are left out."""
        entries: list[list[int]] = []
        papers: list[dict[str, bool]] = []
        document = ""
        for index, row in enumerate(rows):
            labels = column.labels_of_row(gold, row, name)
            if not labels:
                continue
            is_part = len(labels) < len(column.labels)
            if is_part and papers and gold.document(row) == document and papers[-1].keys().isdisjoint(labels):
                entries[-1].append(index)
                papers[-1] |= labels
            else:
                entries.append([index])
                papers.append(labels)
                document = gold.document(row) if is_part else ""
        shape = len(papers), len(column.labels)
        has = np.array([[paper.get(label, False) for label in column.labels] for paper in papers], dtype=np.bool_)
        known = np.array([[label in paper for label in column.labels] for paper in papers], dtype=np.bool_)
        return cls(entries, has.reshape(shape), known.reshape(shape))

    def most_frequent(self) -> list[int]:
        """Return the columns of the `MAX_LABELS_CHECKED` most frequent labels, the most frequent first."""
        return [int(n) for n in np.argsort(-self.has.sum(axis=0), kind="stable")[:MAX_LABELS_CHECKED]]

    def predicted(self, cells: Sequence[str], column: LabelsColumn) -> NDArray[np.bool_]:
        """Return the predicted labels of each paper, among those with a gold answer; bool, shape (papers, labels).

        Args:
            cells: The predicted cell of each row that was read.
            column: The column.
        """
        by_row = label_matrix(cells, column)
        by_paper = np.array([by_row[entries].any(axis=0) for entries in self.entries], dtype=np.bool_)
        return by_paper.reshape(self.has.shape) & self.known

    def by_paper(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities of each paper's labels, NaN without a gold answer, shape (papers, labels).

        Args:
            probabilities: Those of each row that was read, NaN where a row does not ask for a label, float64, shape
                (rows, labels).
        """
        found = np.full(self.has.shape, np.nan)
        for paper, entries in enumerate(self.entries):
            for index in entries:
                found[paper] = np.where(np.isnan(probabilities[index]), found[paper], probabilities[index])
        return np.where(self.known, found, np.nan)
