"""A program of a user, which `mypy` checks in `make check`; it is not run.

An `assert_type` fails where the public API has lost a type, and a `type: ignore` that is not needed is an error too.
"""

from pathlib import Path
from typing import assert_type

import papertune


def fill_in(table: Path, folder: Path) -> list[str]:
    recipe = assert_type(papertune.load_recipe("medical-papers", ["training.epochs=1"]), papertune.Recipe)
    papers = assert_type(papertune.read_table(table), papertune.Table)
    train, test = assert_type(papers.split(0.2, seed=0, stratify="label"), tuple[papertune.Table, papertune.Table])
    try:
        run = assert_type(papertune.train(train, recipe, folder / "run"), papertune.Run)
    except papertune.PapertuneError as error:
        return [*assert_type(error.problems, tuple[str, ...])]
    papertune.calibrate(run, test)
    papertune.evaluate(run, test, folder / "report")
    predicted = run.predict_file(test, folder / "filled.csv", columns=["uuid", "label"], precision="fp32")
    parts = run.predict_parts([table], folder / "out", shard=(1, 8))
    assert_type(predicted.rows, int)
    assert_type(parts.parts_before, int)
    again = assert_type(papertune.load_run(folder / "run", device="cpu"), papertune.Run)
    again.merge(folder / "merged")
    return [*assert_type(test.columns, list[str]), test.where(0, "label")]


class Quiet:
    """A listener that lacks two methods."""

    def message(self, text: str) -> None:
        print(text)


def mistakes(run: papertune.Run) -> None:
    papertune.train("papers.csv", "medical-papers", "run", epochs=3)  # type: ignore[call-arg]
    papertune.train("papers.csv", "medical-papers", "run", listener=Quiet())  # type: ignore[arg-type]
    run.predict_file("a.csv", "b.csv", precision="fp8")  # type: ignore[arg-type]
    run.predict_parts("a.parquet", "out", shard="1/8")  # type: ignore[arg-type]
