"""When to stop: a certificate of recall by a random sample of what nobody has read.

Callaghan and Müller-Hansen 2020, "Statistical stopping criteria for automated screening in systematic reviews",
doi:10.1186/s13643-020-01521-4, the variant with a random sample. It holds for any ranking, and for the decisions as
they were made: a relevant record that a reader excluded by mistake is not missed in this sense.
"""

from dataclasses import dataclass
from fractions import Fraction

# The chance that any of all tries certifies a recall that was not reached.
ALPHA = 0.05


@dataclass(frozen=True)
class Certificate:
    """The result of a sample that was read to its end.

    Attributes:
        attempt: Which sample it was, from 1.
        target: Recall that is to be shown.
        found: Relevant records found before the sample.
        unseen: Records without a decision when the sample was drawn.
        size: Records in the sample.
        hits: Relevant records in the sample.
        alpha: Chance of error that this attempt may use: `ALPHA` / 2^attempt.
        p_value: Chance of so few hits if the target was missed.
        lower_bound: Recall that is exceeded or reached with confidence 1 - alpha.
    """

    attempt: int
    target: float
    found: int
    unseen: int
    size: int
    hits: int
    alpha: float
    p_value: float
    lower_bound: float

    @property
    def certified(self) -> bool:
        """Whether the target is shown to be reached."""
        return self.p_value < self.alpha


def attempt_alpha(attempt: int) -> float:
    """Return the chance of error that an attempt may use, so that all together stay below `ALPHA`.

    Args:
        attempt: From 1.
    """
    return ALPHA * 0.5**attempt


def fewest_missing(found: int, hits: int, target: float) -> int:
    """Return how many relevant records the unseen must have had at least if the target was missed.

    K = floor((r + k) / t) - r + 1, with exact fractions: 19 / 0.95 is 20.

    Args:
        found: Relevant records found before the sample (r).
        hits: Relevant records in the sample (k).
        target: Recall (t), above 0, at most 1.
    """
    return (found + hits) // Fraction(str(target)) - found + 1


def p_value(found: int, hits: int, unseen: int, size: int, target: float) -> float:
    """Return the chance of so few hits if the target was missed: P(X <= k), X hypergeometric (N, K, n).

    Args:
        found: Relevant records found before the sample.
        hits: Relevant records in the sample.
        unseen: Records from which the sample was drawn (N).
        size: Records in the sample (n).
        target: Recall.

    Returns:
        0 if the unseen are too few to have that many relevant records.
    """
    from scipy.stats import hypergeom

    missing = fewest_missing(found, hits, target)
    return 0.0 if missing > unseen - size + hits else float(hypergeom.cdf(hits, unseen, missing, size))


def recall_bound(found: int, hits: int, unseen: int, size: int, alpha: float) -> float:
    """Return the recall, after the sample, that is reached with confidence 1 - alpha.

    The largest number of relevant records among the unseen with which so few hits have at least the chance alpha.

    Args:
        found: Relevant records found before the sample.
        hits: Relevant records in the sample.
        unseen: Records from which the sample was drawn.
        size: Records in the sample.
        alpha: Chance of error.

    Returns:
        From 0 to 1; 0 if nothing relevant is known.
    """
    from scipy.stats import hypergeom

    low, high = hits, unseen - size + hits  # `low` is always possible
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeom.cdf(hits, unseen, middle, size) >= alpha:
            low = middle
        else:
            high = middle - 1
    known = found + hits
    return known / (found + low) if known else 0.0


def certify(attempt: int, found: int, hits: int, unseen: int, size: int, target: float) -> Certificate:
    """Judge a sample; the arguments are those of `Certificate`."""
    alpha = attempt_alpha(attempt)
    return Certificate(
        attempt=attempt,
        target=target,
        found=found,
        unseen=unseen,
        size=size,
        hits=hits,
        alpha=alpha,
        p_value=p_value(found, hits, unseen, size, target),
        lower_bound=recall_bound(found, hits, unseen, size, alpha),
    )


def smallest_sample(found: int, unseen: int, target: float, attempt: int, hits: int = 0) -> int | None:
    """Return the smallest sample that certifies the target with this many hits.

    Args:
        found: Relevant records found so far.
        unseen: Records without a decision.
        target: Recall.
        attempt: Which sample it would be, from 1.
        hits: Relevant records that the sample would have.

    Returns:
        Its size; None if not even all unseen records would do.
    """
    alpha = attempt_alpha(attempt)
    low, high = max(hits, 1), unseen
    if low > high or p_value(found, hits, unseen, high, target) >= alpha:
        return None
    while low < high:
        middle = (low + high) // 2
        if p_value(found, hits, unseen, middle, target) < alpha:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True)
class Cost:
    """What a certificate would cost.

    Attributes:
        found: Relevant records found so far.
        unseen: Records without a decision.
        target: Recall.
        sizes: (relevant records in the sample, size of the smallest sample that certifies the target with them).
    """

    found: int
    unseen: int
    target: float
    sizes: tuple[tuple[int, int], ...]

    @property
    def reading_all_is_cheaper(self) -> bool:
        """Whether a sample would be more than half of the unread records, or no sample would do."""
        return not self.sizes or self.sizes[0][0] > 0 or 2 * self.sizes[0][1] > self.unseen


def certificate_cost(found: int, unseen: int, target: float, attempt: int) -> Cost:
    """Return what a certificate would cost now; the arguments are those of `smallest_sample`."""
    sizes = [(hits, smallest_sample(found, unseen, target, attempt, hits)) for hits in range(3)] if found else []
    return Cost(found, unseen, target, tuple((hits, size) for hits, size in sizes if size is not None))


def explain_cost(cost: Cost) -> list[str]:
    """Return in sentences what a certificate would cost now, and whether reading all is cheaper."""
    if not cost.unseen:
        return ["Every record has a decision, so nothing is missed and no certificate is needed."]
    if not cost.found:
        return ["No relevant record has been found yet, so there is no recall to certify."]
    lines = [
        f"A random sample of {size:,} of the {cost.unseen:,} unread records certifies a recall of {cost.target:.0%} if "
        f"it has {'no relevant record' if not hits else f'at most {hits}'}."
        for hits, size in cost.sizes
    ]
    if cost.reading_all_is_cheaper:
        lines.append(
            f"Reading all {cost.unseen:,} is cheaper in the end: a sample would be more than half of them, may still "
            "fail, and leaves something to chance."
        )
    return lines


def explain(certificate: Certificate) -> list[str]:
    """Return in sentences what a certificate says and what it does not cover."""
    bound = f"{certificate.lower_bound:.1%}"
    sample = f"{certificate.hits} of {certificate.size:,} sampled records were relevant"
    verdict = (
        f"Certified: at least {certificate.target:.0%} of the relevant records are found"
        if certificate.certified
        else f"Not certified: that {certificate.target:.0%} of the relevant records are found is not shown"
    )
    return [
        f"{verdict} ({sample}, p = {certificate.p_value:.4f}, limit {certificate.alpha:.4f}).",
        f"With {1 - certificate.alpha:.1%} confidence the recall is at least {bound}.",
        "This covers the chance of the sample, not a reader's own mistakes, and not records that no search has found.",
    ]
