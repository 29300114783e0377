"""The content of a report: plain data that the page, report.json and the terminal show."""

from dataclasses import dataclass, field

from papertune.evaluation.checks.label_errors import LabelErrors
from papertune.evaluation.checks.leaks import Leaks
from papertune.evaluation.checks.review import ReviewRow
from papertune.metrics.calibration import CalibrationScores
from papertune.metrics.paired import PairedDifference
from papertune.metrics.scores import Scores
from papertune.metrics.screening import PrecisionRecall, WorkSaved
from papertune.metrics.selective import RiskCoverage


@dataclass(frozen=True)
class SystemReport:
    """The scores and costs of a system.

    Attributes:
        name: Its name in tables.
        scores: Its scores, of the column's kind.
        note: A remark shown below the name.
        rows_per_s: Scored rows per second; None if not known.
        training_s: Seconds of training; None if not known, 0 if it is not trained.
        trained_weights: Number of trainable parameters; None if not known.
        paired: The difference of its main score to that of the best baseline, over the same rows; None for this
            baseline itself, and without baselines.
        paired_average_precision: For two labels the difference of average precision to the baseline with the highest;
            None for this baseline itself, and if one of the two has none.
        prompt: The prompt of a prompted model for one row, such as few-shot examples and the question.
    """

    name: str
    scores: Scores
    note: str = ""
    rows_per_s: float | None = None
    training_s: float | None = None
    trained_weights: int | None = None
    paired: PairedDifference | None = None
    paired_average_precision: PairedDifference | None = None
    prompt: str = ""


@dataclass(frozen=True)
class LearningPoint:
    """The score of a system with some number of training rows.

    Attributes:
        rows: Number of training rows.
        score: The score that the systems are compared by, the first of `shown_measures`.
        low: Lower end of the score's 95 percent interval.
        high: Upper end.
    """

    rows: int
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Abstention:
    """The effect of abstaining.

    Attributes:
        wanted: The accuracy that the recipe asks for, from 0 to 1; None if it asks for a confidence.
        threshold: Minimum confidence of an answer; None: every row is answered, or a predicted file abstains with other
            settings than those of the run.
        answered: Share of the scored rows with an answer.
        accuracy: Accuracy of these; None if there are none.
        not_chosen: Why dev rows gave no threshold for the wanted accuracy; "" if they did, or none is wanted.
    """

    wanted: float | None
    threshold: float | None
    answered: float
    accuracy: float | None
    not_chosen: str = ""


@dataclass(frozen=True)
class LabelSets:
    """The size and coverage of label sets: for each row the labels that cannot be ruled out.

    Attributes:
        wanted: The share of rows whose set should contain the gold label, from 0 to 1.
        covered: The share of the scored rows whose set does.
        mean_size: Mean number of labels in a set.
        single: Share of the scored rows whose set has exactly one label.
    """

    wanted: float
    covered: float
    mean_size: float
    single: float


@dataclass(frozen=True)
class ColumnReport:
    """The report of one column; parts that are None or empty are not shown.

    Attributes:
        name: The column's name in the table.
        kind: "label", "labels", "keywords" or "ranked_keywords".
        question: The question of the recipe.
        systems: The run first, then the others.
        facts: Remarks on this column, in the order to show them.
        calibration: Calibration of the run's probabilities, after its calibrator if it has one.
        calibration_before: The same before its calibrator; None if it has none.
        risk_coverage: Share of wrong predictions over the share of rows answered, the most confident first.
        abstention: The effect of abstaining.
        label_sets: The size and coverage of label sets.
        precision_recall: Precision and recall of the positive label.
        positive: The positive label.
        is_screening: Whether the rows with the positive label are searched for, so that their ranking matters more than
            accuracy; see `papertune.kinds.label.quality.is_for_screening`.
        work_saved: The share of the table that must be read to find most rows with the positive label.
        learning_curve: By system, the score over the number of training rows, ascending.
        confident_errors: Wrong predictions of the run, the most confident first.
        uncertain_rows: Predictions of the run, the least confident first.
        label_errors: Likely label errors.
    """

    name: str
    kind: str
    question: str
    systems: list[SystemReport]
    facts: dict[str, str] = field(default_factory=dict)
    calibration: CalibrationScores | None = None
    calibration_before: CalibrationScores | None = None
    risk_coverage: RiskCoverage | None = None
    abstention: Abstention | None = None
    label_sets: LabelSets | None = None
    precision_recall: PrecisionRecall | None = None
    positive: str = ""
    is_screening: bool = False
    work_saved: WorkSaved | None = None
    learning_curve: dict[str, list[LearningPoint]] = field(default_factory=dict)
    confident_errors: list[ReviewRow] = field(default_factory=list)
    uncertain_rows: list[ReviewRow] = field(default_factory=list)
    label_errors: LabelErrors | None = None


@dataclass(frozen=True)
class SampleCell:
    """A predicted label beside the table's own.

    Attributes:
        column: The column's name.
        predicted: The predicted label; "" without one.
        given: The gold label; "" without one.
        probability: The probability of the predicted label, from 0 to 1; None if not known.
    """

    column: str
    predicted: str
    given: str
    probability: float | None


@dataclass(frozen=True)
class SampleText(SampleCell):
    """A predicted text beside the table's own; it is not marked as right or wrong."""


@dataclass(frozen=True)
class SampleList:
    """Predicted keywords or labels beside those of the table.

    Attributes:
        column: The column's name.
        kind: The kind of the column: labels are compared as they are, keywords by their stems.
        predicted: The predicted keywords or labels.
        given: The gold ones; None without a gold cell. An empty list of labels is an answer.
    """

    column: str
    kind: str
    predicted: list[str]
    given: list[str] | None


@dataclass(frozen=True)
class SampleRow:
    """One paper to look at.

    Attributes:
        id: The row's id in the table.
        document: The text that the model read.
        cells: The columns that the row asks for.
    """

    id: str
    document: str
    cells: list[SampleCell | SampleList]


@dataclass(frozen=True)
class Report:
    """The report of an evaluation or comparison.

    Attributes:
        title: The heading.
        table: Name of the table that was scored.
        rows: Number of its rows.
        facts: Facts about the run, such as base model and versions, in the order to show them.
        columns: The columns that were scored.
        loss_curve: (optimizer step, training loss).
        dev_curve: (optimizer step, dev score).
        samples: Papers to look at.
        leaks: Reasons why the scores may be too good; None if not searched.
    """

    title: str
    table: str
    rows: int
    facts: dict[str, str]
    columns: list[ColumnReport]
    loss_curve: list[tuple[int, float]]
    dev_curve: list[tuple[int, float]]
    samples: list[SampleRow]
    leaks: Leaks | None = None
