"""Compares a label column joined from several sources with TF-IDF and logistic regression, and with prompting.

    python benchmarks/joined_sources.py screening_depression csl --rows 50 100 200 400 0 --samples 3
    python benchmarks/joined_sources.py csl papers --rows 20 30 50 --sources words encoder --few-shot -o few-rows

Reads TABLE_train.csv and TABLE_dev.csv in PAPERTUNE_DATA, with the label in `label`. A number of rows that a table does
not have, and 0, mean all of them, once; samples are drawn with the shares of the labels. The recipe is what `papertune
init` writes for the sample, with the question of benchmarks/recipes/TABLE.toml if there is one.

With `--sources words encoder` the sentence encoder takes part, with `model` the model is trained. With `--few-shot` the
base model is prompted with the same rows. Prompting is slow: `--prompted-rows` scores it, and once more all other
systems, on a part of the dev rows, and `--examples` saves the choice of their number. With `-o FOLDER` what is finished
is kept there, so that the same command continues after it was stopped.
"""

import argparse
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

import papertune
from papertune.cli.progress import TerminalListener
from papertune.evaluation.systems.baselines import TfidfLogistic
from papertune.kinds.label.join_words import answered_by
from papertune.pipelines.comparison.base_model import BaseModelSystems, without_answers
from papertune.pipelines.comparison.kept import KeptOutputs
from papertune.pipelines.init import recipe_for
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe, load_recipe
from papertune.tables import Table, read_table

from data import data_file  # isort: skip - beside this file

RECIPES = Path(__file__).with_name("recipes")
# Draws the dev rows on which prompting is scored.
SEED = 0

# The probabilities of all dev rows, shape (rows, labels), and a remark.
Answers = tuple[NDArray[np.float64], str]


