import pytest

from papertune.cli.progress import ProgressDisplay, Ticks


@pytest.fixture
def told():
    return []


def test_each_prediction_says_once_how_long_it_will_take(told, capsys):
    ticks = Ticks(ProgressDisplay("comparing"), told.append)
    for done, rows in ((2, 6), (6, 6), (3, 9), (9, 9), (9, 9)):
        ticks(done, rows, 0.5, 2.0 * (rows - done))
    # The last one was done with its first batch.
    assert told == ["about 8 s to go for 6 rows", "about 12 s to go for 9 rows", "about 0 s to go for 9 rows"]
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "comparing: 2/6  0.50 rows/s, 8 s left"
    assert shown[-1] == "comparing: 9/9  0.50 rows/s, 0 s left"


@pytest.mark.parametrize("other", [(2, 6), (4, 6), (5, 9)])
def test_a_prediction_that_was_stopped_is_followed_by_another(told, other):
    ticks = Ticks(ProgressDisplay("training", quiet=True), told.append)
    for done, rows in ((1, 6), (4, 6), other, (6, 6)):
        ticks(done, rows, 1.0, 90.0)
    assert len(told) == 2 + (other[1] == 9)


def test_what_goes_on_within_something_else_is_named(told, capsys):
    with ProgressDisplay("training") as display:
        display.update(10, 10, "loss 0.5", 0.0)
        Ticks(display, what="dev rows")(6, 6, 2.0, 0.0)
        display.update(10, 10, "loss 0.4", 0.0)
    assert capsys.readouterr().err.splitlines() == [
        "training: 10/10  loss 0.5, 0 s left",
        "dev rows: 6/6  2.00 rows/s, 0 s left",
        "training: 10/10  loss 0.4, 0 s left",
    ]
