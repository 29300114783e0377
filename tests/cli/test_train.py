import pytest

from papertune import TableError


@pytest.fixture
def train(papertune, here, monkeypatch):
    """Run the command in a process of two whose training raises an error."""

    def run(error, rank):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("papertune.pipelines.train.train", fail)
        monkeypatch.setenv("RANK", str(rank))
        return papertune("train", "papers.csv", "-r", "recipe.toml", "-o", "out")

    return run


@pytest.mark.parametrize(
    ("rank", "is_shared", "told"),
    [
        (0, True, "error: no such column\n"),
        (0, False, "error: no such column\n"),
        (1, True, ""),
        (1, False, "error: no such column\n"),
    ],
)
def test_a_mistake_is_told_by_the_first_process_or_by_the_one_that_alone_has_met_it(train, rank, is_shared, told):
    error = TableError("no such column")
    error.is_shared = is_shared
    said = train(error, rank)
    assert (said.code, said.out, said.err) == (2, "", told)
