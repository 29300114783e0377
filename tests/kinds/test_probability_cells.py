"""Probabilities as spreadsheets write them."""

import pytest

from papertune.errors import TableError
from papertune.kinds.probability_cells import read_probability


def test_a_decimal_comma_is_read():
    assert [read_probability(cell, "here") for cell in ("0,9", "0.9", "1", "0,0", "1e-3")] == [0.9, 0.9, 1, 0, 0.001]


@pytest.mark.parametrize("cell", ["10%", "1,234", "0,9,1", "90", "-0,1", ""])
def test_other_cells_are_refused(cell):
    with pytest.raises(TableError, match="is not a probability"):
        read_probability(cell, "here")
