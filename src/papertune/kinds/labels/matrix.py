"""Answers of a labels column beside the truth, as matrices of rows and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.labels.cells import join_labels, read_labels
from papertune.kinds.labels.column import LabelsColumn
from papertune.prompts.examples import RowReader

# Checks of single labels are made for the most frequent ones: each takes up to a second for each column of a table.
MAX_LABELS_CHECKED = 10


def label_matrix(cells: Sequence[str], column: LabelsColumn) -> NDArray[np.bool_]:
    """Give which labels each cell names, bool, shape (rows, labels); none where something in it is no label."""
    named = [set(read_labels(cell, column) or ()) for cell in cells]
    has = np.array([[label in names for label in column.labels] for names in named], dtype=np.bool_)
    return has.reshape(len(cells), len(column.labels))


def label_cells_of(has: NDArray[np.bool_], column: LabelsColumn) -> list[str]:
    """Write the labels of each row, bool, shape (rows, labels), as cells."""
    return [join_labels((column.labels[n] for n in np.flatnonzero(row)), column) for row in has]


@dataclass(frozen=True)
class TrueLabels:
    """What a table says about the labels of its papers.

    The entries of an instruction file ask about one label each, so several of them, one after the other, are about one
    paper.

    Attributes:
        entries: For each paper its entries, as indices into the rows that were asked for.
        has: Which labels each paper has, bool, shape (papers, labels).
        known: Of which of them the table says so, bool, shape (papers, labels).
    """

    entries: list[list[int]]
    has: NDArray[np.bool_]
    known: NDArray[np.bool_]

    @classmethod
    def read(cls, truth: RowReader, name: str, column: LabelsColumn, rows: Sequence[int]) -> "TrueLabels":
        """Read the true labels of some rows; what says nothing about any label is left out."""
        entries: list[list[int]] = []
        papers: list[dict[str, bool]] = []
        document = ""
        for index, row in enumerate(rows):
            labels = column.labels_of_row(truth, row, name)
            if not labels:
                continue
            is_part = len(labels) < len(column.labels)
            if is_part and papers and truth.document(row) == document and papers[-1].keys().isdisjoint(labels):
                entries[-1].append(index)
                papers[-1] |= labels
            else:
                entries.append([index])
                papers.append(labels)
                document = truth.document(row) if is_part else ""
        shape = len(papers), len(column.labels)
        has = np.array([[paper.get(label, False) for label in column.labels] for paper in papers], dtype=np.bool_)
        known = np.array([[label in paper for label in column.labels] for paper in papers], dtype=np.bool_)
        return cls(entries, has.reshape(shape), known.reshape(shape))

    def most_frequent(self) -> list[int]:
        """Give the columns of the `MAX_LABELS_CHECKED` labels that the most papers have, the most frequent first."""
        return [int(n) for n in np.argsort(-self.has.sum(axis=0), kind="stable")[:MAX_LABELS_CHECKED]]

    def predicted(self, cells: Sequence[str], column: LabelsColumn) -> NDArray[np.bool_]:
        """Give which labels each paper is given, among those that are known; bool, shape (papers, labels).

        Args:
            cells: What was said of each of the rows that were asked for.
            column: The column.
        """
        said = label_matrix(cells, column)
        given = np.array([said[entries].any(axis=0) for entries in self.entries], dtype=np.bool_)
        return given.reshape(self.has.shape) & self.known

    def likely(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probability of each paper's labels, NaN where the truth is not known, shape (papers, labels).

        Args:
            probabilities: Those of each of the rows that were asked for, NaN where a row does not ask for a label,
                float64, shape (rows, labels).
        """
        likely = np.full(self.has.shape, np.nan)
        for paper, entries in enumerate(self.entries):
            for index in entries:
                likely[paper] = np.where(np.isnan(probabilities[index]), likely[paper], probabilities[index])
        return np.where(self.known, likely, np.nan)
