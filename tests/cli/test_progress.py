import pytest

from papertune.cli.progress import ProgressDisplay, Ticks


@pytest.fixture
def told():
    return []


def test_each_prediction_says_once_how_long_it_will_take(told, capsys):
    ticks = Ticks(ProgressDisplay("training"), told.append, "dev rows")
    for done, rows in ((2, 6), (6, 6), (3, 9), (9, 9), (9, 9)):
        ticks(done, rows, 0.5, 2.0 * (rows - done))
    # The last one was done with its first batch.
    assert told == [
        "about 8 s to go for 6 dev rows",
        "about 12 s to go for 9 dev rows",
        "about 0 s to go for 9 dev rows",
    ]
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "training: 2/6  0.50 dev rows/s, 8 s left"
    assert shown[-1] == "training: 9/9  0.50 dev rows/s, 0 s left"


def test_a_prediction_that_was_stopped_is_followed_by_another(told):
    ticks = Ticks(ProgressDisplay("training", quiet=True), told.append)
    ticks(4, 6, 1.0, 90.0)
    ticks(2, 6, 1.0, 120.0)
    assert told == ["about 2 min to go for 6 rows", "about 2 min to go for 6 rows"]
