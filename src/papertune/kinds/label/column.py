"""The label column: its settings and methods."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictStr, model_validator

from papertune.errors import Sentence
from papertune.kinds.asked import AskedSpec
from papertune.kinds.base import (
    CalibrationOutcome,
    OutputColumn,
    Part,
    PredictedTable,
    Probability,
    Sources,
    Text,
)
from papertune.kinds.label.cells import (
    TIDYING,
    balanced_weights,
    check_label_set,
    is_empty_cell,
    read_label,
    wrong_label,
)
from papertune.kinds.separators import single_item

if TYPE_CHECKING:
    import polars as pl

    from papertune.evaluation.checks.label_errors import LabelErrors
    from papertune.evaluation.checks.review import Judged
    from papertune.evaluation.report import ColumnReport, SampleCell
    from papertune.evaluation.systems.outputs import Fill
    from papertune.kinds.decoder import Decoder, DecodingTools
    from papertune.kinds.findings import GoldCheck
    from papertune.kinds.label.decision import Decision
    from papertune.kinds.label.record import Calibration
    from papertune.kinds.predictions import Predictions
    from papertune.kinds.scoring import Scoring
    from papertune.kinds.values import Collector, ColumnValues
    from papertune.metrics.paired import PairedDifference
    from papertune.prompts import PromptEncoder
    from papertune.prompts.examples import RowReader
    from papertune.recipe import Recipe
    from papertune.tables import Table


class Costs(Part):
    """The costs of errors in the first of two labels, in any unit.

    Attributes:
        false_positive: A row that gets the first label and does not have it.
        false_negative: A row that has the first label and does not get it.
    """

    false_positive: Annotated[float, Field(gt=0, strict=True)]
    false_negative: Annotated[float, Field(gt=0, strict=True)]


class LabelColumn(AskedSpec):
    """A column that holds one of a set of labels.

    Attributes:
        question: The question about the document.
        labels: The allowed labels, as text; the first is the positive class of two.
        unlabelled: Cells that mean "not labelled", such as -1; "": empty cells. Such rows are not learned or scored.
        loss: "labels": cross-entropy over the label set; probabilities are those of the decisions among labels.
            "answer": cross-entropy over the whole vocabulary at each answer token.
        weights: How much a row of each label counts in the loss; "balanced": rows / (labels x rows of that label), as
            scikit-learn has it.
        calibration: How probabilities are calibrated: "temperature" for any labels, "isotonic" for two; "none": they
            stay as they are.
        threshold: Minimum probability of the first of two labels to choose it; "f1" or costs: the threshold that is
            best on the calibration set; None: the more probable label is chosen.
        abstain_below: The run abstains if the probability of its label is lower.
        abstain_for_accuracy: The run abstains as often as is needed on the calibration set for this accuracy of the
            other rows.
        coverage: Adds a column with a set of labels for each row; the share of the sets that should contain the gold
            label.
        sources: What answers: "words" (tf-idf), "model", "probe" (states of the base model), "encoder" (a sentence
            encoder), joined by their weights; None: all that are there.
    """

    is_ranked_by_first_label: ClassVar[bool] = True
    has_discrete_cells: ClassVar[bool] = True
    record_field: ClassVar[str] = "calibration"
    calibration_stage: ClassVar[str] = "calibrating"
    why_no_feedback: ClassVar[str] = "cross-entropy over the label set is exact; there is nothing to prefer"

    kind: Literal["label"]
    labels: Annotated[tuple[Text, ...], Field(min_length=2)]
    unlabelled: tuple[StrictStr, ...] = ()
    loss: Literal["labels", "answer"] = "labels"
    weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = None
    calibration: Literal["temperature", "isotonic", "none"] = "temperature"
    threshold: Literal["f1"] | Probability | Costs | None = None
    abstain_below: Probability = 0.0
    abstain_for_accuracy: Probability | None = None
    coverage: Annotated[float, Field(gt=0, lt=1)] | None = None
    sources: Sources = None

    @model_validator(mode="after")
    def _check(self) -> "LabelColumn":
        check_label_set(self.labels)
        if both := [marker for marker in self.unlabelled if read_label(marker, self.labels) is not None]:
            raise ValueError(
                f"unlabelled has {both[0]!r}, which is read as one of the labels; leave it out of one of them"
            )
        if isinstance(self.weights, dict) and set(self.weights) != set(self.labels):
            raise ValueError(f"weights must name each of the labels once: {', '.join(self.labels)}")
        if len(self.labels) != 2:
            if self.calibration == "isotonic":
                raise ValueError(f'calibration is "isotonic", which is for two labels; there are {len(self.labels)}')
            if self.threshold is not None:
                raise ValueError(f"threshold is set, which is for two labels; there are {len(self.labels)}")
        if self.coverage is not None and (unclear := [label for label in self.labels if ";" in label]):
            raise ValueError(f"coverage: the labels of a set are separated by semicolons, and {unclear[0]!r} has one")
        return self

    @property
    def fitted_keys(self) -> list[str]:
        """The settings that need a calibration set, except `calibration`."""
        asked = {
            "threshold": self.threshold is not None and not isinstance(self.threshold, float),
            "abstain_for_accuracy": self.abstain_for_accuracy is not None,
            "coverage": self.coverage is not None,
        }
        return [key for key, is_asked in asked.items() if is_asked]

    @property
    def wants_calibration_set(self) -> bool:
        """Whether the column needs a calibration set."""
        return self.calibration != "none" or bool(self.fitted_keys)

    def calibration_shortage(self, answers: Sequence[str]) -> tuple[list[str], str]:
        """Return which settings cannot be fitted on rows with these labels, and why."""
        from papertune.kinds.label.fit import shortage, threshold_shortage

        if not (keys := self.fitted_keys):
            return [], ""
        if why := shortage(answers):
            return keys, why
        return ["threshold"], threshold_shortage(self, answers)

    def calibrate(self, name: str, predicted: Sequence[PredictedTable]) -> CalibrationOutcome:
        """Fit the calibrator and the thresholds that the settings ask for."""
        from papertune.kinds.label.fit import calibrate

        return calibrate(name, self, predicted)

    def uncalibrated(self, name: str) -> str:
        """Return the message for uncalibrated probabilities."""
        return "probabilities are not calibrated"

    def decision(self, name: str, record: "Calibration | None") -> "Decision":
        """Return how labels are chosen: calibrator and thresholds."""
        from papertune.kinds.label.decision import Decision

        return Decision.of(self, record)

    def decision_in_words(self, decision: "Decision") -> list[str]:
        """Return what calibration and thresholds do, a sentence each."""
        return decision.in_words()

    def calibration_gaps(self, record: "Calibration | None") -> dict[str, str]:
        """Return the settings for which calibration found nothing."""
        consequences = {
            "threshold": "the more probable label is written",
            "abstain_for_accuracy": "the run does not abstain",
            "coverage": "every set has all labels",
        }
        fields = {"threshold": "threshold", "abstain_for_accuracy": "abstain_below", "coverage": "set_threshold"}
        return {
            key: consequences[key] for key in self.fitted_keys if record is None or getattr(record, fields[key]) is None
        }

    # Cells

    def read_answer(self, cell: str) -> str | None:
        """Return the label that a cell means, or None."""
        return read_label(cell, self.labels)

    def check_gold(self, check: "GoldCheck") -> None:
        """Check that each cell is one of the labels, or means that there is none."""
        counts: Counter[str] = Counter()
        repaired: list[int] = []
        empty: list[int] = []
        unlabelled: list[int] = []
        for row, cell in check.cells():
            label = read_label(cell, self.labels)
            if label is not None:
                counts[label] += 1
                if single_item(cell) != label:
                    repaired.append(row)
            elif read_label(cell, self.unlabelled) is not None:
                unlabelled.append(row)
            elif check.purpose == "score" and is_empty_cell(cell):
                empty.append(row)
            else:
                check.problem(row, wrong_label(cell, self.labels, check.name))
        if check.is_there:
            check.warn(Sentence(f"{{}} read as a label after {TIDYING}", "tidied_labels"), repaired)
            check.warn(Sentence("{} empty; not scored", "empty_cells"), empty)
            check.warn_of_empty(Sentence("listed as unlabelled in the recipe", "unlabelled"), unlabelled)
            check.count_labels(self.labels, counts)

    def count_answers(self, name: str, counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
        """Return the training examples of each label."""
        return {label: counts.get((name, label), 0) for label in self.labels}

    # Learning

    def encode_answers(self, answer: str, encoder: "PromptEncoder") -> list[list[int]]:
        """Return the whole label: half of one would be another label."""
        return [[*encoder.encode_text(answer), encoder.end_id]]

    @property
    def loss_labels(self) -> Sequence[str] | None:
        """The labels, if the recipe wants the loss over the label set."""
        return self.labels if self.loss == "labels" else None

    @property
    def joined_labels(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    @property
    def chosen_sources(self) -> tuple[str, ...] | None:
        """The setting `sources`."""
        return self.sources

    def answer_weights(self, answers: Iterable[str]) -> dict[str, float]:
        """Return the weight of each label in the loss."""
        if self.weights is None:
            return {}
        return balanced_weights(answers, self.labels) if self.weights == "balanced" else self.weights

    def check_tokens(self, encoder: "PromptEncoder") -> None:
        """Check that the labels differ in a tokenizer's tokens."""
        encoder.label_ids(self.labels)

    def max_answer_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the tokens of the longest label and its end."""
        return max(len(ids) + 1 for ids in encoder.label_ids(self.labels))

    def max_answer_bytes(self, max_answer_tokens: int) -> int:
        """Return an upper bound: a token is at least a byte; one more for a blank before the label, one for the end."""
        lengths = [len(label.encode()) + 1 for label in self.labels]
        return (sum if self.has_answer_tree else max)(lengths) + 1

    @property
    def has_answer_tree(self) -> bool:
        """Whether the labels may go through the model as a trie; not if they differ in their first bytes."""
        return self.loss == "labels" and len({label.encode()[0] for label in self.labels}) < len(self.labels)

    def example_group(self, answer: str) -> str:
        """Return the label, so that few-shot examples come from all labels in turns."""
        return answer

    # Predicting

    def decoder(self, name: str, tools: "DecodingTools") -> "Decoder":
        """Return what scores the labels."""
        from papertune.kinds.label.decoder import LabelDecoder

        return LabelDecoder(self, tools)

    def collector(self, name: str, rows: int) -> "Collector":
        """Return a collector of probabilities."""
        from papertune.kinds.values import ProbabilityCollector

        return ProbabilityCollector(name, rows, len(self.labels))

    def output_columns(self, name: str) -> list[OutputColumn]:
        """Return the label sets and the probability of each label."""
        sets = [OutputColumn(f"{name}_set", "the label sets", is_optional=False)] if self.coverage is not None else []
        return [
            *sets,
            *(OutputColumn(f"{name}_probability_{each}", f"the probability of {each}") for each in self.labels),
        ]

    def cells(self, values: "ColumnValues", decision: "Decision") -> "pl.Series":
        """Return the chosen labels; "" where the run abstains."""
        from papertune.kinds.label import output

        return output.label_cells(values, self, decision)

    def output(
        self, name: str, values: "ColumnValues", decision: "Decision", titles: Sequence[str]
    ) -> "Iterator[tuple[str, pl.Series]]":
        """Yield label sets and calibrated probabilities."""
        from papertune.kinds.label import output

        yield from output.columns_beside(name, values, self, decision, titles)

    def reason_for_empty(self, decision: "Decision") -> str:
        """Return which setting makes the run abstain."""
        is_given = decision.abstain_below == self.abstain_below
        return "below abstain_below" if is_given else "less confident than abstain_for_accuracy asks for"

    # Evaluating

    def predictions(self, values: "ColumnValues", decision: "Decision | None") -> "Predictions":
        """Return the chosen labels, also where the run abstains, and their probabilities."""
        from papertune.kinds.label import scoring

        return scoring.predictions(values, self, decision)

    @property
    def scoring(self) -> "Scoring":
        """Accuracy, F1, log-loss and ranking by the first of two labels; systems are compared by accuracy."""
        from papertune.kinds.label import scoring

        return scoring

    def ranking_difference(
        self, first: "Predictions", second: "Predictions", gold: "RowReader", name: str, rows: Sequence[int]
    ) -> "PairedDifference | None":
        """Compare two systems by average precision; None unless both rank all rows and there are two labels."""
        from papertune.kinds.label import scoring

        return scoring.ranking_difference(first, second, gold, name, self, rows)

    def baselines(self) -> "dict[str, Fill]":
        """Return TF-IDF with logistic regression, and the most frequent label."""
        from papertune.kinds.label import baselines

        return baselines.baselines(self)

    def other_tools(self) -> "dict[str, Fill]":
        """Return SetFit."""
        from papertune.evaluation.systems.other_tools import setfit

        return {"SetFit": lambda learned, documents: setfit(self, learned, documents)}

    def sample(self, predictions: "Predictions", row: int, gold: "RowReader", name: str) -> "SampleCell":
        """Return a prediction with its probability beside the gold label."""
        from papertune.kinds.label import scoring

        return scoring.sample(predictions, row, gold, name, self)

    def judged(
        self, predictions: "Predictions", table: "Table", recipe: "Recipe", name: str
    ) -> "Iterator[list[Judged]]":
        """Yield each prediction with a probability beside its gold label."""
        from papertune.kinds.label import scoring

        yield from scoring.judged(predictions, table, recipe, name, self)

    def likely_label_errors(self, table: "Table", recipe: "Recipe", name: str) -> "LabelErrors | None":
        """Look for gold labels that a cross-validated simple model contradicts."""
        from papertune.evaluation.checks.label_errors import find_in_labels

        return find_in_labels(table, recipe, name, self)

    def shortcut_questions(
        self, table: "Table", reader: "RowReader", name: str
    ) -> "Iterator[tuple[str, dict[int, str]]]":
        """Yield the gold labels."""
        cells = ((row, reader.given(row, name)) for row in range(len(table)))
        yield "", {row: label for row, cell in cells if cell is not None and (label := read_label(cell, self.labels))}

    def report_details(
        self,
        report: "ColumnReport",
        predictions: "Predictions",
        gold: "RowReader",
        decision: "Decision",
        record: "Calibration | None",
    ) -> "ColumnReport":
        """Add the quality of the probabilities: calibration, abstaining, label sets, screening."""
        from papertune.kinds.label.quality import with_label_quality

        return with_label_quality(report, self, predictions, gold, decision, record)
