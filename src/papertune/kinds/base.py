"""What every column kind has: the settings in a recipe, and what the rest of papertune asks of a column.

A kind is one class. Its fields are the settings under `[columns.NAME]`; its methods say how cells are read, what the
model is asked and learns, how answers are decoded, written, scored and compared. Other packages call these methods and
never ask which kind a column is. Methods import torch, scikit-learn and polars when they are called, since recipes are
read without them.
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictStr

if TYPE_CHECKING:
    import polars as pl

    from papertune.evaluation.checks.label_errors import LabelErrors
    from papertune.evaluation.checks.review import Judged
    from papertune.evaluation.report import ColumnReport, SampleCell, SampleList
    from papertune.evaluation.systems.outputs import Fill
    from papertune.kinds.decoder import Decoder, DecodingTools
    from papertune.kinds.findings import GoldCheck
    from papertune.kinds.predictions import Predictions
    from papertune.kinds.values import Collector, ColumnValues
    from papertune.metrics.paired import PairedDifference
    from papertune.metrics.scores import Scores
    from papertune.prompts import PromptEncoder
    from papertune.prompts.examples import RowReader
    from papertune.recipe import Recipe
    from papertune.tables import Table

# A question that each row brings along, such as "{instruction}".
_OWN_QUESTION = re.compile(r"\{([^{}]*[^{}\s][^{}]*)\}")

Text = Annotated[StrictStr, Field(min_length=1)]
# Strict, so that `true` is not read as 1.
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]


class Part(BaseModel):
    """A part of a recipe: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class OutputColumn:
    """A column that may be written beside the predicted one.

    Attributes:
        title: Its name.
        content: What it holds, in a few words.
        is_optional: Whether it is written only with `--probabilities`.
    """

    title: str
    content: str
    is_optional: bool = True


@dataclass(frozen=True)
class PredictedTable:
    """What a model gives for the rows of one table, for one column.

    Attributes:
        values: The values in table order; or, for a kind that is calibrated on candidates, those of each of `rows`.
        reader: Reads the table's own cells.
        rows: The rows.
    """

    values: Any
    reader: "RowReader"
    rows: Sequence[int]


@dataclass(frozen=True)
class CalibrationOutcome:
    """What calibration has found for a column.

    Attributes:
        messages: What to report, a line each.
        record: What run.json keeps; None if nothing.
        column: The column with other settings; None: as it was.
    """

    messages: list[str]
    record: Any = None
    column: "ColumnSpec | None" = None


