"""Sources made for tests."""

import numpy as np
import pytest

from papertune.sources.classifier import log_softmax


@pytest.fixture
def make_source():
    """Return a function that makes log-probabilities which favour the gold label by `strength` on average."""

    def make(rng, gold, labels, strength):
        scores = rng.normal(size=(len(gold), labels))
        scores[np.arange(len(gold)), gold] += strength
        return log_softmax(scores)

    return make
