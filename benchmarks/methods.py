"""LoRA and P-Tuning v2 on the same rows: score on papers_dev.csv, trained weights, time.

    python benchmarks/methods.py lora ptuning_v2 --rows 400 -o methods

For each method a run and its report, and one line of JSON. A run that is there already is not trained again. The rows
are drawn from papers_train.csv, as many of each label as it has; each method has its own usual learning rate.
"""

import argparse
import json
import time
from pathlib import Path

from papertune.cli.progress import TerminalListener
from papertune.pipelines.evaluate import evaluate
from papertune.pipelines.train import train
from papertune.run import load_run
from papertune.tables import read_table

from data import data_file  # isort: skip - beside this file

SETTINGS = {
    "lora": ["method.kind=lora", "training.learning_rate=1e-3"],
    "ptuning_v2": ["method={ kind = 'ptuning_v2' }", "training.learning_rate=1e-3"],
    "ptuning_v2-random": ["method={ kind = 'ptuning_v2', init = 'random' }", "training.learning_rate=2e-2"],
    "ptuning_v2-projection": ["method={ kind = 'ptuning_v2', projection = true }", "training.learning_rate=1e-3"],
}


def main() -> None:
    """Run the methods that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="+", choices=list(SETTINGS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipe for all")
    arguments = parser.parse_args()
    table = read_table(str(data_file("papers_train.csv")))
    _, rows = table.split(arguments.rows / len(table), 2, stratify="label")
    for method in arguments.methods:
        folder = arguments.output / method
        if (folder / "run.json").exists():
            run = load_run(folder)
        else:
            settings = [*SETTINGS[method], *arguments.overrides]
            with TerminalListener("training", rows_title="dev rows") as listener:
                run = train(rows, "medical-papers", folder, only=["label"], overrides=settings, listener=listener)
        begun = time.monotonic()
        report = evaluate(run, str(data_file("papers_dev.csv")), folder / "report", overwrite=True)
        result = {
            "method": method,
            "rows": len(rows),
            "steps": run.manifest.steps,
            "trained_weights": run.manifest.trained_weights,
            "train_s": round(run.manifest.seconds),
            "evaluate_s": round(time.monotonic() - begun),
            "scores": {
                measure.name: round(measure.score, 4)
                for measure in report.columns[0].systems[0].scores.measures()
                if measure.score is not None
            },
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
