"""The scores that stand for a contestant, and the report in sentences, which page and terminal share."""

from papertune.evaluation.checks.label_errors import LabelErrors
from papertune.evaluation.report.data import Abstention, ColumnReport, Contestant, Report
from papertune.metrics.intervals import Interval
from papertune.metrics.paired import PairedDifference
from papertune.metrics.scores import Measure


def by_ranking(column: ColumnReport) -> bool:
    """Tell whether a column's contestants are compared by average precision and not by their main score."""
    if not column.is_screening or not column.contestants:
        return False
    return column.contestants[0].scores.ranking_score is not None


def shown_measures(column: ColumnReport, contestant: Contestant) -> list[Measure]:
    """Give the scores that tables show of one of a column's contestants; by the first one they are compared."""
    return contestant.scores.shown_measures(by_ranking=by_ranking(column))


def paired_difference(column: ColumnReport, contestant: Contestant) -> PairedDifference | None:
    """Give by how much one of a column's contestants is better than the best baseline; None for that one itself."""
    return contestant.paired_average_precision if by_ranking(column) else contestant.paired


def best_baseline(column: ColumnReport) -> Contestant | None:
    """Give the baseline that a column's contestants are compared with; None if there is none."""
    if not column.contestants or paired_difference(column, column.contestants[0]) is None:
        return None
    others = [each for each in column.contestants if paired_difference(column, each) is None]
    return next(each for each in others if shown_measures(column, each)[0].score is not None)


def verdict(column: ColumnReport) -> str:
    """Say in a sentence how the first contestant stands against the best baseline, on the rows that both answered.

    Args:
        column: The column with its contestants.

    Returns:
        The sentence; "" if there is nothing to compare with.
    """
    baseline = best_baseline(column)
    if baseline is None:
        return ""
    run = column.contestants[0]
    paired = paired_difference(column, run)
    assert paired is not None
    main, of_baseline = (shown_measures(column, each)[0] for each in (run, baseline))
    name, score, baseline_score = main.name, main.score, of_baseline.score
    if paired.difference == 0:
        return f"{run.name} and {baseline.name} have the same score: {name} {score:.3f}."
    if paired.difference > 0:
        ahead, behind = run, baseline
        numbers = f"{name} {score:.3f} against {baseline_score:.3f}, difference {difference_in_words(paired)}"
    else:
        ahead, behind = baseline, run
        turned = PairedDifference(-paired.difference, -paired.high, -paired.low, paired.p_value)
        numbers = f"{name} {baseline_score:.3f} against {score:.3f}, difference {difference_in_words(turned)}"
    if paired.may_be_noise:
        return f"{ahead.name} is ahead of {behind.name}, but the difference may be chance: {numbers}."
    if ahead is baseline:
        return f"The simple baseline wins: {ahead.name} is better than {behind.name}: {numbers}."
    return f"{ahead.name} is better than {behind.name}: {numbers}."


def unanswered(column: ColumnReport) -> str:
    """Tell how the rows count that the run gives no answer to.

    Args:
        column: The column with its contestants.

    Returns:
        A sentence or a few; "" if every row is answered.
    """
    if column.contestants:
        scores = column.contestants[0].scores
        if said := scores.unanswered(is_compared=len(column.contestants) > 1):
            return said
    if column.abstention is not None and column.abstention.answered < 1:
        left = 1 - column.abstention.answered
        if column.abstention.threshold is None:
            return f"{left:.1%} of the rows have no answer; the scores here count what their probabilities say."
        return (
            f"The run is not sure enough of {left:.1%} of the rows and leaves them without an answer; the scores here "
            "count the label that it would give them."
        )
    return ""


def difference_in_words(paired: PairedDifference) -> str:
    """Give `+0.021 (+0.003 to +0.040, p = 0.031)`, without p where it is not known."""
    p_value = "" if paired.p_value is None else f", {p_value_in_words(paired.p_value)}"
    return f"{paired.difference:+.3f} ({paired.low:+.3f} to {paired.high:+.3f}{p_value})"


