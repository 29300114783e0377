"""The interface of the scores of a column kind."""

from collections.abc import Sequence
from typing import Any, Protocol

from papertune.kinds.predictions import Predictions
from papertune.metrics.paired import PairedDifference
from papertune.metrics.scores import Scores
from papertune.prompts.examples import RowReader
from papertune.tables import Table


class Scoring(Protocol):
    """Functions that each kind has in a module `scoring`; `column` is a column of the kind."""

    def read_predictions(self, table: Table, name: str, column: Any, decision: Any) -> Predictions:
        """Read a predicted table's column, with probabilities or confidences if it has them.

        Raises:
            TableError: If a cell is invalid.
        """

    def score(
        self, predicted: Predictions, gold: RowReader, name: str, column: Any, rows: Sequence[int]
    ) -> Scores | None:
        """Score predictions; None if no row has a gold answer."""

    def difference(
        self, first: Predictions, second: Predictions, gold: RowReader, name: str, column: Any, rows: Sequence[int]
    ) -> PairedDifference:
        """Compare two systems by the kind's main score, row by row; at least one row has a gold answer."""
