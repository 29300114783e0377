import threading

import pytest
import torch

from papertune.training.layers.passes import side_by_side


@pytest.fixture
def threads():
    """Return a function that sets the number of torch's threads until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("count", "parts", "workers", "share"), [(1, 3, 1, 1), (2, 3, 2, 1), (4, 2, 2, 2), (4, 1, 1, 4)]
)
def test_parts_share_the_threads(threads, count, parts, workers, share):
    threads(count)
    together = threading.Barrier(workers, timeout=30)
    first = iter(range(workers))

    def work(part):
        if next(first, None) is not None:
            together.wait()  # all workers are at work at once
        return part, torch.get_num_threads()

    assert side_by_side(work, range(parts)) == [(part, share) for part in range(parts)]
    assert torch.get_num_threads() == count


def test_an_error_in_a_part_is_raised_and_the_threads_are_as_before(threads):
    threads(2)
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda part: 1 // part, [1, 0])
    assert torch.get_num_threads() == 2
