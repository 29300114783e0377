"""Compares a label column joined from sources that need no model with TF-IDF and logistic regression.

    python benchmarks/joined_sources.py screening_depression csl --rows 50 100 200 400 0 --samples 3

Reads TABLE_train.csv and TABLE_dev.csv in PAPERTUNE_DATA, with the label in `label`. A number of rows that a table does
not have, and 0, mean all of them, once; samples are drawn with the shares of the labels. With `--sources words encoder`
the sentence encoder takes part.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

import papertune
from papertune.evaluation.systems.baselines import TfidfLogistic
from papertune.kinds.label.join_words import answered_by
from papertune.tables import Table, read_table
from papertune.templates import render_template

from data import data_file  # isort: skip - beside this file

DOCUMENT = "title: {title}\nabstract: {abstract}"


def main() -> None:
    """Print a line for each table, number of rows and sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="such as screening_depression or csl")
    parser.add_argument("--rows", nargs="+", type=int, default=[50, 100, 200, 400, 0], help="numbers of training rows")
    parser.add_argument("--samples", type=int, default=3, help="samples of each number of rows")
    parser.add_argument("--sources", nargs="+", default=["words"], help="words, encoder")
    arguments = parser.parse_args()
    print("| table | rows | sample | | accuracy | macro F1 | average precision | answered by |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.tables:
        train, test = (read_table(data_file(f"{name}_{part}.csv")) for part in ("train", "dev"))
        for rows in arguments.rows:
            is_whole = not 0 < rows < len(train)
            for sample in range(1 if is_whole else arguments.samples):
                drawn = train if is_whole else train.split(rows / len(train), sample, "label")[1]
                for system, scores, about in measure(drawn, test, arguments.sources):
                    print(f"| {name} | {len(drawn):,} | {sample} | {system} | {scores} | {about} |", flush=True)


def measure(train: Table, test: Table, sources: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the name, the scores and a remark of the baseline and of the joined column."""
    counts = Counter(train.column("label"))
    labels = sorted(counts, key=lambda label: counts[label])  # of two the rarer one first
    gold = test.column("label")
    baseline = TfidfLogistic(documents(train), train.column("label"), labels).predict(documents(test))[1]
    recipe: dict[str, Any] = {
        "table": {"document": DOCUMENT},
        "columns": {"label": {"kind": "label", "question": "Label?", "labels": labels, "sources": list(sources)}},
    }
    with TemporaryDirectory() as folder:
        run = papertune.train(train, recipe, Path(folder) / "run")
        filled = run.predict(test, probabilities=True)
        about = answered_by(run.joins["label"])
    probabilities = filled.select(pl.col(f"label_probability_{label}").cast(pl.Float64) for label in labels).to_numpy()
    return [
        ("TF-IDF + logistic regression", score(baseline, labels, gold), ""),
        ("joined", score(probabilities, labels, gold), about),
    ]


def documents(table: Table) -> list[str]:
    """Return the documents of a table."""
    columns = {name: table.column(name) for name in ("title", "abstract")}
    return [
        render_template(DOCUMENT, {name: cells[row] for name, cells in columns.items()}) for row in range(len(table))
    ]


def score(probabilities: NDArray[np.float64], labels: Sequence[str], gold: Sequence[str]) -> str:
    """Return accuracy, macro F1, and of two labels the average precision of the first, as cells of a line."""
    predicted = [labels[number] for number in probabilities.argmax(axis=1)]
    ranking = ""
    if len(labels) == 2:
        ranking = f"{average_precision_score([label == labels[0] for label in gold], probabilities[:, 0]):.3f}"
    macro = f1_score(gold, predicted, average="macro", zero_division=0)
    return f"{accuracy_score(gold, predicted):.3f} | {macro:.3f} | {ranking}"


if __name__ == "__main__":
    main()
