"""The interface of column kinds.

A kind is one class. Its fields are the settings under `[columns.NAME]`; its methods read cells, ask and train the
model, and decode, write, score and compare answers. Other packages call these methods and never check the kind of a
column. Methods import torch, scikit-learn and polars when they are called, since recipes are read without them.
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from papertune.evaluation.checks.label_errors import LabelErrors
    from papertune.evaluation.checks.review import Judged
    from papertune.evaluation.report import ColumnReport, SampleCell, SampleList
    from papertune.evaluation.systems.outputs import Fill
    from papertune.kinds.asked import AskedSpec
    from papertune.kinds.decoder import Value
    from papertune.kinds.findings import GoldCheck
    from papertune.kinds.predictions import Predictions
    from papertune.kinds.scoring import Scoring
    from papertune.kinds.values import Collector, ColumnValues
    from papertune.metrics.paired import PairedDifference
    from papertune.metrics.scores import Scores
    from papertune.prompts.examples import RowReader
    from papertune.recipe import Recipe
    from papertune.tables import Table

# A question that each row brings along, such as "{instruction}".
_OWN_QUESTION = re.compile(r"\{([^{}]*[^{}\s][^{}]*)\}")

Text = Annotated[StrictStr, Field(min_length=1)]
# What can answer a label question: `papertune.sources` has all but the model.
SourceName = Literal["words", "model", "probe", "encoder"]
# Strict, so that `true` is not read as 1.
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]


def check_sources(sources: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the sources of a recipe's column, if they are valid.

    Raises:
        ValueError: If there are none, or one is named twice.
    """
    if sources is not None and not sources:
        raise ValueError('names no source; write for example ["words", "model"], or leave it out')
    if sources is not None and len(set(sources)) < len(sources):
        raise ValueError("names a source twice")
    return sources


