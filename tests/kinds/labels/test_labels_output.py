import math

import numpy as np

from papertune.kinds import LabelsColumn
from papertune.kinds.labels.output import label_set_cells

NAN = math.nan


def make_column(**keys):
    return LabelsColumn(kind="labels", question="About {label}?", labels=("the heart", "graphs", "漢字", "x"), **keys)


def test_cells_have_the_labels_that_reach_their_thresholds():
    column = make_column(thresholds={"the heart": 0.5, "graphs": 0.9, "漢字": 0.1, "x": 0})
    values = np.array([[0.5, 0.8, 0.2, 0.0], [0.4, 0.9, 0.0, NAN], [0.1, NAN, NAN, NAN], [NAN] * 4])
    assert label_set_cells(values, column).to_list() == ["the heart; 漢字; x", "graphs", "", None]
    # Without chosen thresholds a label is predicted where yes is at least as probable as no.
    for default in (make_column(), make_column(thresholds="f1")):
        assert label_set_cells(values, default)[0] == "the heart; graphs"
