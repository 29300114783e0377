"""What a report tells: plain data that the page, report.json and the terminal show."""

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
class Contestant:
    """One way of filling a column, how well it did, and what it cost.

    Attributes:
        name: What it is called in tables.
        scores: Its scores, of the column's kind.
        note: A remark shown below the name.
        rows_per_s: Rows of the scored table that it filled in a second; None if that was not timed.
        training_s: Seconds that its training took; None if that is not known, 0 if it learns nothing.
        trained_weights: How many numbers it learnt; None if that is not known.
        paired: Its main score less that of the best baseline, over the same rows; None for that baseline itself, and
            where there is none.
        paired_average_precision: For two labels the same of average precision, to the baseline where that is highest;
            None for that baseline itself, and where one of the two has none.
        prompt: What a prompted model was shown, of one row, such as the examples of few-shot prompting.
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
    """A contestant after learning from so many rows.

    Attributes:
        rows: Rows that it learnt from.
        score: The score that the column's contestants are compared by, the first of `shown_measures`.
        low: Lower end of the score's 95 percent interval.
        high: Upper end.
    """

    rows: int
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Abstention:
    """What happens if the run answers only where it is sure enough.

    Attributes:
        wanted: The accuracy that was asked for, from 0 to 1; None if a probability was.
        threshold: Least probability of an answer that is given; None: every row is answered, or other settings than
            the run's have left some out, as in a file that was predicted with those.
        answered: Share of the scored rows with an answer.
        accuracy: Accuracy over these; None if there are none.
        not_chosen: Why dev rows gave no threshold for the accuracy that was asked for; "" if they did, or none was.
    """

    wanted: float | None
    threshold: float | None
    answered: float
    accuracy: float | None
    not_chosen: str = ""


@dataclass(frozen=True)
class LabelSets:
    """What conformal label sets come to: for each row the labels that cannot be ruled out.

    Attributes:
        wanted: The share of rows whose set shall hold the true label, from 0 to 1.
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
    """What is told about one column; what is None or empty is left out of the report.

    Attributes:
        name: The column's name in the table.
        kind: "label", "labels", "keywords" or "ranked_keywords".
        question: What the model was asked.
        contestants: The run first, then what it is compared with.
        facts: What else to know about this column, in the order to show it.
        calibration: Of the run's probabilities as it gives them, calibrated if it has a calibrator.
        calibration_before: Of the same before they are calibrated; None if the run has no calibrator.
        risk_coverage: Share of wrong answers over the share of rows answered, the surest first.
        abstention: What answering only where it is sure comes to.
        label_sets: What conformal label sets come to.
        precision_recall: Of the positive label.
        positive: That label.
        is_screening: Whether its rows are what is looked for, so that the order of the rows counts for more than
            accuracy; see `papertune.kinds.label.quality.is_for_screening`.
        work_saved: How little of the table must be read to find most rows of the positive label.
        learning_curve: For each contestant's name the score that contestants are compared by, over the rows that it
            learnt from, few rows first.
        mistakes: Wrong answers of the run, the surest first.
        unsure: Rows that the run is least sure of, the least sure first.
        noise: Rows whose given label is doubtful.
    """

    name: str
    kind: str
    question: str
    contestants: list[Contestant]
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
    mistakes: list[ReviewRow] = field(default_factory=list)
    unsure: list[ReviewRow] = field(default_factory=list)
    noise: LabelErrors | None = None


@dataclass(frozen=True)
class SampleCell:
    """A predicted label beside the table's own.

    Attributes:
        column: The column's name.
        predicted: What the run says; "" if it gave no answer.
        given: What the table says; "" if it says nothing.
        probability: The run's probability of what it says, from 0 to 1; None if it has none.
    """

    column: str
    predicted: str
    given: str
    probability: float | None


@dataclass(frozen=True)
class SampleList:
    """Predicted keywords or labels beside those of the table.

    Attributes:
        column: The column's name.
        kind: Of the column, as in the recipe: labels are compared as they are, keywords by their stems.
        predicted: What the run says, each keyword or label apart.
        given: What the table says; None if it says nothing. No labels are an answer too.
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
        cells: Of the columns that the row asks for.
    """

    id: str
    document: str
    cells: list[SampleCell | SampleList]


@dataclass(frozen=True)
class Report:
    """All that a report tells.

    Attributes:
        title: The heading.
        table: Name of the table that was scored.
        rows: How many rows it has.
        facts: What else to know (base model, method, versions), in the order to show it.
        columns: The columns that were scored.
        loss_curve: (optimizer step, training loss).
        dev_curve: (optimizer step, score on the development table).
        samples: Papers to look at.
        leaks: What may make the scores better than they should be; None if it was not looked for.
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