class ColumnSpec(Part):
    """A column of a recipe. Subclasses are the kinds.

    Attributes:
        kind: The name of the kind.
        question: What the model is asked about a document; just "{NAME}": the row's own question, in that column.
    """

    kind: str
    question: Text

    # Whether an empty cell of the table is an answer (no label applies) or is left out of training and scores.
    empty_is_gold: ClassVar[bool] = False
    # Whether rows can be sorted by the probability of the first label (`--sort-by`), and splits keep label shares.
    is_ranked_by_first_label: ClassVar[bool] = False
    # Whether int8 is judged by how many cells it changes, beside the score.
    has_discrete_cells: ClassVar[bool] = False
    # Where run.json keeps what calibration has found: a field of the manifest, or "" for a kind without a record.
    record_field: ClassVar[str] = ""
    # What is reported while the kind is calibrated, such as "ranking keywords"; "" for a kind without calibration.
    calibration_stage: ClassVar[str] = ""
    # Whether calibration looks at the candidates of a search, not at the values that were chosen from them.
    is_calibrated_on_candidates: ClassVar[bool] = False
    # Whether the selection set will do where there is no calibration set.
    is_calibrated_on_selection_set: ClassVar[bool] = False

    @property
    def question_column(self) -> str | None:
        """The column that holds each row's own question, where `question` is just its name in braces."""
        name = _OWN_QUESTION.fullmatch(self.question.strip())
        return None if name is None else name.group(1).strip()

    @property
    def question_in_words(self) -> str:
        """The question, for people."""
        own = self.question_column
        return self.question if own is None else f'each row\'s own question, in its column "{own}"'

    @classmethod
    def kind_name(cls) -> str:
        """Return the value of `kind` that chooses this class."""
        (name,) = get_args(cls.model_fields["kind"].annotation)
        return str(name)

    # Asking

    @abstractmethod
    def questions(self, name: str) -> "dict[str, AskedSpec]":
        """Return what is asked for the column called `name`, by question name; one question for most kinds."""

    def question_of_label(self, name: str) -> dict[str, str]:
        """Return, by question name, the label that each question asks about; empty for kinds with one question."""
        return {}

    # Cells

    @abstractmethod
    def read_answer(self, cell: str) -> str | None:
        """Return a cell as the text that the model should say, or None where there is nothing to learn in it."""

    def gold_of_question(self, cell: str, question: str, name: str) -> str | None:
        """Return the gold answer of one of the column's questions, given the column's cell."""
        return cell

    def resolve_cells(self, cells: Iterable[str]) -> Mapping[str, str]:
        """Return cells that can be read only with all cells of the column in view, each as `read_answer` reads it."""
        return {}

    @abstractmethod
    def check_gold(self, check: "GoldCheck") -> None:
        """Check the column's cells in a table; problems and warnings go into `check`."""

    def has_gold(self, reader: "RowReader", row: int, name: str) -> bool:
        """Whether a row of a table has a gold answer for the column, or for a part of it."""
        cell = reader.given(row, name)
        return cell is not None and self.read_answer(cell) is not None

    def count_answers(self, name: str, counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
        """Return how many training examples each label has; empty for kinds without labels.

        Args:
            name: The column's name.
            counts: Training examples by question name and answer.
        """
        return {}

    # Calibration

    @property
    def fitted_keys(self) -> list[str]:
        """The settings that ask for something which only a calibration set can provide."""
        return []

    @property
    def wants_calibration_set(self) -> bool:
        """Whether dev rows should be set aside for the column."""
        return False

    @property
    def required_calibration(self) -> str:
        """The setting that has no meaning without dev rows, in words; "" if there is none."""
        return ""

    def calibration_shortage(self, answers: Sequence[str]) -> tuple[list[str], str]:
        """Return which settings cannot be fitted on rows with these gold answers, and why; ([], "") if all can."""
        return [], ""

    def calibrate(self, name: str, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
        """Fit what prediction has to know beside the weights."""
        raise NotImplementedError

    def uncalibrated(self, name: str) -> str:
        """Return what it means that the column is not calibrated, for a message."""
        raise NotImplementedError

    def with_best_thresholds(self, name: str, predicted: Sequence[PredictedTable]) -> "ColumnSpec":
        """Return the column with the thresholds that suit these rows best, where its settings ask for that."""
        return self

    def decision(self, name: str, record: Any) -> Any:
        """Return how the column is predicted, given what calibration has found; None if that changes nothing.

        Args:
            name: The column's name.
            record: What run.json keeps for the column; None if nothing.

        Raises:
            ValueError: If the record is damaged.
        """
        return None

    def calibration_gaps(self, record: Any) -> dict[str, str]:
        """Return the settings for which calibration found nothing, and what is done instead."""
        return {}

    # Predicting

    @abstractmethod
    def collector(self, name: str, rows: int) -> "Collector":
        """Return what collects the values that the model gives for the column, for so many rows."""

    def output_columns(self, name: str) -> list[OutputColumn]:
        """Return the columns that may be written beside the predicted one."""
        return []

    @abstractmethod
    def cells(self, values: "ColumnValues", decision: Any) -> "pl.Series":
        """Return the cells to write: text; "" where there is no answer, null where a row was not asked."""

    def output(
        self, name: str, values: "ColumnValues", decision: Any, titles: Sequence[str]
    ) -> "Iterator[tuple[str, pl.Series]]":
        """Yield those of the columns beside the predicted one that are among `titles`."""
        yield from ()

    def reason_for_empty(self, decision: Any) -> str:
        """Why a cell that was asked for can be empty; "" if an empty cell is an answer."""
        return "the model named none"

    # Evaluating

    @abstractmethod
    def predictions(self, values: "ColumnValues", decision: Any) -> "Predictions":
        """Return what a model predicts for each row, as scores and reports need it."""

    @abstractmethod
    def read_predictions(self, table: "Table", name: str, decision: Any) -> "Predictions":
        """Read a predicted table's column.

        Raises:
            TableError: If a cell is invalid.
        """

    @abstractmethod
    def score(self, predictions: "Predictions", gold: "RowReader", name: str, rows: Sequence[int]) -> "Scores | None":
        """Score predictions against the table's own cells; None if no row has a gold answer.

        Args:
            predictions: One for each of `rows`.
            gold: Reads the table.
            name: The column's name.
            rows: Rows of the table.
        """

    @abstractmethod
    def difference(
        self, first: "Predictions", second: "Predictions", gold: "RowReader", name: str, rows: Sequence[int]
    ) -> "PairedDifference":
        """Compare two systems by the kind's main score, row by row; at least one row has a gold answer."""

    def ranking_difference(
        self, first: "Predictions", second: "Predictions", gold: "RowReader", name: str, rows: Sequence[int]
    ) -> "PairedDifference | None":
        """Compare two systems by how they rank rows for the first of two labels; None for other kinds."""
        return None

    def baselines(self) -> "dict[str, Fill]":
        """Return the simple baselines, by the names that reports show, the strongest first."""
        return {}

    def other_tools(self) -> "dict[str, Fill]":
        """Return other tools that can fill the column, by the names that reports show."""
        return {}

    def sample(self, predictions: "Predictions", row: int, gold: "RowReader", name: str) -> "SampleCell | SampleList":
        """Return a prediction beside the table's cell, for the papers that a report shows."""
        from papertune.evaluation.report import SampleCell

        return SampleCell(name, predictions.cells[row], (gold.given(row, name) or "").strip(), None)

    def judged(
        self, predictions: "Predictions", table: "Table", recipe: "Recipe", name: str
    ) -> "Iterator[list[Judged]]":
        """Yield, for each row with a probability and a gold label, what is to be said of it; kinds with labels only."""
        yield from ()

    def likely_label_errors(self, table: "Table", recipe: "Recipe", name: str) -> "LabelErrors | None":
        """Look for gold labels that are probably wrong; None for kinds without labels, or too few rows."""
        return None

    def shortcut_questions(
        self, table: "Table", reader: "RowReader", name: str
    ) -> "Iterator[tuple[str, dict[int, str]]]":
        """Yield what a shortcut could predict: the label asked about ("" for all), and the gold answer by row."""
        yield from ()

    def report_details(
        self,
        report: "ColumnReport",
        predictions: "Predictions",
        gold: "RowReader",
        decision: Any,
        record: Any,
    ) -> "ColumnReport":
        """Add to a report what only this kind has, such as calibration curves."""
        return report


class AskedSpec(ColumnSpec):
    """A column that one question fills: what a model learns for it and how its answer is decoded."""

    def questions(self, name: str) -> "dict[str, AskedSpec]":
        """Return the column itself as its only question."""
        return {name: self}

    @abstractmethod
    def encode_answers(self, answer: str, encoder: "PromptEncoder") -> list[list[int]]:
        """Return the token ids to learn for an answer, each with the end token; several if any of them may come next.

        None is returned for parts that are too long for the column.
        """

    def label_tokens(self, encoder: "PromptEncoder") -> list[int] | None:
        """Return one token per label if the loss runs over the label set only, else None."""
        return None

    def label_index(self, answer: str) -> int:
        """Return which of `label_tokens` an answer is."""
        raise NotImplementedError

    def answer_weights(self, answers: Iterable[str]) -> dict[str, float]:
        """Return how much each answer counts in the loss, given those of the training examples; empty: all the same."""
        return {}

    def check_tokens(self, encoder: "PromptEncoder") -> None:
        """Check that a tokenizer can tell the answers apart.

        Raises:
            RecipeError: If it cannot.
        """

    def count_left_out(self, answer: str, encoded: Sequence[Sequence[int]], encoder: "PromptEncoder") -> int:
        """Return how many parts of an answer are not learned, since they have too many tokens.

        Args:
            answer: The answer.
            encoded: What `encode_answers` returns for it.
            encoder: Has encoded it.
        """
        return 0

    def answer_facts(self, name: str, answers: Sequence[str], encoder: "PromptEncoder") -> list[str]:
        """Return what a check reports about the answers to learn, a line each."""
        return []

    def nothing_learned(self, name: str) -> str:
        """Return the error for a column of which every part is left out."""
        raise NotImplementedError

    def left_out_in_words(self, name: str, count: int) -> str:
        """Return the warning for parts of answers that are not learned."""
        raise NotImplementedError

    @abstractmethod
    def max_answer_tokens(self, encoder: "PromptEncoder") -> int:
        """Return how many tokens an answer can add to its prompt in prediction."""

    def max_answer_bytes(self, max_answer_tokens: int) -> int:
        """Return an upper bound of an answer's tokens in training, known without a tokenizer."""
        return max_answer_tokens

    @property
    def has_answer_tree(self) -> bool:
        """Whether several answers of one row go through the model together."""
        return False

    def example_group(self, answer: str) -> str:
        """Return the group from which few-shot examples are taken in turns: the label, or "" for free answers."""
        return ""

    def one_answer(self, answer: str) -> str:
        """Return what a model would write once for the text to learn: all of it, or one of several answers."""
        return answer

    @abstractmethod
    def decoder(self, name: str, tools: "DecodingTools") -> "Decoder":
        """Return what answers the question for a batch of prompts."""
