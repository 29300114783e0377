"""Compares recipe settings on small trainings, judged by log-loss over rows that were not trained on.

    python benchmarks/screen.py papers_train.csv -r medical-papers --only label --rows 300 --judge 200 \
        --try training.learning_rate=5e-4 --try "layout=question-first training.learning_rate=5e-4"

The dev table is not looked at, so its score stays honest. One line of JSON for each setting.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from papertune.inference.predictor import Predictor
from papertune.kinds import LabelColumn
from papertune.kinds.label.cells import read_label
from papertune.methods import build_trainable
from papertune.models import choose_dtype, load_model
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader, training_examples
from papertune.recipe import load_recipe
from papertune.tables import read_table
from papertune.training import FitSettings, encode_examples, fit


def main() -> None:
    """Run the settings one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("-r", "--recipe", required=True)
    parser.add_argument("--only", default="label")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--judge", type=int, default=200)
    parser.add_argument("--try", dest="tries", action="append", default=[], help="settings, blank-separated")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    table = read_table(arguments.table)
    rest, judge = table.split(arguments.judge / len(table), 1, stratify=arguments.only)
    _, train = rest.split(arguments.rows / len(rest), 2, stratify=arguments.only)
    for settings in arguments.label_sets or [""]:
        recipe = load_recipe(arguments.recipe, settings.split()).only((arguments.only,))
        begun = time.monotonic()
        model, tokenizer = load_model(recipe.model)
        encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
        examples = encode_examples(list(training_examples(train, recipe)), recipe.questions, encoder)
        model = build_trainable(model, recipe.method, seed=recipe.training.seed)
        with tempfile.TemporaryDirectory() as folder:
            settings = FitSettings(
                recipe.training,
                Path(folder) / "training",
                Path(folder) / "metrics.jsonl",
                choose_dtype("auto", "cpu"),
            )
            fit(model, examples.rows, examples.label_sets, settings)
            lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
        seconds = time.monotonic() - begun
        predictor = Predictor(model.merge_and_unload(), tokenizer, recipe)
        reader = RowReader(judge, recipe)
        plan = predictor.plan(reader, range(len(judge)))
        column = recipe.columns[arguments.only]
        assert isinstance(column, LabelColumn)
        probabilities = {}
        for batch in plan.batches:
            for row, value in zip(batch, predictor.answer(reader, batch)[arguments.only], strict=True):
                probabilities[row] = value
        gold_ids = [column.labels.index(read_label(cell, column.labels)) for cell in judge.column(arguments.only)]
        scores = np.array([probabilities[row] for row in range(len(judge))])
        gold_scores = scores[np.arange(len(judge)), gold_ids]
        result = {
            "settings": settings,
            "log_loss": round(float(-np.log(gold_scores).mean()), 4),
            "se": round(float(np.log(gold_scores).std() / len(gold_scores) ** 0.5), 4),
            "accuracy": round(float((scores.argmax(1) == gold_ids).mean()), 4),
            # Of the first label: what counts where a label is rare.
            "average_precision": round(float(average_precision_score(np.array(gold_ids) == 0, scores[:, 0])), 4),
            "train_s": round(seconds),
            "last_loss": lines[-1]["loss"],
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
