"""The number column: its settings and methods."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from papertune.kinds.number.cells import CellRules, DecimalMark
from papertune.kinds.number.grammar import NumberGrammar
from papertune.kinds.text.answered import AnsweredSpec

if TYPE_CHECKING:
    from papertune.evaluation.report import ColumnReport, SampleCell
    from papertune.evaluation.systems.outputs import Fill
    from papertune.kinds.decoder import Decoder, DecodingTools
    from papertune.kinds.findings import GoldCheck
    from papertune.kinds.predictions import Predictions
    from papertune.kinds.scoring import Scoring
    from papertune.prompts import PromptEncoder
    from papertune.prompts.examples import RowReader

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Tolerance = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]


class NumberColumn(AnsweredSpec):
    """A column that holds a number, or is empty if none is stated.

    Attributes:
        question: The question about the document.
        minimum: Minimum of the numbers that are read and predicted; None: no limit.
        maximum: Maximum of these numbers; None: no limit.
        integer: Whether numbers are whole.
        unit: The unit that may be beside the number in a cell; it is not written.
        decimal_mark: The decimal mark of the table's cells; None: the cells themselves show it.
        tolerance: Maximum distance of a right prediction from the gold number in the main score, as a share of the gold
            number.
        absolute_tolerance: The same as a distance; the larger of the two counts.
        empty: The answer if no number is stated, which is learned from empty cells; "": empty cells are not learned,
            and a number is always predicted.
    """

    confidence_content: ClassVar[str] = "the probability of the number"
    why_no_feedback: ClassVar[str] = "a number is right or wrong, which training on gold cells teaches already"

    kind: Literal["number"]
    minimum: Number | None = None
    maximum: Number | None = None
    integer: bool = False
    unit: str = ""
    decimal_mark: DecimalMark | None = None
    tolerance: Tolerance = 0.1
    absolute_tolerance: Tolerance = 0.0
    empty: str = "not stated"

    @model_validator(mode="after")
    def _check(self) -> "NumberColumn":
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum is {self.minimum:g}, but maximum is {self.maximum:g}")
        if not self.grammar.can_begin(""):
            kind = "whole number" if self.integer else "number of at most 15 digits"
            raise ValueError(f"there is no {kind} {self.grammar.range_in_words}")
        if self.empty != self.empty.strip():
            raise ValueError(f"empty must not begin or end with a blank: {self.empty!r}")
        if self.rules.readings(self.empty):
            raise ValueError(f"empty is {self.empty!r}, which is a number; use words")
        return self

    @property
    def rules(self) -> CellRules:
        """How cells are read."""
        return _rules(self.minimum, self.maximum, self.integer, self.unit, self.decimal_mark)

    @property
    def grammar(self) -> NumberGrammar:
        """The numbers that are allowed."""
        return self.rules.grammar

    # Cells

    def is_not_stated(self, cell: str) -> bool:
        """Whether a cell has no number: it is empty, or has the text of `empty`."""
        return cell.strip().casefold() in ("", self.empty.casefold())

    def read_answer(self, cell: str) -> str | None:
        """Return a cell's number in its one spelling, or the text of `empty`; None if there is nothing to learn."""
        return self.empty or None if self.is_not_stated(cell) else self.rules.read(cell)

    def resolve_cells(self, cells: Iterable[str]) -> Mapping[str, str]:
        """Return the numbers of cells such as 1,234, whose decimal mark only the other cells show."""
        return self.rules.resolve(cells)

    def check_gold(self, check: "GoldCheck") -> None:
        """Check that each cell is a number in the range and not ambiguous."""
        from papertune.kinds.number.checking import check_numbers

        check_numbers(self, check)

    # Learning

    def encode_answers(self, answer: str, encoder: "PromptEncoder") -> list[list[int]]:
        """Return the whole number."""
        return [[*encoder.encode_text(answer), encoder.end_id]]

    def max_answer_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the tokens of the longest answer and its end."""
        # A token is at least a character; some tokenizers put a blank before the first.
        return max(self.grammar.max_characters + 1, len(encoder.encode_text(self.empty))) + 1

    def max_answer_bytes(self, max_answer_tokens: int) -> int:
        """Return an upper bound: a token is at least a byte; one more for a blank before it, one for the end."""
        return max(self.grammar.max_characters, len(self.empty.encode())) + 2

    # Predicting

    def decoder(self, name: str, tools: "DecodingTools") -> "Decoder":
        """Return a greedy decoder of allowed numbers and the text of `empty`."""
        from papertune.kinds.number.decoder import NumberDecoder

        return NumberDecoder(name, self, tools)

    def cell_of(self, answer: str) -> str:
        """Return the number; the decoder writes "" where none is stated."""
        return answer

    def written(self, cell: str) -> str:
        """Return the number with the decimal mark of the table's cells."""
        return cell.replace(".", self.decimal_mark) if self.decimal_mark else cell

    def reason_for_empty(self, decision: Any) -> str:
        """Return "": an empty cell means that no number is stated."""
        return ""

    # Evaluating

    @property
    def scoring(self) -> "Scoring":
        """Exact and nearly right numbers, and the errors; systems are compared by the share within the tolerance."""
        from papertune.kinds.number import scoring

        return scoring

    def baselines(self) -> "dict[str, Fill]":
        """Return ridge regression, nearest neighbours, the first number in the text, and the median."""
        from papertune.kinds.number import baselines

        return baselines.baselines(self)

    def sample(self, predictions: "Predictions", row: int, gold: "RowReader", name: str) -> "SampleCell":
        """Return a prediction with its confidence beside the gold number."""
        from papertune.kinds.number import scoring

        return scoring.sample(predictions, row, gold, name, self)

    def report_details(
        self, report: "ColumnReport", predictions: "Predictions", gold: "RowReader", decision: Any, record: Any
    ) -> "ColumnReport":
        """Add the tolerance and the numbers of scored rows."""
        from papertune.kinds.number import scoring

        return scoring.with_counts(report, self)


@cache
def _rules(
    minimum: float | None, maximum: float | None, integer: bool, unit: str, decimal_mark: DecimalMark | None
) -> CellRules:
    low, high = (None if limit is None else Decimal(str(limit)) for limit in (minimum, maximum))
    return CellRules(NumberGrammar(low, high, integer), unit, decimal_mark)