def main() -> None:
    """Print a line for each table, number of rows, sample and system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="such as screening_depression or csl")
    parser.add_argument("--rows", nargs="+", type=int, default=[50, 100, 200, 400, 0], help="numbers of training rows")
    parser.add_argument("--samples", type=int, default=3, help="samples of each number of rows")
    parser.add_argument("--sources", nargs="+", default=["words"], help="words, encoder, probe, model")
    parser.add_argument("--few-shot", action="store_true", help="prompt the base model with the same rows, too")
    parser.add_argument("--prompted-rows", type=int, default=200, help="maximum dev rows that are prompted")
    parser.add_argument("--examples", type=int, help="examples in a prompt; default: chosen on training rows")
    parser.add_argument("-o", "--output", type=Path, help="folder for what is finished")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipe")
    arguments = parser.parse_args()
    print("| table | rows | sample | | dev rows | accuracy | macro F1 | average precision | about |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.tables:
        train, test = (read_table(data_file(f"{name}_{part}.csv")) for part in ("train", "dev"))
        for rows in arguments.rows:
            is_whole = not 0 < rows < len(train)
            for sample in range(1 if is_whole else arguments.samples):
                drawn = train if is_whole else train.split(rows / len(train), sample, "label")[1]
                for line in measure(name, drawn, test, arguments):
                    print(f"| {name} | {len(drawn):,} | {sample} | {line} |", flush=True)


def measure(name: str, train: Table, test: Table, arguments: argparse.Namespace) -> list[str]:
    """Return the end of the line of each system: its name, the dev rows, its scores and a remark."""
    recipe = recipe_of(name, train, arguments.overrides)
    labels = list(recipe.questions["label"].joined_labels)
    systems: dict[str, Callable[[], Answers]] = {
        "TF-IDF + logistic regression": lambda: (by_tfidf(train, test, recipe, labels), ""),
        "joined": lambda: joined(train, test, recipe, arguments.sources),
    }
    if len(arguments.sources) > 1 and "words" in arguments.sources:
        systems["words"] = lambda: joined(train, test, recipe, ["words"])
    parts = [list(range(len(test)))]
    if arguments.few_shot and arguments.prompted_rows < len(test):
        parts.append(rows_to_prompt(test, arguments.prompted_rows))
    lines: list[str] = []
    for system, make in systems.items():
        sources = arguments.sources if system == "joined" else []
        answers, about = kept(arguments.output, [system, recipe.model_dump(mode="json"), sources, train, test], make)
        lines += [f"{system} | {line(answers, part, labels, test)} | {about}" for part in parts]
    if arguments.few_shot:
        part = parts[-1]
        answers, about = few_shot(train, test.take(part), recipe, arguments)
        lines.append(f"few-shot | {line(answers, range(len(part)), labels, test.take(part))} | {about}")
    return lines


def recipe_of(name: str, train: Table, overrides: Sequence[str]) -> Recipe:
    """Return the recipe that `papertune init` writes for a table, with the question that was written by hand."""
    recipe = tomllib.loads(recipe_for(train, label=["label"], document=["title", "abstract"]))
    written = RECIPES / f"{name}.toml"
    if written.is_file():
        recipe["columns"]["label"]["question"] = tomllib.loads(written.read_text("utf-8"))["columns"]["label"][
            "question"
        ]
    return load_recipe(recipe, overrides)


def rows_to_prompt(test: Table, count: int) -> list[int]:
    """Return the numbers of some rows, drawn with the shares of the labels."""
    numbered = Table(test.frame.with_row_index("place").cast(pl.String), test.source)
    return [int(place) for place in numbered.split(count / len(test), SEED, "label")[1].column("place")]


def by_tfidf(train: Table, test: Table, recipe: Recipe, labels: Sequence[str]) -> NDArray[np.float64]:
    """Return the probabilities of the baseline."""
    baseline = TfidfLogistic(documents(train, recipe), train.column("label"), labels)
    return baseline.predict(documents(test, recipe))[1]


def joined(train: Table, test: Table, recipe: Recipe, sources: Sequence[str]) -> Answers:
    """Return the probabilities of a column with these sources, through `train` and `predict`."""
    with TemporaryDirectory() as folder:
        chosen = [f"columns.label.sources={json.dumps(list(sources))}"]
        run = papertune.train(train, load_recipe(recipe, chosen), Path(folder) / "run")
        filled = run.predict(test, probabilities=True)
        about = answered_by(run.joins["label"])
    labels = recipe.questions["label"].joined_labels
    columns = [pl.col(f"label_probability_{label}").cast(pl.Float64) for label in labels]
    return filled.select(columns).to_numpy(), about


def few_shot(train: Table, test: Table, recipe: Recipe, arguments: argparse.Namespace) -> Answers:
    """Return the probabilities of the base model with training rows before the question."""
    blank = without_answers(test, recipe)
    with TemporaryDirectory() as folder, TerminalListener("few-shot") as listener:
        place = KeptOutputs(Path(folder) if arguments.output is None else arguments.output, listener)
        systems = BaseModelSystems(recipe, blank, place, device=None, base=None, listener=listener)
        output = systems.few_shot("label", train, arguments.examples)
    assert output.predictions.probabilities is not None
    return np.array(output.predictions.probabilities), output.note


def kept(folder: Path | None, facts: list[Any], make: Callable[[], Answers]) -> Answers:
    """Return the answers that a folder has for these facts, or make and keep them."""
    ready = [fact.checksum() if isinstance(fact, Table) else fact for fact in facts]
    path = None if folder is None else folder / "answers.jsonl"
    if path is not None and path.is_file():
        for text in path.read_text("utf-8").splitlines():
            entry = json.loads(text)
            if entry["facts"] == ready:
                return np.array(entry["probabilities"]), entry["about"]
    answers, about = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"facts": ready, "probabilities": answers.tolist(), "about": about}
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return answers, about


def documents(table: Table, recipe: Recipe) -> list[str]:
    """Return the documents of a table."""
    reader = RowReader(table, recipe)
    return [reader.document(row) for row in range(len(table))]


def line(probabilities: NDArray[np.float64], rows: Sequence[int], labels: Sequence[str], test: Table) -> str:
    """Return the number of rows, accuracy, macro F1, and of two labels the average precision of the first, as cells."""
    gold = [test.column("label")[row] for row in rows]
    own = probabilities[list(rows)]
    predicted = [labels[number] for number in own.argmax(axis=1)]
    ranking = ""
    if len(labels) == 2:
        ranking = f"{average_precision_score([label == labels[0] for label in gold], own[:, 0]):.3f}"
    macro = f1_score(gold, predicted, average="macro", zero_division=0)
    return f"{len(gold):,} | {accuracy_score(gold, predicted):.3f} | {macro:.3f} | {ranking}"


if __name__ == "__main__":
    main()
