"""The labels column: its settings and methods."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from papertune.errors import Sentence, listed, quoted
from papertune.kinds.asked import AskedSpec
from papertune.kinds.base import (
    CalibrationOutcome,
    ColumnSpec,
    OutputColumn,
    PredictedTable,
    Probability,
    Sources,
    Text,
)
from papertune.kinds.findings import GoldCheck
from papertune.kinds.label.cells import TIDYING, check_label_set, read_label, wrong_label
from papertune.kinds.label.column import LabelColumn
from papertune.kinds.labels.cells import clear_label_separator, join_labels, read_labels, split_labels
from papertune.kinds.separators import separator_pattern
from papertune.templates import parse_template, render_template

if TYPE_CHECKING:
    import polars as pl

    from papertune.evaluation.checks.label_errors import LabelErrors
    from papertune.evaluation.checks.review import Judged
    from papertune.evaluation.report import SampleList
    from papertune.evaluation.systems.outputs import Fill
    from papertune.kinds.predictions import Predictions
    from papertune.kinds.scoring import Scoring
    from papertune.kinds.values import Collector, ColumnValues
    from papertune.prompts.examples import RowReader
    from papertune.recipe import Recipe
    from papertune.tables import Table


class LabelsColumn(ColumnSpec):
    """A column that holds none, one or several of a set of labels.

    Each label is a question of its own that is answered with yes or no ("binary relevance", Tsoumakas and Katakis 2007,
    doi:10.4018/jdwm.2007070101). So the probabilities of a row do not add up to 1.

    Attributes:
        question: The question about the document and one label, with {label} in it.
        labels: The set, as text.
        answers: The two answers, yes first.
        separator: The text between labels in written cells. Read cells are also split at semicolons and line breaks
            and, if a cell has none of these, at commas.
        input_separator: What read cells are split at as well; None: nothing, or the sign at which all become labels.
        thresholds: Minimum probability of a label, for all labels or for each; "f1": for each label the one with the
            highest F1 on dev rows, chosen after the training.
        loss: "labels": cross-entropy over the two answers; "answer": cross-entropy over the whole vocabulary at each
            answer token.
        weights: For each label the weight of its yes in the loss, while its no has 1; "balanced": its yes and its no
            count the same in total.
        sources: What answers: "words" (tf-idf), "model", "probe" (states of the base model), "encoder" (a sentence
            encoder), joined by weights of each label; None: all that are there.
    """

    empty_is_gold: ClassVar[bool] = True
    has_discrete_cells: ClassVar[bool] = True
    calibration_stage: ClassVar[str] = "choosing thresholds"
    is_calibrated_on_selection_set: ClassVar[bool] = True
    why_no_feedback: ClassVar[str] = LabelColumn.why_no_feedback

    kind: Literal["labels"]
    labels: Annotated[tuple[Text, ...], Field(min_length=1)]
    answers: Annotated[tuple[Text, ...], Field(min_length=2, max_length=2)] = ("yes", "no")
    separator: Text = "; "
    input_separator: Text | None = None
    thresholds: Literal["f1"] | Probability | dict[str, Probability] = 0.5
    loss: Literal["labels", "answer"] = "labels"
    weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = None
    sources: Sources = None

    @model_validator(mode="after")
    def _check(self) -> "LabelsColumn":
        try:
            names = {part.text for part in parse_template(self.question) if part.is_column}
        except ValueError as error:
            raise ValueError(f"question {error}") from None
        if names != {"label"}:
            raise ValueError("question must ask about one label: write {label} in it, and no other name in braces")
        check_label_set(self.labels)
        check_label_set(self.answers, "answers")
        # A label that contains a separator could not be read again.
        own = self.separator.strip()
        signs = {";", "；", "\n", own} if own else {";", "；", *filter(str.isspace, "".join(self.labels))}
        if unclear := [label for label in self.labels if any(sign in label for sign in signs)]:
            raise ValueError(
                f"labels are split at {self.separator!r}, semicolons and line breaks, so {unclear[0]!r} could not be "
                "read; choose another separator or another word"
            )
        own_input = self.input_separator
        if own_input is not None and (
            unclear := [label for label in self.labels if separator_pattern(own_input).search(label)]
        ):
            raise ValueError(
                f"cells are split at input_separator, {own_input!r}, so {unclear[0]!r} could not be read; choose "
                "another separator or another word"
            )
        for key, setting in (("thresholds", self.thresholds), ("weights", self.weights)):
            if isinstance(setting, dict) and set(setting) != set(self.labels):
                raise ValueError(f"{key} must name each of the labels once: {', '.join(self.labels)}")
        return self

    def about(self, label: str) -> LabelColumn:
        """Return the question about one label as a label column whose labels are yes and no."""
        yes, no = self.answers
        return LabelColumn(
            kind="label",
            question=render_template(self.question, {"label": label}),
            labels=(yes, no),
            loss=self.loss,
            sources=self.sources,
            weights={yes: self.weights[label], no: 1.0} if isinstance(self.weights, dict) else self.weights,
        )

    # Asking

    def questions(self, name: str) -> dict[str, AskedSpec]:
        """Return a yes-or-no question for each label, called `COLUMN: LABEL`."""
        return {f"{name}: {label}": self.about(label) for label in self.labels}

    def question_of_label(self, name: str) -> dict[str, str]:
        """Return the label of each question."""
        return {f"{name}: {label}": label for label in self.labels}

    # Cells

    def clear_separator(self, cells: Iterable[str]) -> str | None:
        """Return the sign at which cells must be split to be labels, unless the recipe names one."""
        return clear_label_separator(cells, self) if self.input_separator is None else None

    def read_answer(self, cell: str) -> str | None:
        """Return the labels of a cell, "" for none; None if a part is not a label."""
        labels = read_labels(cell, self)
        return None if labels is None else join_labels(labels, self)

    def gold_of_question(self, cell: str, question: str, name: str) -> str | None:
        """Return yes or no for one label; None if a part of the cell is not a label."""
        named = read_labels(cell, self)
        yes, no = self.answers
        return None if named is None else yes if self.question_of_label(name)[question] in named else no

    def has_gold(self, reader: "RowReader", row: int, name: str) -> bool:
        """Whether a row has a gold answer for any label."""
        return bool(self.labels_of_row(reader, row, name))

    def labels_of_row(self, reader: "RowReader", row: int, name: str) -> dict[str, bool]:
        """Return whether a row has each label, for the labels with a gold answer: all, one or none."""
        cell = reader.given(row, name)
        if cell is not None:
            named = read_labels(cell, self)
            return {} if named is None else {label: label in named for label in self.labels}
        found: dict[str, bool] = {}
        if not reader.is_instructions:
            return found
        of_question = self.question_of_label(name)
        for question in reader.asked(row):
            answer = read_label(reader.given(row, question) or "", self.answers) if question in of_question else None
            if answer is not None:
                found[of_question[question]] = answer == self.answers[0]
        return found

    def check_gold(self, check: GoldCheck) -> None:
        """Check that each cell holds labels only."""
        if check.table.is_instructions:
            self._check_answers(check)
            return
        if not check.is_there:
            return
        counts: Counter[str] = Counter()
        repeated: list[int] = []
        repaired: list[int] = []
        for row, cell in check.cells():
            parts = split_labels(cell, self)
            wrong = [part for part in dict.fromkeys(parts) if part not in self.labels]
            for part in wrong:
                check.problem(row, wrong_label(part, self.labels, check.name))
            # In the order of the cell, since the order of a set varies.
            counts.update([part for part in dict.fromkeys(parts) if part not in wrong] or ([] if wrong else [""]))
            if len(parts) != len({*parts}):
                repeated.append(row)
            if any(part not in cell for part in parts):
                repaired.append(row)
        check.warn(Sentence("{} naming a label twice; it counts once", "repeated_labels"), repeated)
        check.warn(Sentence(f"{{}} read as labels after {TIDYING}", "tidied_labels"), repaired)
        if len(check.table) and counts[""] == len(check.table):
            text = (
                f"{check.table.source}, column {quoted(check.name)}: every cell is empty, which means that no row "
                "has any of the labels. Fill the column in, or take it out of the table."
            )
            check.findings.problems.append(Sentence(text, "empty_column", column=check.name))
        check.count_labels(self.labels, counts)

    def _check_answers(self, check: GoldCheck) -> None:
        """Check the entries of an instruction file, each of which asks about one label."""
        counts: Counter[str] = Counter()
        for row in range(len(check.table)):
            for question in check.reader.asked(row):
                cell = check.reader.given(row, question) if question in check.labels else None
                answer = None if cell is None else read_label(cell, self.answers)
                if answer == self.answers[0]:
                    counts[check.labels[question]] += 1
                elif cell is not None and answer is None:
                    text = (
                        f'{quoted(cell)} is neither "{self.answers[0]}" nor "{self.answers[1]}". Correct the cell, '
                        f"or set columns.{check.name}.answers."
                    )
                    labels = listed(self.answers)
                    check.problem(row, Sentence(text, "unknown_label", value=cell, labels=labels))
        check.count_labels(self.labels, counts)

    def count_answers(self, name: str, counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
        """Return how many training rows have each label."""
        of_question = self.question_of_label(name)
        return {label: counts.get((question, self.answers[0]), 0) for question, label in of_question.items()}

    # Calibration

    @property
    def wants_calibration_set(self) -> bool:
        """Whether thresholds are to be chosen."""
        return self.thresholds == "f1"

    @property
    def required_calibration(self) -> str:
        """Thresholds with the best F1 have no meaning without dev rows."""
        return 'thresholds is "f1"' if self.thresholds == "f1" else ""

    def calibrate(self, name: str, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
        """Choose the thresholds with the best F1."""
        from papertune.kinds.labels.thresholds import calibrate

        return calibrate(name, self, predicted)

    def uncalibrated(self, name: str) -> str:
        """Return the message for thresholds that are not chosen."""
        return f"{name}: thresholds are not chosen, so 0.5 is used"

    def with_best_thresholds(self, name: str, predicted: Sequence[PredictedTable]) -> "LabelsColumn":
        """Return the column with the thresholds that have the best F1 on these rows, if it asks for them."""
        from papertune.kinds.labels.thresholds import with_f1_thresholds

        return with_f1_thresholds(name, self, predicted)[0]

    # Predicting

    def collector(self, name: str, rows: int) -> "Collector":
        """Return a collector of the probability of each yes."""
        from papertune.kinds.values import ProbabilityCollector

        return ProbabilityCollector(list(self.questions(name)), rows, len(self.labels))

    def output_columns(self, name: str) -> list[OutputColumn]:
        """Return the probability of each label."""
        return [OutputColumn(f"{name}_probability_{label}", f"the probability of {label}") for label in self.labels]

    def decision_in_words(self, decision: Any) -> list[str]:
        """Return from which probability each label is predicted."""
        from papertune.kinds.labels.output import label_thresholds

        limits = zip(self.labels, label_thresholds(self).tolist(), strict=True)
        shown = ", ".join(f"{label} {limit:.4f}" for label, limit in limits)
        return [f"a label is predicted from this probability of its first answer: {shown}."]

    def cells(self, values: "ColumnValues", decision: Any) -> "pl.Series":
        """Return the labels that reach their thresholds."""
        from papertune.kinds.labels.output import label_set_cells

        return label_set_cells(values, self)

    def output(
        self, name: str, values: "ColumnValues", decision: Any, titles: Sequence[str]
    ) -> "Iterator[tuple[str, pl.Series]]":
        """Yield the probabilities."""
        from papertune.kinds.values import probabilities_of, probability_series

        yield from probability_series(name, self.labels, probabilities_of(values), titles)

    def reason_for_empty(self, decision: Any) -> str:
        """Return "": a row without any of the labels has been answered."""
        return ""

    # Evaluating

    def predictions(self, values: "ColumnValues", decision: Any) -> "Predictions":
        """Return the labels that reach their thresholds, and all probabilities."""
        from papertune.kinds.labels import scoring

        return scoring.predictions(values, self)

    @property
    def scoring(self) -> "Scoring":
        """Micro and macro F1 and the average precision of labels; systems are compared by micro F1."""
        from papertune.kinds.labels import scoring

        return scoring

    def baselines(self) -> "dict[str, Fill]":
        """Return TF-IDF with one logistic regression a label, and the most frequent cell."""
        from papertune.kinds.labels import baselines

        return baselines.baselines(self)

    def sample(self, predictions: "Predictions", row: int, gold: "RowReader", name: str) -> "SampleList":
        """Return the predicted labels beside the table's."""
        from papertune.evaluation.report import SampleList

        has = self.labels_of_row(gold, row, name)
        gold_labels = [label for label in self.labels if has.get(label)] if has else None
        return SampleList(name, self.kind, read_labels(predictions.cells[row], self) or [], gold_labels)

    def judged(
        self, predictions: "Predictions", table: "Table", recipe: "Recipe", name: str
    ) -> "Iterator[list[Judged]]":
        """Yield, for each row, each label that was asked about beside the table's."""
        from papertune.kinds.labels import scoring

        yield from scoring.judged(predictions, table, recipe, name, self)

    def likely_label_errors(self, table: "Table", recipe: "Recipe", name: str) -> "LabelErrors | None":
        """Look for labels that a cross-validated simple model contradicts."""
        from papertune.evaluation.checks.label_errors import find_in_sets

        return find_in_sets(table, recipe, name, self)

    def shortcut_questions(
        self, table: "Table", reader: "RowReader", name: str
    ) -> "Iterator[tuple[str, dict[int, str]]]":
        """Yield, for the most frequent labels, whether each row has the label."""
        from papertune.kinds.labels import scoring

        yield from scoring.shortcut_questions(table, reader, name, self)
