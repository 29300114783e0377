"""Columns whose value is an answer with a confidence: free text, or a number."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from papertune.kinds.asked import AskedSpec
from papertune.kinds.base import OutputColumn

if TYPE_CHECKING:
    import polars as pl

    from papertune.kinds.predictions import Predictions
    from papertune.kinds.values import Collector, ColumnValues


class AnsweredSpec(AskedSpec):
    """A column whose decoder returns values of `papertune.kinds.text.cells.answer_as_text`."""

    # What the confidence is, in a few words.
    confidence_content: ClassVar[str] = "the confidence of each answer"

    @abstractmethod
    def cell_of(self, answer: str) -> str:
        """Return an answer as a cell; "" if nothing is stated."""

    def written(self, cell: str) -> str:
        """Return a cell as tables have it."""
        return cell

    def collector(self, name: str, rows: int) -> "Collector":
        """Return a collector of texts."""
        from papertune.kinds.values import TextCollector

        return TextCollector(name, rows)

    def output_columns(self, name: str) -> list[OutputColumn]:
        """Return the confidence."""
        return [OutputColumn(f"{name}_confidence", self.confidence_content)]

    def cells(self, values: "ColumnValues", decision: Any) -> "pl.Series":
        """Return the answers."""
        from papertune.kinds.values import text_series

        return text_series(
            "", (None if answer is None else self.written(self.cell_of(answer[0])) for answer in _answers(values))
        )

    def output(
        self, name: str, values: "ColumnValues", decision: Any, titles: Sequence[str]
    ) -> "Iterator[tuple[str, pl.Series]]":
        """Yield the confidence of each answer."""
        from papertune.kinds.values import text_series

        if (title := f"{name}_confidence") in titles:
            yield title, text_series(title, (None if each is None else f"{each[1]:.6f}" for each in _answers(values)))

    def predictions(self, values: "ColumnValues", decision: Any) -> "Predictions":
        """Return the answers and their confidences; none for a row that was not asked."""
        from papertune.kinds.predictions import Predictions

        cells = ["" if each is None else self.cell_of(each[0]) for each in _answers(values)]
        return Predictions(cells, confidences=[None if each is None else each[1] for each in _answers(values)])


def _answers(values: "ColumnValues") -> Iterator[tuple[str, float] | None]:
    """Yield the answers with their confidences; None for a row that was not asked."""
    from papertune.kinds.text.cells import read_answer
    from papertune.kinds.values import each_text, texts_of

    return (None if text is None else read_answer(text) for text in each_text(texts_of(values)))
