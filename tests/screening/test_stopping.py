"""The certificate of recall: its formula, its bound, its cost, and how often it is wrong."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.screening.stopping import (
    attempt_alpha,
    certificate_cost,
    certify,
    explain,
    explain_cost,
    fewest_missing,
    p_value,
    recall_bound,
    smallest_sample,
)


def plain_p_value(found, hits, unseen, size, target_percent):
    """Return P(X <= hits) by counting, for the smallest number of relevant unseen records that misses the target."""
    missing = next(m for m in range(10_000) if (found + hits) * 100 < target_percent * (found + m))
    if missing > unseen - size + hits:
        return 0.0
    ways = sum(comb(missing, x) * comb(unseen - missing, size - x) for x in range(hits + 1))
    return ways / comb(unseen, size)


@st.composite
def samples(draw):
    unseen = draw(st.integers(1, 60))
    size = draw(st.integers(1, unseen))
    return draw(st.integers(0, 40)), draw(st.integers(0, size)), unseen, size, draw(st.sampled_from([80, 90, 95, 99]))


@given(samples())
def test_the_p_value_is_that_of_plain_counting(sample):
    found, hits, unseen, size, percent = sample
    assert p_value(found, hits, unseen, size, percent / 100) == pytest.approx(plain_p_value(*sample), abs=1e-9)


@given(samples())
def test_the_bound_is_the_worst_recall_that_the_sample_does_not_rule_out(sample):
    found, hits, unseen, size, _ = sample
    possible = [
        missing
        for missing in range(hits, unseen - size + hits + 1)
        if missing == hits
        or sum(comb(missing, x) * comb(unseen - missing, size - x) for x in range(hits + 1)) / comb(unseen, size)
        >= 0.025
    ]
    known = found + hits
    expected = known / (found + max(possible)) if known else 0
    assert recall_bound(found, hits, unseen, size, 0.025) == pytest.approx(expected)


@given(samples(), st.integers(1, 3))
def test_the_smallest_sample_certifies_and_one_record_less_does_not(sample, attempt):
    found, hits, unseen, _, percent = sample
    target, alpha = percent / 100, attempt_alpha(attempt)
    size = smallest_sample(found, unseen, target, attempt, hits)
    enough = [n for n in range(max(hits, 1), unseen + 1) if p_value(found, hits, unseen, n, target) < alpha]
    assert size == (enough[0] if enough else None)


def test_the_number_of_missing_records_is_exact():
    # 19 / 0.95 is 20 and not 19.999: with 20 relevant records in all the target is reached, with 21 it is missed.
    assert fewest_missing(found=19, hits=0, target=0.95) == 2
    assert fewest_missing(found=100, hits=2, target=0.95) == 8


def test_the_attempts_share_five_percent():
    assert [attempt_alpha(attempt) for attempt in (1, 2, 3)] == [0.025, 0.0125, 0.00625]


def test_false_certificates_are_rare():
    """1,000 reviews that stop one relevant record below the target; each draws up to five samples.

    Hypergeometric draws and the judgement of all reviews are computed together; `certify` judges some of them again.
    """
    from scipy.stats import hypergeom

    draw = np.random.default_rng(1)
    reviews, target = 1000, 0.95
    total = draw.integers(20, 400, reviews)
    found = np.ceil(target * total).astype(int) - 1
    unseen = draw.integers(500, 20_000, reviews)
    is_open, false = np.ones(reviews, bool), np.zeros(reviews, bool)
    for attempt in range(1, 6):
        missing = total - found
        # The size that certifies a sample without hits if the missing were spread evenly, give or take a third.
        size = np.minimum(
            (unseen * 3.7 / np.maximum(missing, 1) * draw.uniform(0.7, 1.3, reviews)).astype(int) + 1, unseen
        )
        hits = draw.hypergeometric(missing, unseen - missing, size)
        needed = (found + hits) * 20 // 19 - found + 1
        possible = needed <= unseen - size + hits
        p = np.where(possible, hypergeom.cdf(hits, unseen, np.minimum(needed, unseen), size), 0.0)
        certified = is_open & (p < attempt_alpha(attempt))
        for review in np.flatnonzero(certified)[:20]:
            assert certify(attempt, found[review].item(), hits[review].item(), unseen[review].item(),
                           size[review].item(), target).certified  # fmt: skip
        false |= certified & ((found + hits) * 20 < 19 * total)
        is_open &= ~certified
        found, unseen = found + hits, unseen - size
    assert 0 < false.sum() <= 65


def test_a_certificate_says_what_it_shows_and_what_it_does_not_cover():
    done = certify(attempt=1, found=100, hits=0, unseen=1000, size=500, target=0.95)
    assert explain(done) == [
        "Certified: at least 95% of the relevant records are found (0 of 500 sampled records were relevant, "
        "p = 0.0154, limit 0.0250).",
        "With 97.5% confidence the recall is at least 95.2%.",
        "This covers the chance of the sample, not a reader's own mistakes, and not records that no search has found.",
    ]
    assert not certify(attempt=1, found=100, hits=0, unseen=1000, size=300, target=0.95).certified


def test_what_a_certificate_costs():
    assert explain_cost(certificate_cost(found=100, unseen=1000, target=0.95, attempt=1)) == [
        "A random sample of 459 of the 1,000 unread records certifies a recall of 95% if it has no relevant record.",
        "A random sample of 578 of the 1,000 unread records certifies a recall of 95% if it has at most 1.",
        "A random sample of 650 of the 1,000 unread records certifies a recall of 95% if it has at most 2.",
    ]
    assert explain_cost(certificate_cost(found=10, unseen=100, target=0.95, attempt=1))[-1] == (
        "Reading all 100 is cheaper in the end: a sample would be more than half of them, may still fail, and leaves "
        "something to chance."
    )
    assert explain_cost(certificate_cost(found=0, unseen=9, target=0.95, attempt=1)) == [
        "No relevant record has been found yet, so there is no recall to certify."
    ]
    assert explain_cost(certificate_cost(found=3, unseen=0, target=0.95, attempt=1)) == [
        "Every record has a decision, so nothing is missed and no certificate is needed."
    ]
