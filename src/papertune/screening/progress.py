"""How far a screening is, in sentences."""

from papertune.errors import ScreeningError
from papertune.screening.agreement import agreements, conflicts
from papertune.screening.prior import EARLIER
from papertune.screening.project import Project
from papertune.screening.stopping import explain, explain_cost

# Irrelevant records in a row are shown, without a promise: see docs/screening.md.
_PARTS = 5


def progress_lines(project: Project) -> list[str]:
    """Return counts, what was found when, agreement, conflicts, the certificate and the cost of one."""
    outcomes = project.state.outcomes
    counts = {each: list(outcomes.values()).count(each) for each in ("include", "exclude", "unsure", "conflict")}
    lines = [
        f"{len(outcomes):,} of {project.state.total:,} records are read: {counts['include']:,} included, "
        f"{counts['exclude']:,} excluded, {counts['unsure']:,} unsure, {counts['conflict']:,} in conflict",
        *_found_lines(project.found_curve(without=[EARLIER])),
    ]
    for each in agreements(project.state, project.settings.readers):
        kappa = "not defined" if each.kappa is None else f"{each.kappa:.3f}"
        lines.append(f"{' and '.join(each.readers)}: {each.records:,} records in common, Cohen's kappa {kappa}")
    lines += [
        f"conflict: {project.records.name(record)}: "
        + ", ".join(f"{reader} {verdict}" for reader, verdict in project.state.verdicts(record).items())
        for record in conflicts(project.state)
    ]
    if project.state.samples:
        try:
            lines += explain(project.certificate())
        except ScreeningError as error:
            lines.append(f"certificate: {error}")
    return lines + explain_cost(project.certificate_cost())


def _found_lines(curve: list[int]) -> list[str]:
    """Return what was found by parts of the reading, and how many irrelevant records came last."""
    if not curve:
        return []
    marks = [round(len(curve) * part / _PARTS) for part in range(1, _PARTS + 1)]
    shown = ", ".join(f"{curve[mark - 1]:,} after {mark:,}" for mark in dict.fromkeys(marks) if mark)
    last = next((place for place, found in enumerate(curve, start=1) if found == curve[-1]), len(curve))
    return [
        f"relevant records found: {shown}",
        f"{len(curve) - last:,} records without a relevant one since the last; this alone is no reason to stop",
    ]
