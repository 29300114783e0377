import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from papertune.kinds.label.cells import balanced_weights, read_label


@pytest.mark.parametrize(
    ("cell", "labels", "expected"),
    [
        ("1", ["1", "0"], "1"),
        (" 1\t\n", ["1", "0"], "1"),
        ("1.0", ["1", "0"], "1"),  # a whole number that a spreadsheet wrote as a float
        (" 0.000 ", ["1", "0"], "0"),
        ("-1.0", ["-1", "1"], "-1"),
        ("1.0", ["1.0", "1"], "1.0"),  # the label itself comes first
        ("1.5", ["1", "0"], None),
        ("1.", ["1", "0"], None),
        ("01", ["1", "0"], None),  # a code other than 1
        ("1", ["01", "02"], None),
        ("01.0", ["01", "1"], "01"),
        ("Yes", ["yes", "no"], "yes"),
        ("Yes", ["yes", "YES"], None),  # labels that differ only in case are what they are
        ("YES", ["yes", "YES"], "YES"),
        ("1", ["1.0", "0.0"], "1.0"),
        ("1.00", ["1.0", "0.0"], "1.0"),
        ("1\u200b", ["1", "0"], "1"),
        ("\ufeff1", ["1", "0"], "1"),
        ("1\xa0", ["1", "0"], "1"),
        ("car\u00addiac", ["cardiac", "other"], "cardiac"),
        ("exclude\r\n(wrong  population)", ["include", "exclude (wrong population)"], "exclude (wrong population)"),
        ("Cafe\u0301", ["caf\u00e9", "bar"], "caf\u00e9"),
        ("\u200b", ["1", "0"], None),
        ("", ["\u200b", "0"], None),  # nor an empty cell a label that cannot be seen
        ("", ["1", "0"], None),
        (" ", ["1", "0"], None),
        ("cs.LG", ["cs.LG", "cs"], "cs.LG"),
        ("１", ["1", "0"], "1"),  # full width
        ("１", ["1", "１"], "１"),
    ],
)
def test_cells_are_read_as_labels(cell, labels, expected):
    assert read_label(cell, labels) == expected


@given(st.text(), st.lists(st.text(min_size=1).filter(lambda t: t == t.strip() != ""), min_size=1, max_size=5))
def test_only_labels_are_read(cell, labels):
    assert read_label(cell, labels) in [None, *labels]
    for label in labels:
        assert read_label(f" {label} ", labels) == label


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1))
def test_balanced_weights_equal_those_of_scikit_learn(given_labels):
    weights = balanced_weights(given_labels, ["a", "b", "c"])
    present = np.unique(given_labels)
    expected = dict(
        zip(present.tolist(), compute_class_weight("balanced", classes=present, y=given_labels), strict=True)
    )
    assert weights == pytest.approx({"a": 0, "b": 0, "c": 0} | expected)
