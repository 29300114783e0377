import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.labels.thresholds import DEFAULT_THRESHOLD, f1_thresholds


def f1_score(gold, predicted):
    return 2 * (gold & predicted).sum() / (gold.sum() + predicted.sum())


@given(st.integers(0, 100))
def test_thresholds_have_the_highest_f1_of_each_label(seed):
    random = np.random.default_rng(seed)
    has = random.random((40, 3)) < [0.5, 0.15, 0.05]
    probabilities = random.integers(0, 5, has.shape) / 4
    thresholds = f1_thresholds(probabilities, has)
    for n, threshold in enumerate(thresholds):
        if not 5 <= has[:, n].sum() <= 35:
            assert threshold == DEFAULT_THRESHOLD
            continue
        best = max(f1_score(has[:, n], probabilities[:, n] >= other) for other in probabilities[:, n])
        assert f1_score(has[:, n], probabilities[:, n] >= threshold) == pytest.approx(best)


def test_labels_with_few_rows_keep_the_default_threshold():
    """Rows without a probability do not count."""
    has = np.zeros((20, 4), dtype=np.bool_)
    has[:5, 0] = has[:4, 1] = has[:16, 2] = has[:5, 3] = True
    probabilities = np.tile(np.linspace(0.4, 0.02, 20)[:, None], 4)
    probabilities[0, 3] = np.nan
    assert f1_thresholds(probabilities, has).tolist() == [probabilities[4, 0], *[DEFAULT_THRESHOLD] * 3]