class Part(BaseModel):
    """A part of a recipe: frozen; an unknown key is an error, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class OutputColumn:
    """A column that may be written beside the predicted one.

    Attributes:
        title: Its name.
        content: Its content, in a few words.
        is_optional: Whether it is written only with `--probabilities`.
    """

    title: str
    content: str
    is_optional: bool = True


@dataclass(frozen=True)
class PredictedTable:
    """The values of a model for one column of a table.

    Attributes:
        values: The values in table order; or, for a kind that is calibrated on candidates, those of each of `rows`.
        reader: Reads the gold cells.
        rows: The rows.
        decision: How the run predicted the column; None where a kind does not need it.
        is_scaled: Whether the scale of the values, joined from several sources, was fitted on these rows.
    """

    values: Any
    reader: "RowReader"
    rows: Sequence[int]
    decision: Any = None
    is_scaled: bool = False


@dataclass(frozen=True)
class CalibrationOutcome:
    """The calibration of a column.

    Attributes:
        messages: What to report, a line each.
        record: The record for run.json, if any.
        column: The column with fitted settings; None: unchanged.
    """

    messages: list[str]
    record: Any = None
    column: "ColumnSpec | None" = None


Sources = Annotated[tuple[SourceName, ...] | None, AfterValidator(check_sources)]


class ColumnSpec(Part):
    """A column of a recipe. Subclasses are the kinds.

    Attributes:
        kind: The name of the kind.
        question: The question about a document; just "{NAME}": the row's own question, in that column.
    """

    kind: str
    question: Text

    # Whether an empty cell of the table is an answer (no label applies) or is left out of training and scores.
    empty_is_gold: ClassVar[bool] = False
    # Whether rows can be sorted by the probability of the first label (`--sort-by`), and splits keep label shares.
    is_ranked_by_first_label: ClassVar[bool] = False
    # Whether int8 is judged by how many cells it changes, beside the score.
    has_discrete_cells: ClassVar[bool] = False
    # The field of the manifest with the calibration records of the kind; "" for a kind without records.
    record_field: ClassVar[str] = ""
    # The message during calibration, such as "ranking keywords"; "" for a kind without calibration.
    calibration_stage: ClassVar[str] = ""
    # Whether calibration uses the candidates of a search instead of the values chosen from them.
    is_calibrated_on_candidates: ClassVar[bool] = False
    # Whether the selection set is used if there is no calibration set.
    is_calibrated_on_selection_set: ClassVar[bool] = False
    # Why the column cannot learn which of two answers is better; "" for a kind whose answers are generated.
    why_no_feedback: ClassVar[str] = ""

    @property
    def question_column(self) -> str | None:
        """The column with each row's own question, if `question` is just its name in braces."""
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
        """Return the questions of the column called `name`, by question name; one for most kinds."""

    def question_of_label(self, name: str) -> dict[str, str]:
        """Return, by question name, the label that each question asks about; empty for kinds with one question."""
        return {}

    # Cells

    @abstractmethod
    def read_answer(self, cell: str) -> str | None:
        """Return the answer to learn for a cell, or None if it has no gold answer."""

    def gold_of_question(self, cell: str, question: str, name: str) -> str | None:
        """Return the gold answer of one of the column's questions, given the column's cell."""
        return cell

    def clear_separator(self, cells: Iterable[str]) -> str | None:
        """Return the setting `input_separator` that the cells of a column clearly show; None: none, or it is set."""
        return None

    def resolve_cells(self, cells: Iterable[str]) -> Mapping[str, str]:
        """Return replacements for cells that can only be read with all cells of the column in view."""
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

    # Sources that need no model

    def fit_sources(self, name: str, recipe: "Recipe", tables: "Sequence[Table]", folder: "Path") -> list[str]:
        """Learn from training rows what needs no model; return what to report, a line each.

        Args:
            name: The column's name.
            recipe: The recipe.
            tables: The training rows.
            folder: Where to write it; it need not exist.
        """
        return []

    def with_sources(self, decision: Any, folder: "Path", encoder: str | None) -> Any:
        """Return a decision that also uses what `fit_sources` has written, if anything.

        The encoder is that of the recipe; None: the installed one.

        Raises:
            ValueError: If a file is damaged.
        """
        return decision

    def asks_model(self, decision: Any) -> bool:
        """Whether predictions with a decision need the model, unless the sources of all questions are joined."""
        return True

    def answer_without_model(self, documents: Sequence[str], decision: Any) -> "Sequence[Value]":
        """Return the value of each whole document, where `asks_model` is false."""
        raise RuntimeError(f"a column of kind {self.kind} needs the model")

    # Calibration

    @property
    def fitted_keys(self) -> list[str]:
        """The settings that need a calibration set."""
        return []

    @property
    def wants_calibration_set(self) -> bool:
        """Whether the column needs a calibration set."""
        return False

    @property
    def required_calibration(self) -> str:
        """The setting that has no meaning without dev rows, in words; "" if there is none."""
        return ""

    def calibration_shortage(self, answers: Sequence[str]) -> tuple[list[str], str]:
        """Return which settings cannot be fitted on rows with these gold answers, and why; ([], "") if all can."""
        return [], ""

    def calibrate(self, name: str, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
        """Fit what prediction needs beside the weights; nothing for a kind without calibration."""
        return CalibrationOutcome([])

    def uncalibrated(self, name: str) -> str:
        """Return the consequence of a missing calibration, for a message."""
        return ""

    def with_best_thresholds(self, name: str, predicted: Sequence[PredictedTable]) -> "ColumnSpec":
        """Return the column with the best thresholds for these rows, if its settings ask for them."""
        return self

    def decision(self, name: str, record: Any) -> Any:
        """Return how the column is predicted, given its calibration; None if that changes nothing.

        Args:
            name: The column's name.
            record: The record of the column in run.json; None without one.

        Raises:
            ValueError: If the record is damaged.
        """
        return None

    def decision_in_words(self, decision: Any) -> list[str]:
        """Return what is done with the model's values before they are cells, a sentence each."""
        return []

    def calibration_gaps(self, record: Any) -> dict[str, str]:
        """Return the settings for which calibration found nothing, and the consequences."""
        return {}

    # Predicting

    @abstractmethod
    def collector(self, name: str, rows: int) -> "Collector":
        """Return a collector of the column's values, for a number of rows."""

    def output_columns(self, name: str) -> list[OutputColumn]:
        """Return the columns that may be written beside the predicted one."""
        return []

    @abstractmethod
    def cells(self, values: "ColumnValues", decision: Any) -> "pl.Series":
        """Return the cells to write: text; "" where there is no answer, null where a row was not asked."""

    def output(
        self, name: str, values: "ColumnValues", decision: Any, titles: Sequence[str]
    ) -> "Iterator[tuple[str, pl.Series]]":
        """Yield the columns beside the predicted one that are among `titles`."""
        yield from ()

    def reason_for_empty(self, decision: Any) -> str:
        """Why a predicted cell can be empty; "" if an empty cell is an answer."""
        return "the model named none"

    # Evaluating

    @abstractmethod
    def predictions(self, values: "ColumnValues", decision: Any) -> "Predictions":
        """Return the predictions of a model for each row, for scores and reports."""

    @property
    @abstractmethod
    def scoring(self) -> "Scoring":
        """The scores of the kind."""

    def read_predictions(self, table: "Table", name: str, decision: Any) -> "Predictions":
        """Read a predicted table's column.

        Raises:
            TableError: If a cell is invalid.
        """
        return self.scoring.read_predictions(table, name, self, decision)

    def score(self, predictions: "Predictions", gold: "RowReader", name: str, rows: Sequence[int]) -> "Scores | None":
        """Score predictions; None if no row has a gold answer.

        Args:
            predictions: One for each of `rows`.
            gold: Reads the gold cells.
            name: The column's name.
            rows: Rows of the table.
        """
        return self.scoring.score(predictions, gold, name, self, rows)

    def difference(
        self, first: "Predictions", second: "Predictions", gold: "RowReader", name: str, rows: Sequence[int]
    ) -> "PairedDifference":
        """Compare two systems by the kind's main score, row by row; at least one row has a gold answer."""
        return self.scoring.difference(first, second, gold, name, self, rows)

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
        """Return a prediction beside the gold cell, for the papers that a report shows."""
        from papertune.evaluation.report import SampleCell

        return SampleCell(name, predictions.cells[row], (gold.given(row, name) or "").strip(), None)

    def judged(
        self, predictions: "Predictions", table: "Table", recipe: "Recipe", name: str
    ) -> "Iterator[list[Judged]]":
        """Yield the judgements of each row with probabilities and a gold label; for kinds with labels only."""
        yield from ()

    def likely_label_errors(self, table: "Table", recipe: "Recipe", name: str) -> "LabelErrors | None":
        """Search for likely label errors; None for kinds without labels, or too few rows."""
        return None

    def shortcut_questions(
        self, table: "Table", reader: "RowReader", name: str
    ) -> "Iterator[tuple[str, dict[int, str]]]":
        """Yield the questions that a shortcut could answer: the label ("" for all), and the gold answers by row."""
        yield from ()

    def report_details(
        self,
        report: "ColumnReport",
        predictions: "Predictions",
        gold: "RowReader",
        decision: Any,
        record: Any,
    ) -> "ColumnReport":
        """Add the parts of a report that only this kind has, such as calibration curves."""
        return report
