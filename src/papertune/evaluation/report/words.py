"""The report in words, for the page and the terminal, and the scores that systems are compared by."""

from papertune.evaluation.checks.label_errors import LabelErrors
from papertune.evaluation.checks.leaks import Leaks
from papertune.evaluation.report.data import Abstention, ColumnReport, Report, SystemReport
from papertune.metrics.intervals import Interval
from papertune.metrics.paired import PairedDifference
from papertune.metrics.scores import Measure


def by_ranking(column: ColumnReport) -> bool:
    """Whether the systems of a column are compared by average precision and not by their main score."""
    if not column.is_screening or not column.systems:
        return False
    return column.systems[0].scores.ranking_score is not None


def shown_measures(column: ColumnReport, system: SystemReport) -> list[Measure]:
    """Return the scores of a system that tables show; systems are compared by the first one."""
    return system.scores.shown_measures(by_ranking=by_ranking(column))


def paired_difference(column: ColumnReport, system: SystemReport) -> PairedDifference | None:
    """Return the difference of a system to the best baseline; None for this baseline itself."""
    return system.paired_average_precision if by_ranking(column) else system.paired


def best_baseline(column: ColumnReport) -> SystemReport | None:
    """Return the baseline that the systems of a column are compared with; None if there is none."""
    if not column.systems or paired_difference(column, column.systems[0]) is None:
        return None
    others = [each for each in column.systems if paired_difference(column, each) is None]
    return next(each for each in others if shown_measures(column, each)[0].score is not None)


def verdict(column: ColumnReport) -> str:
    """Compare the first system with the best baseline in a sentence, on the rows that both answered.

    Args:
        column: The column with its systems.

    Returns:
        The sentence; "" if there is nothing to compare with.
    """
    baseline = best_baseline(column)
    if baseline is None:
        return ""
    run = column.systems[0]
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
    """Describe how rows without an answer are scored; "" if every row has one."""
    if column.systems:
        scores = column.systems[0].scores
        if sentences := scores.unanswered(is_compared=len(column.systems) > 1):
            return sentences
    if column.abstention is not None and column.abstention.answered < 1:
        left = 1 - column.abstention.answered
        if column.abstention.threshold is None:
            return f"{left:.1%} of the rows have no answer; their most probable label is scored here."
        return f"The run abstains in {left:.1%} of the rows; their most probable label is scored here."
    return ""


def difference_in_words(paired: PairedDifference) -> str:
    """Return `+0.021 (+0.003 to +0.040, p = 0.031)`, without p if it is not known."""
    p_value = "" if paired.p_value is None else f", {p_value_in_words(paired.p_value)}"
    return f"{paired.difference:+.3f} ({paired.low:+.3f} to {paired.high:+.3f}{p_value})"


def p_value_in_words(p_value: float) -> str:
    """Return `p = 0.031`."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def confidence_facts(column: ColumnReport) -> dict[str, str]:
    """Return the quality of a column's probabilities, and the effect of using them, by name in the order to show."""
    facts: dict[str, str] = {}
    after, before = column.calibration, column.calibration_before
    if after is not None:
        for name, value, earlier in (
            ("Expected calibration error", after.ece, before and before.ece),
            ("Log loss", after.log_loss, before and before.log_loss),
            ("Brier score", after.brier, before and before.brier),
        ):
            facts[name] = f"{value:.3f}" + ("" if earlier is None else f" ({earlier:.3f} before calibration)")
        expected = f"; right probabilities would have {after.ece_by_chance:.3f} on {after.rows:,} rows"
        facts["Expected calibration error"] += expected
    if column.risk_coverage is not None:
        facts["Area under the risk-coverage curve"] = f"{column.risk_coverage.area:.4f}"
    if column.abstention is not None:
        facts["Abstaining"] = _abstention_in_words(column.abstention)
    if column.label_sets is not None:
        sets = column.label_sets
        facts["Label sets"] = (
            f"{sets.covered:.1%} contain the gold label ({sets.wanted:.1%} wanted), {sets.mean_size:.2f} labels each; "
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
    """Describe each reason why the scores may be too good, and each shortcut that the model does not read."""
    if report.leaks is None:
        return []
    return [*_duplicate_sentences(report.leaks), *map(str, report.leaks.shortcuts)]


def _warnings(report: Report) -> list[str]:
    """Return the sentences for the terminal: a shortcut that the model does not read does no harm to the scores."""
    if report.leaks is None:
        return []
    return [*_duplicate_sentences(report.leaks), *(str(each) for each in report.leaks.shortcuts if each.in_document)]


def _duplicate_sentences(leaks: Leaks) -> list[str]:
    sentences: list[str] = []
    for is_dev, table, consequence in (
        (False, leaks.learnt_from, "The run may have learned their answers."),
        (
            True,
            leaks.dev,
            "The checkpoint was chosen and calibrated on that table, so the scores of the run may be too good.",
        ),
    ):
        pairs = [pair for pair in leaks.duplicates if pair.is_dev is is_dev]
        if pairs:
            exact = sum(pair.exact for pair in pairs)
            count = "1 paper is" if len(pairs) == 1 else f"{len(pairs):,} papers are"
            sentences.append(
                f"{count} also in {table}, {exact:,} of them word for word and {len(pairs) - exact:,} nearly, such as "
                f"{pairs[0].id}, which is {pairs[0].other_id} there. {consequence}"
            )
    return sentences


def label_errors_in_words(found: LabelErrors) -> str:
    """Return the number of likely label errors in words."""
    errors = "is a likely error" if found.doubted == 1 else "are likely errors"
    return f"{found.doubted:,} of {found.checked:,} labels in {found.table} {errors}"


def summary(report: Report) -> str:
    """Return the report as plain text for the terminal.

    Returns:
        For each column its name, a line per system with scores and intervals, the verdict, and what else is known;
        then a line that starts with `warning:` for each leak. No line end at the end.
    """
    lines = [f"{report.table}: {report.rows} {'row' if report.rows == 1 else 'rows'}"]
    for column in report.columns:
        lines.append(f"{column.name}:")
        width = max((len(system.name) for system in column.systems), default=0)
        for system in column.systems:
            cells = [_in_words(measure) for measure in shown_measures(column, system) if measure.score is not None]
            lines.append(f"  {system.name:<{width}}  {'  '.join(cells)}")
        lines += [f"  {sentence}" for sentence in (verdict(column), unanswered(column)) if sentence]
        lines += [f"  {name}: {value}" for name, value in {**confidence_facts(column), **column.facts}.items()]
        if column.label_errors is not None and column.label_errors.doubted:
            lines.append(f"  {label_errors_in_words(column.label_errors)}")
    return "\n".join(lines + [f"warning: {sentence}" for sentence in _warnings(report)])


def main_measure(system: SystemReport) -> tuple[float, Interval]:
    """Return the main score of a system and its 95 percent interval."""
    first = system.scores.measures()[0]
    assert first.score is not None
    assert first.interval is not None
    return first.score, first.interval


def _in_words(measure: Measure) -> str:
    """Return `Accuracy 0.945 (0.910 to 0.970)`."""
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
        text = f"at a confidence of at least {abstention.threshold:.3f}, {answered}"
    if abstention.accuracy is not None:
        text += f", with an accuracy of {abstention.accuracy:.1%}"
    if abstention.wanted is not None:
        text += f" ({abstention.wanted:.1%} wanted)"
    return f"{text}; {abstention.not_chosen}" if abstention.not_chosen else text
