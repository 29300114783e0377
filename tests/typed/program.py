"""A program of a user, checked by `mypy --strict` (tests/typed/test_public_types.py); it is not run."""

from pathlib import Path
from typing import reveal_type

import papertune


def fill_in(table: Path, folder: Path) -> list[str]:
    recipe: papertune.Recipe = papertune.load_recipe("medical-papers", ["training.epochs=1"])
    papers: papertune.Table = papertune.read_table(table)
    train, test = papers.split(0.2, seed=0, stratify="label")
    try:
        run: papertune.Run = papertune.train(train, recipe, folder / "run")
    except papertune.PapertuneError as error:
        return [str(problem) for problem in error.problems]
    papertune.calibrate(run, test)
    papertune.evaluate(run, test, folder / "report")
    predicted = run.predict_file(test, folder / "filled.csv", columns=["uuid", "label"], precision="fp32")
    parts = run.predict_parts([table], folder / "out", shard=(1, 8))
    again: papertune.Run = papertune.load_run(folder / "run", device="cpu")
    again.merge(folder / "merged")
    return [f"{predicted.rows} rows, {parts.parts} parts", *test.columns, test.where(0, "label")]


class Quiet:
    """A listener that lacks two methods."""

    def message(self, text: str) -> None:
        print(text)


reveal_type(papertune.load_run("run").predict_parts([], "out").rows)
papertune.train("papers.csv", "medical-papers", "run", epochs=3)
papertune.load_run("run").predict_file("a.csv", "b.csv", precision="fp8")
papertune.train("papers.csv", "medical-papers", "run", listener=Quiet())
