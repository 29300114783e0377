import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WORDS = ["heart", "graph", "aspirin", "network", "trial", "method", "patients", "learning", "effect", "study", "neural"]
HEADER = "uuid,title,author,abstract,Keywords,label"


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def warnings(self) -> list[str]:
        return [line.removeprefix("warning: ") for line in self.err.splitlines() if line.startswith("warning: ")]

    @property
    def error(self) -> str:
        """The single message of a command that ended with a user error."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        before, prefix, message = f"\n{self.err}".partition("\nerror: ")
        assert prefix, self.err
        assert all(line.startswith("warning: ") for line in before.strip().splitlines())
        assert "\nerror: " not in message
        return message


@pytest.fixture(scope="module", autouse=True)
def _no_plots(plots_in_words: None) -> None:
    """Leave the plots of reports to tests/evaluation/report."""


@pytest.fixture
def papertune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return a function that runs a command in this process, as from a shell."""

    def run(*arguments: object, stdin: str = "") -> Outcome:
        from papertune.cli import main

        monkeypatch.setattr(sys, "argv", ["papertune", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Path:
    """Change to a new folder with papers.csv, new.csv and recipe.toml, and return it."""
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path, tiny_folder)
    return tmp_path


@pytest.fixture(scope="session")
def trained(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the folder of a run on papers.csv, for reading only."""
    import papertune

    folder = tmp_path_factory.mktemp("trained")
    write_project(folder, tiny_folder)
    papertune.train(folder / "papers.csv", folder / "recipe.toml", folder / "run")
    return folder / "run"


def write_project(folder: Path, model: Path) -> None:
    (folder / "papers.csv").write_text("\n".join([HEADER, *map(paper, range(12))]) + "\n", "utf-8")
    new = [paper(n).rsplit(",", 2)[0] for n in range(50, 56)]
    (folder / "new.csv").write_text("\n".join([HEADER.rsplit(",", 2)[0], *new]) + "\n", "utf-8")
    (folder / "recipe.toml").write_text(
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
        [training]
        micro_batch_size = 4
        logging_steps = 1
        """,
        "utf-8",
    )


def paper(n: int) -> str:
    words = [WORDS[(n * 5 + i * (1 + n % 3)) % len(WORDS)] for i in range(4 + n % 5)]
    return f"p{n:03},the {words[0]} {n},Author {n},{' '.join(words)},{words[0]}; {words[1]} {words[2]},{n % 2}"
