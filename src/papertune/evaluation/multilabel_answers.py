"""Answers of a labels column beside the truth, as matrices of rows and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.config import LabelsColumn
from papertune.tasks import RowReader, read_labels


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
            labels = truth.labels(row, name)
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

    def predicted(self, cells: Sequence[str], column: LabelsColumn) -> NDArray[np.bool_]:
        """Give which labels each paper is given, among those that are known; bool, shape (papers, labels).

        Args:
            cells: What was said of each of the rows that were asked for.
            column: The column.
        """
        given = np.zeros(self.has.shape, dtype=np.bool_)
        for paper, entries in enumerate(self.entries):
            said = {label for index in entries for label in read_labels(cells[index], column) or ()}
            given[paper] = [label in said for label in column.labels]
        return given & self.known

    def likely(self, probabilities: Sequence[Sequence[float]]) -> NDArray[np.float64] | None:
        """Give the probability of each paper's labels, NaN where the truth is not known, shape (papers, labels).

        Args:
            probabilities: Those of each of the rows that were asked for, NaN where a row does not ask for a label;
                empty where there are none.

        Returns:
            None where some paper has none.
        """
        likely = np.full(self.has.shape, np.nan)
        for paper, entries in enumerate(self.entries):
            for index in entries:
                if not probabilities[index]:
                    return None
                said = np.array(probabilities[index])
                likely[paper] = np.where(np.isnan(said), likely[paper], said)
        return np.where(self.known, likely, np.nan)
