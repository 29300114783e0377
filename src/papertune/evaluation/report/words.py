"""The scores that stand for a contestant, and the report in words."""

from dataclasses import dataclass

from papertune.evaluation.intervals import Interval
from papertune.evaluation.keyword_scores import KeywordScores
from papertune.evaluation.label_scores import LabelScores
from papertune.evaluation.multilabel_scores import MultilabelScores
from papertune.evaluation.report.data import ColumnReport, Contestant, Report


@dataclass(frozen=True)
class Measure:
    """One score of a contestant, as tables show it.

    Attributes:
        key: Its name in report.json.
        name: Its name on the page.
        score: Its value; None where it is not defined.
        interval: Its 95 percent interval, if it has one.
    """

    key: str
    name: str
    score: float | None
    interval: Interval | None = None


def measures(scores: LabelScores | MultilabelScores | KeywordScores) -> list[Measure]:
    """Give the scores that stand for a contestant; by the first one, which has an interval, they are compared."""
    if isinstance(scores, LabelScores):
        return [
            Measure("accuracy", "Accuracy", scores.accuracy, scores.accuracy_interval),
            Measure("macro_f1", "Macro F1", scores.macro_f1, scores.macro_f1_interval),
            Measure("auc", "AUC", scores.auc),
            Measure("log_loss", "Log loss", scores.log_loss),
        ]
    if isinstance(scores, MultilabelScores):
        return [
            Measure("micro_f1", "Micro F1", scores.micro_f1, scores.micro_f1_interval),
            Measure("macro_f1", "Macro F1", scores.macro_f1, scores.macro_f1_interval),
            Measure("samples_f1", "F1 of rows", scores.samples_f1, scores.samples_f1_interval),
            Measure("subset_accuracy", "All labels right", scores.subset_accuracy, scores.subset_accuracy_interval),
            Measure("average_precision", "Average precision", scores.average_precision),
        ]
    return [
        Measure("f1_at_5", "F1@5", scores.f1_at_5, scores.f1_at_5_interval),
        Measure("f1_at_o", "F1@O", scores.f1_at_o, scores.f1_at_o_interval),
        Measure("f1_at_m", "F1@M", scores.f1_at_m),
        Measure("present_recall", "Recall, present", None if scores.present is None else scores.present.recall),
    ]


def verdict(column: ColumnReport) -> str:
    """Say in a sentence how the first contestant stands against the best of the others.

    Intervals that do not overlap are a stricter test than a difference at the 5 percent level (Schenker and Gentleman
    2001), so "may be chance" means that this table cannot tell, not that the two are equal.

    Args:
        column: The column with its contestants.

    Returns:
        The sentence; "" if there is nothing to compare with.
    """
    if len(column.contestants) < 2:
        return ""
    run, *others = column.contestants
    best = max(others, key=lambda contestant: main_measure(contestant)[0])
    score, interval = main_measure(run)
    best_score, best_interval = main_measure(best)
    name = measures(run.scores)[0].name
    numbers = f"{name} {score:.3f} against {best_score:.3f}"
    if best_score == score:
        return f"{run.name} and {best.name} have the same score: {numbers}."
    ahead, behind = (run, best) if score > best_score else (best, run)
    if interval.overlaps(best_interval):
        return (
            f"{ahead.name} is ahead of {behind.name}, but the intervals overlap, so the difference may be chance: "
            f"{numbers}."
        )
    return f"{ahead.name} is better than {behind.name}, and the intervals do not overlap: {numbers}."


def summary(report: Report) -> str:
    """Give the report as plain text for the terminal.

    Args:
        report: The report.

    Returns:
        For each column its name, a line per contestant with scores and intervals, and the verdict; no line end at the
        end.
    """
    lines = [f"{report.table}: {report.rows} {'row' if report.rows == 1 else 'rows'}"]
    for column in report.columns:
        lines.append(f"{column.name}:")
        width = max((len(contestant.name) for contestant in column.contestants), default=0)
        for contestant in column.contestants:
            cells = [_in_words(measure) for measure in measures(contestant.scores) if measure.score is not None]
            lines.append(f"  {contestant.name:<{width}}  {'  '.join(cells)}")
        if said := verdict(column):
            lines.append(f"  {said}")
    return "\n".join(lines)


def main_measure(contestant: Contestant) -> tuple[float, Interval]:
    """Give the score by which a contestant is compared, and its 95 percent interval."""
    first = measures(contestant.scores)[0]
    assert first.score is not None
    assert first.interval is not None
    return first.score, first.interval


def _in_words(measure: Measure) -> str:
    """Give `Accuracy 0.945 (0.910 to 0.970)`."""
    text = f"{measure.name} {measure.score:.3f}"
    if measure.interval is not None:
        text += f" ({measure.interval.low:.3f} to {measure.interval.high:.3f})"
    return text
