"""The numbers of docs/results.md: trains on real papers, scores the dev rows, beside the baselines and zero-shot.

    python benchmarks/results.py label keywords medical-abstracts -o results

For each name: a run, its report (report.html, report.json) and the rows of the table in docs/results.md on standard
output. A run that is there already is not trained again. Zero-shot asks the base model the same questions.
"""

import argparse
import time
from pathlib import Path

import papertune
from papertune.api.evaluate import evaluate
from papertune.api.run import load_run
from papertune.api.train import train
from papertune.evaluation.answers import answers_of_values, score_answers
from papertune.evaluation.report import measures
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.models import load_model
from papertune.tasks import RowReader

from data import data_file  # isort: skip - beside this file

EXPERIMENTS = {
    "label": ("papers", "medical-papers", "label"),
    "keywords": ("keywords", "medical-papers", "Keywords"),
    "medical-abstracts": ("medical_abstracts", Path(__file__).with_name("medical_abstracts.toml"), "label"),
}


def main() -> None:
    """Run the experiments that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=list(EXPERIMENTS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipe")
    parser.add_argument("--rows", type=int, help="learn from this many rows of the training table only")
    parser.add_argument("--zero-shot", action="store_true", help="also ask the base model")
    arguments = parser.parse_args()
    for name in arguments.names:
        tables, recipe, column = EXPERIMENTS[name]
        learn, dev = data_file(f"{tables}_train.csv"), data_file(f"{tables}_dev.csv")
        folder = arguments.output / name
        if (folder / "run.json").exists():
            run = load_run(folder)
        else:
            show, table = _Lines(), papertune.read_table(str(learn))
            if arguments.rows:
                _, table = table.split(arguments.rows / len(table), 2)
            run = train(table, recipe, folder, only=[column], overrides=arguments.overrides, tell=print, progress=show)
        begun = time.monotonic()
        report = evaluate(run, str(dev), folder / "report", baselines=str(learn), overwrite=True)
        seconds = time.monotonic() - begun
        rows = report.rows
        print(f"\n{name}: trained in {run.manifest.seconds / 60:.1f} min; {rows} rows scored in {seconds:.0f} s")
        for contestant in report.columns[0].contestants:
            print(_row(contestant.name, contestant.scores))
        if arguments.zero_shot:
            table = papertune.read_table(str(dev))
            model, tokenizer = load_model(run.recipe.model)
            predictor = Predictor(model, tokenizer, run.recipe)
            reader = RowReader(table, run.recipe)
            values = predict_rows(predictor, reader, predictor.plan(reader, range(rows))).values
            scores = score_answers(answers_of_values(values, run.recipe), reader, run.recipe, range(rows))
            print(_row("zero-shot", scores[column]))


class _Lines:
    """Prints progress now and then."""

    def update(self, done: float, total: float, note: str, left_s: float) -> None:
        """Print every tenth step."""
        if done % 10 == 0 or done == total:
            print(f"{time.strftime('%H:%M:%S')} {done:.0f}/{total:.0f} {note}", flush=True)


def _row(name: str, scores: object) -> str:
    cells = []
    for measure in measures(scores):  # type: ignore[arg-type]
        if measure.score is not None:
            interval = measure.interval
            between = f" ({interval.low:.3f}-{interval.high:.3f})" if interval else ""
            cells.append(f"{measure.name} {measure.score:.4f}{between}")
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
