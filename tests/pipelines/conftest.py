import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEXT = "heart graph aspirin network trial method patients learning effect fast study neural randomised"
WORDS = TEXT.split()


def make_papers(count: int, start: int = 0) -> list[dict[str, str]]:
    """Make papers of many lengths, every other one medical."""
    rows = []
    for n in range(start, start + count):
        words = [WORDS[(n * 5 + i * (1 + n % 3)) % len(WORDS)] for i in range(4 + 7 * n % 23)]
        rows.append(
            {
                "uuid": f"p{n:03}",
                "title": f"the {words[0]} of {words[1]} {n}",
                "author": f"Author {n}",
                "abstract": " ".join(words),
                "Keywords": f"{words[0]}; {words[2]} {words[3]}",
                "label": str(n % 2),
            }
        )
    return rows


@pytest.fixture(scope="module", autouse=True)
def _no_plots(plots_in_words: None) -> None:
    """Leave the plots of reports to tests/evaluation/report."""


@pytest.fixture(scope="session")
def papers() -> Callable[..., list[dict[str, str]]]:
    """Return a function that makes papers: their number, and the number of the first."""
    return make_papers


@pytest.fixture
def recipe(both_columns: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe that the test may change."""
    return copy.deepcopy(both_columns)


@pytest.fixture(scope="session")
def both_columns(tiny_folder: Path) -> dict[str, Any]:
    """Return a recipe with a label column and a keywords column on the tiny model, for reading only."""
    return {
        "model": str(tiny_folder),
        "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
        "columns": {
            "label": {
                "kind": "label",
                "sources": ["model"],
                "question": "Is it medical? Answer 1 or 0.",
                "labels": ["1", "0"],
            },
            "Keywords": {"kind": "keywords", "question": "List the keywords.", "max_new_tokens": 12},
        },
        "method": {"rank": 4},
        "training": {"precision": "fp32", "micro_batch_size": 2, "warmup_steps": 1, "learning_rate": 0.01},
    }


@pytest.fixture(scope="session")
def run(both_columns: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a run with a label column and a keywords column, for reading only."""
    import papertune

    folder = tmp_path_factory.mktemp("runs") / "both"
    return papertune.train(make_papers(16), both_columns, folder)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Return a function that writes rows to a file of the test."""
    import polars as pl

    from papertune.tables import write_table

    def save(name: str, rows: Any) -> Path:
        write_table(pl.DataFrame(rows), tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture(scope="module")
def dev(papers):
    """Return papers, half of which become the calibration set."""
    return papers(80, 300)


@pytest.fixture(scope="module")
def training_listener(make_listener):
    """Return the listener of the module's training."""
    return make_listener()
