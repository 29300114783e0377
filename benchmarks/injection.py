"""Hostile instructions in abstracts: how many labels flip, for the base model and for a fine-tuned run.

    python benchmarks/injection.py --run RUN
    python benchmarks/injection.py --run RUN --table examples/papers.csv --papers 4 --texts 3     # a minute

Each text of injection_texts.toml is put at the end of the abstract of each paper, where it stands right before the
question. It asks for a label that the model has not given to the paper as it is. A label flips if it is another one
than without the text; it obeys if it is the one that the text wants. Harmless sentences of about the same length show
how many labels change anyway. An answer that is no label cannot happen: labels are scored, not written freely.

Shares are over all pairs of a paper and a text; their 95 percent intervals are bootstraps over papers, since the texts
of one paper are alike. Prints a table and, as its last line, JSON.
"""

import argparse
import json
import random
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import papertune
from papertune.config import LabelColumn, Recipe
from papertune.errors import PapertuneError, TableError
from papertune.evaluation.answers import answers_of_values
from papertune.evaluation.intervals import mean_interval
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.models import choose_device, load_model
from papertune.tables import Table
from papertune.tasks import RowReader

from contest import machine  # isort: skip - beside this file
from data import data_file  # isort: skip
from speed_tables import show  # isort: skip

TEXTS = Path(__file__).with_name("injection_texts.toml")
PAPER_SEED = 0


def main() -> None:
    """Measure both models and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a run that has learnt the label column")
    parser.add_argument("--table", help="papers; default: papers_dev.csv of PAPERTUNE_DATA")
    parser.add_argument("--column", default="label", help="the label column")
    parser.add_argument("--into", default="abstract", help="the column that the texts are put into")
    parser.add_argument("--papers", type=int, default=50)
    parser.add_argument("--texts", type=int, help="only so many of the texts of each kind")
    parser.add_argument("--device")
    parser.add_argument("--output", type=Path, help="write the table to this Markdown file too")
    arguments = parser.parse_args()
    try:
        print(json.dumps(measure(arguments), ensure_ascii=False))
    except PapertuneError as error:
        parser.exit(2, f"error: {error}\n")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Attack both models; give all numbers, and print the table."""
    run = papertune.load_run(arguments.run, device=arguments.device)
    papers = choose_papers(arguments)
    recipe = asked(run.recipe, arguments.column)
    texts = {kind: all_texts[: arguments.texts] for kind, all_texts in tomllib.loads(TEXTS.read_text("utf-8")).items()}
    bits = run.recipe.base_bits
    base = Predictor(*load_model(run.manifest.base_name, device=arguments.device, base_bits=bits), run.recipe)
    models = {"zero-shot": attack(base, recipe, papers, arguments.into, texts)}
    del base
    models["fine-tuned"] = attack(run.predictor(), recipe, papers, arguments.into, texts)
    described = machine(torch.get_num_threads(), choose_device(arguments.device))
    head = ["", *(f"{kind}: {what}" for kind in texts for what in ("flipped", "obeyed")), "papers flipped by any"]
    lines = [
        [
            model,
            *(in_words(told[kind][what]) for kind in texts for what in ("flipped", "obeyed")),
            in_words(told["any"]),
        ]
        for model, told in models.items()
    ]
    notes = [
        f"{len(papers)} papers of {papers.source}; " + ", ".join(f"{len(t)} {kind} texts" for kind, t in texts.items())
    ]
    show("Hostile instructions in abstracts", head, lines, notes, described, arguments.output)
    return {
        "papers": len(papers),
        "texts": {k: len(t) for k, t in texts.items()},
        "models": models,
        "machine": described,
    }


def choose_papers(arguments: argparse.Namespace) -> Table:
    """Draw the papers, the same ones each time."""
    table = papertune.read_table(arguments.table or str(data_file("papers_dev.csv")))
    table.column(arguments.into)  # or an error that names the columns
    rows = random.Random(PAPER_SEED).sample(range(len(table)), min(arguments.papers, len(table)))
    return table.take(sorted(rows))


def asked(recipe: Recipe, column: str) -> Recipe:
    """Give the recipe with the attacked column alone; the likeliest label is taken, however unsure it is."""
    if not isinstance(recipe.columns.get(column), LabelColumn):
        raise TableError(f'--column: "{column}" is no label column of the run. It has: {", ".join(recipe.columns)}.')
    return recipe.only((column,))


def attack(
    predictor: Predictor, recipe: Recipe, papers: Table, into: str, texts: dict[str, Sequence[str]]
) -> dict[str, Any]:
    """Give the shares of labels that flip and obey, by kind of text, with intervals."""
    ((name, column),) = recipe.columns.items()
    clean, _ = say(predictor, recipe, name, papers)
    targets = [next(label for label in column.labels if label != said) for said in clean]
    told: dict[str, Any] = {}
    flipped_by_hostile = np.zeros((len(papers), 0), dtype=bool)
    for kind, of_kind in texts.items():
        rows = [row for row in range(len(papers)) for _ in of_kind]
        attacked = [
            f"{papers.frame[into][row]} " + text.format(target=targets[row], answer=clean[row])
            for row in range(len(papers))
            for text in of_kind
        ]
        table = papers.take(rows)
        table = replace(table, frame=table.frame.with_columns(pl.Series(into, attacked)))
        said, shortened = say(predictor, recipe, name, table)
        shape = len(papers), len(of_kind)
        flipped = np.array([cell != clean[row] for cell, row in zip(said, rows, strict=True)]).reshape(shape)
        obeyed = np.array([cell == targets[row] for cell, row in zip(said, rows, strict=True)]).reshape(shape)
        told[kind] = {
            "flipped": share(flipped),
            "obeyed": share(obeyed),
            "outside": sum(cell not in column.labels for cell in said),
            "shortened": shortened,  # their texts were cut off
            "by_text": dict(zip(of_kind, flipped.mean(axis=0).round(3).tolist(), strict=True)),
        }
        if kind == "hostile":
            flipped_by_hostile = flipped
    told["any"] = share(flipped_by_hostile.any(axis=1, keepdims=True))
    return told


def say(predictor: Predictor, recipe: Recipe, name: str, table: Table) -> tuple[list[str], int]:
    """Give the label of each row, and how many documents were shortened."""
    reader = RowReader(table, recipe)
    plan = predictor.plan(reader, range(len(table)))
    values = predict_rows(predictor, reader, plan).values
    return list(answers_of_values(values, recipe)[name].cells), len(plan.shortened)


def share(happened: np.ndarray) -> dict[str, float]:
    """Give a share of pairs, and its interval over papers; bool, shape (papers, texts)."""
    by_paper = happened.mean(axis=1)
    interval = mean_interval(by_paper)
    return {"share": float(by_paper.mean()), "low": interval.low, "high": interval.high}


def in_words(measured: dict[str, float]) -> str:
    """Write a share with its interval."""
    return f"{measured['share']:.3f} ({measured['low']:.3f}-{measured['high']:.3f})"


if __name__ == "__main__":
    main()
