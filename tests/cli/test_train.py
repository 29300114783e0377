import pytest

from papertune import TableError


@pytest.fixture
def train(papertune, here, monkeypatch):
    """Return a function that runs the command in one of two processes, where training raises an error."""

    def run(error, rank):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("papertune.pipelines.train.train", fail)
        monkeypatch.setenv("RANK", str(rank))
        return papertune("train", "papers.csv", "-r", "recipe.toml", "-o", "out")

    return run


@pytest.mark.parametrize(
    ("rank", "is_shared", "printed"),
    [
        (0, True, "error: no such column\n"),
        (0, False, "error: no such column\n"),
        (1, True, ""),
        (1, False, "error: no such column\n"),
    ],
)
def test_an_error_is_printed_by_the_first_process_or_by_the_only_one_that_raised_it(train, rank, is_shared, printed):
    error = TableError("no such column")
    error.is_shared = is_shared
    done = train(error, rank)
    assert (done.code, done.out, done.err) == (2, "", printed)
