import json
import math

import numpy as np
import pytest

from papertune.kinds.label.calibrators import Calibrator, Isotonic, Temperature


def test_a_temperature_keeps_the_order_of_the_labels_and_is_softmax_of_logarithms():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])
    calibrated = Temperature(2.0).apply(probabilities)
    roots = [math.sqrt(p) for p in probabilities[0]]
    assert calibrated[0] == pytest.approx([root / sum(roots) for root in roots])
    # sqrt(2.2e-16), since 0 has no logarithm
    assert calibrated[1] == pytest.approx([1.49e-8, 1.49e-8, 1 - 2.98e-8], rel=1e-3)
    assert Temperature(1.0).apply(probabilities) == pytest.approx(probabilities, abs=1e-15)
    assert np.isnan(Temperature(2.0).apply(np.full((1, 3), np.nan))).all()


@pytest.mark.parametrize("calibrator", [Temperature(1.7), Isotonic((0.0, 0.4, 1.0), (0.1, 0.1, 0.8))])
def test_a_calibrator_survives_json(calibrator):
    assert Calibrator.from_dict(json.loads(json.dumps(calibrator.as_dict()))) == calibrator


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "magic"}, "not a calibrator: its kind is 'magic', not temperature or isotonic"),
        ({"kind": "temperature"}, r"not a calibrator: \{'kind': 'temperature'\} \(KeyError\('temperature'\)\)"),
        ({"kind": "temperature", "temperature": 0}, "a temperature is a number above 0, not 0.0"),
        ({"kind": "temperature", "temperature": "hot"}, "could not convert string to float: 'hot'"),
        ({"kind": "isotonic", "scores": [0], "probabilities": []}, "1 scores, but 0 probabilities"),
        ({"kind": "isotonic", "scores": [0, 1], "probabilities": [1, 0]}, "must rise"),
        ({"kind": "isotonic", "scores": 3, "probabilities": [1]}, "not a calibrator"),
    ],
)
def test_an_invalid_calibrator_raises(values, message):
    with pytest.raises(ValueError, match=message):
        Calibrator.from_dict(values)
