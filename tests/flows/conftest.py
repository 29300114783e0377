import json
from pathlib import Path
from typing import Any

import pytest

WORDS = ["heart", "graph", "aspirin", "network", "trial", "method", "patients", "learning", "effect", "study", "neural"]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Any:
    """Return the files of a small project: tables for training and prediction, and a recipe."""
    return Sample(tmp_path_factory.mktemp("flows"), tiny_folder)


class Sample:
    """Files that the commands of a test share.

    Attributes:
        train: 24 papers with label and keywords.
        new: 64 papers without label and keywords.
        recipe: A recipe for both columns on the tiny model.
    """

    ROWS = 64

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.train = folder / "papers.csv"
        self.new = folder / "new.csv"
        self.recipe = folder / "recipe.toml"
        self.train.write_text(_csv(range(24), answers=True), "utf-8")
        self.new.write_text(_csv(range(100, 100 + self.ROWS), answers=False), "utf-8")
        self.recipe.write_text(
            f"""
            model = {json.dumps(str(model))}
            [table]
            id = "uuid"
            document = "title: {{title}}\\nabstract: {{abstract}}"
            [columns.label]
            kind = "label"
            sources = ["model"]
            question = "Is it medical? Answer 1 or 0."
            labels = ["1", "0"]
            [columns.Keywords]
            kind = "keywords"
            question = "List the keywords."
            max_new_tokens = 8
            [method]
            rank = 4
            dropout = 0.2
            [training]
            epochs = 4
            micro_batch_size = 2
            accumulation = 2
            warmup_steps = 1
            logging_steps = 1
            save_steps = 2
            """,
            "utf-8",
        )


def _csv(numbers: range, *, answers: bool) -> str:
    rows = ["uuid,title,abstract" + (",Keywords,label" if answers else "")]
    for n in numbers:
        words = [WORDS[(n * 5 + i * (1 + n % 3)) % len(WORDS)] for i in range(3 + n % 7)]
        row = [f"p{n:03}", f"{words[0]} {n}", " ".join(words)]
        rows.append(",".join(row + ([f"{words[0]}; {words[1]} {words[2]}", str(n % 2)] if answers else [])))
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="session")
def trained(sample: Any) -> Any:
    """Return a run trained on the sample, for reading only."""
    import papertune

    return papertune.train(sample.train, sample.recipe, sample.folder / "trained", overrides=["training.epochs=1"])