def p_value_in_words(p_value: float) -> str:
    """Give `p = 0.031`."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def sureness(column: ColumnReport) -> dict[str, str]:
    """Tell what a label column's probabilities are worth, and what can be done with them.

    Args:
        column: The column.

    Returns:
        What is known, by name, in the order to show it.
    """
    facts: dict[str, str] = {}
    after, before = column.calibration, column.calibration_before
    if after is not None:
        for name, value, was in (
            ("Expected calibration error", after.ece, before and before.ece),
            ("Log loss", after.log_loss, before and before.log_loss),
            ("Brier score", after.brier, before and before.brier),
        ):
            facts[name] = f"{value:.3f}" + ("" if was is None else f" ({was:.3f} before calibration)")
    if column.risk_coverage is not None:
        facts["Area under the risk-coverage curve"] = f"{column.risk_coverage.area:.4f}"
    if column.abstention is not None:
        facts["Answering only where it is sure"] = _abstention_in_words(column.abstention)
    if column.label_sets is not None:
        sets = column.label_sets
        facts["Label sets"] = (
            f"{sets.covered:.1%} hold the true label ({sets.wanted:.1%} wanted), {sets.mean_size:.2f} labels each; "
            f"{sets.single:.1%} have one label"
        )
    if column.precision_recall is not None:
        facts[f"Average precision, label {column.positive}"] = f"{column.precision_recall.average_precision:.3f}"
    if column.work_saved is not None:
        saved = column.work_saved
        facts[f"Reading to find {saved.recall:.0%} of label {column.positive}"] = (
            f"{saved.read_share:.1%} of the rows must be read, the most probable first; work saved over sampling "
            f"(WSS@{100 * saved.recall:.0f}) {saved.wss:.3f}"
        )
    return facts


def leak_sentences(report: Report) -> list[str]:
    """Give what may make the scores better than they should be, a sentence or a few each."""
    if report.leaks is None:
        return []
    sentences: list[str] = []
    for is_dev, table, so in (
        (False, report.leaks.learnt_from, "The run may have learnt their answers."),
        (
            True,
            report.leaks.dev,
            "What was trained here has been chosen and calibrated on that table, so its scores may be too good.",
        ),
    ):
        pairs = [pair for pair in report.leaks.duplicates if pair.is_dev is is_dev]
        if pairs:
            exact = sum(pair.exact for pair in pairs)
            stand = "1 paper stands" if len(pairs) == 1 else f"{len(pairs):,} papers stand"
            sentences.append(
                f"{stand} in {table} too, {exact:,} of them word for word and {len(pairs) - exact:,} nearly, such as "
                f"{pairs[0].id} there as {pairs[0].other_id}. {so}"
            )
    return sentences + [str(shortcut) for shortcut in report.leaks.shortcuts]


def noise_in_words(noise: LabelErrors) -> str:
    """Tell how many labels are doubtful."""
    labels = "label is" if noise.doubted == 1 else "labels are"
    return f"{noise.doubted:,} of {noise.checked:,} given {labels} doubtful in {noise.table}"


def summary(report: Report) -> str:
    """Give the report as plain text for the terminal.

    Args:
        report: The report.

    Returns:
        For each column its name, a line per contestant with scores and intervals, the verdict, and what else is known;
        then a line that starts with `warning:` for each leak. No line end at the end.
    """
    lines = [f"{report.table}: {report.rows} {'row' if report.rows == 1 else 'rows'}"]
    for column in report.columns:
        lines.append(f"{column.name}:")
        width = max((len(contestant.name) for contestant in column.contestants), default=0)
        for contestant in column.contestants:
            cells = [_in_words(measure) for measure in shown_measures(column, contestant) if measure.score is not None]
            lines.append(f"  {contestant.name:<{width}}  {'  '.join(cells)}")
        lines += [f"  {said}" for said in (verdict(column), unanswered(column)) if said]
        lines += [f"  {name}: {value}" for name, value in {**sureness(column), **column.facts}.items()]
        if column.noise is not None and column.noise.doubted:
            lines.append(f"  {noise_in_words(column.noise)}")
    return "\n".join(lines + [f"warning: {sentence}" for sentence in leak_sentences(report)])


def main_measure(contestant: Contestant) -> tuple[float, Interval]:
    """Give a contestant's main score, and its 95 percent interval."""
    first = contestant.scores.measures()[0]
    assert first.score is not None
    assert first.interval is not None
    return first.score, first.interval


def _in_words(measure: Measure) -> str:
    """Give `Accuracy 0.945 (0.910 to 0.970)`."""
    text = f"{measure.name} {measure.score:.3f}"
    if measure.interval is not None:
        text += f" ({measure.interval.low:.3f} to {measure.interval.high:.3f})"
    return text


def _abstention_in_words(abstention: Abstention) -> str:
    if abstention.threshold is None and abstention.answered < 1:
        text = f"{abstention.answered:.1%} of the rows are answered"
    elif abstention.threshold is None:
        text = "every row is answered"
    else:
        answered = f"{abstention.answered:.1%} of the rows are answered"
        text = f"from a probability of {abstention.threshold:.3f} on, {answered}"
    if abstention.accuracy is not None:
        text += f", with an accuracy of {abstention.accuracy:.1%}"
    if abstention.wanted is not None:
        text += f" ({abstention.wanted:.1%} wanted)"
    return f"{text}; {abstention.not_chosen}" if abstention.not_chosen else text
