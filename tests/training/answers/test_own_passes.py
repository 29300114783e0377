import pytest

from papertune.training.answers.own_passes import _part_tokens


@pytest.mark.parametrize(
    ("tokens", "most"), [(1, 1), (100, 100), (128, 128), (129, 65), (1000, 500), (1024, 512), (1025, 257), (2920, 487)]
)
def test_a_batch_becomes_an_even_number_of_equal_parts_unless_it_is_small(tokens, most):
    assert _part_tokens(tokens) == most
