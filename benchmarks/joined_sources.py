"""Compares what answers a label column, by the number of training rows: the curves of docs/lab/results.md.

    python benchmarks/joined_sources.py screening_depression csl -o results
    python benchmarks/joined_sources.py papers --with probe -o results                 # the linear probe as well
    python benchmarks/joined_sources.py papers --rows 0 --with model -o results        # and the model, one run a sample
    python benchmarks/joined_sources.py papers --rows 0 --samples 1 --with model --run papers=RUN -o results
    python benchmarks/joined_sources.py csl papers --rows 20 50 --with few-shot --prompted-rows 60 -o results

Reads TABLE_train.csv and TABLE_dev.csv in PAPERTUNE_DATA, with the label in `label`. A number of rows that a table does
not have, and 0, mean all of them: once, but for the model, which is trained with the seed of each sample. Samples are
drawn with the shares of the labels. The recipe is what `papertune init` writes for the sample, with the question of
benchmarks/recipes/TABLE.toml if there is one.

Few-shot prompts the base model with the same rows. It is slow: `--prompted-rows` scores it, and once more all other
systems, on a part of the dev rows, and `--examples` saves the choice of their number.

With `-o FOLDER` what is finished is kept in FOLDER/TABLE, so that the same command continues after it was stopped, and
commands with other systems add theirs. `results.py --write` makes the page of it.
"""

import argparse
import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import papertune
from papertune.cli.progress import TerminalListener
from papertune.evaluation.predictions import score_predictions
from papertune.evaluation.systems.baselines import TfidfLogistic
from papertune.kinds.label.join_words import answered_by
from papertune.kinds.predictions import Predictions
from papertune.metrics.calibration import score_calibration
from papertune.pipelines.comparison.base_model import BaseModelSystems, without_answers
from papertune.pipelines.comparison.kept import KeptOutputs
from papertune.pipelines.comparison.sources_alone import sources_alone
from papertune.pipelines.init import recipe_for
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe, load_recipe
from papertune.run import Run
from papertune.tables import Table, read_table

from curves import FEW_SHOT, JOINED, LABEL_SAMPLES, TFIDF, WITH_MODEL, keep_entry  # isort: skip - beside this file
from data import data_file  # isort: skip
from kept_vectors import kept_vectors  # isort: skip

RECIPES = Path(__file__).with_name("recipes")
# Draws the dev rows on which prompting is scored.
SEED = 0

# The probabilities of all dev rows, shape (rows, labels), and a remark.
Answers = tuple[NDArray[np.float64], str]
# By the name of a system.
AllAnswers = dict[str, Answers]


def main() -> None:
    """Print a line for each table, number of rows, sample and system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="such as screening_depression or csl")
    parser.add_argument("--rows", nargs="+", type=int, default=[50, 100, 200, 400, 0], help="numbers of training rows")
    parser.add_argument("--samples", type=int, default=3, help="samples of each number of rows")
    parser.add_argument("--sources", nargs="+", default=["words", "encoder"], help="what is joined without the model")
    parser.add_argument("--with", dest="others", nargs="+", default=[], choices=["probe", "model", "few-shot"])
    parser.add_argument(
        "--run", action="append", default=[], metavar="TABLE=RUN", help="a run of all rows, as sample 0"
    )
    parser.add_argument("--prompted-rows", type=int, default=200, help="maximum dev rows that are prompted")
    parser.add_argument("--examples", type=int, help="examples in a prompt; default: chosen on training rows")
    parser.add_argument("-o", "--output", type=Path, help="folder for what is finished")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipe")
    arguments = parser.parse_args()
    print("| table | rows | sample | | dev rows | accuracy | macro F1 | average precision | about |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as folder:
        for name in arguments.tables:
            for entry in measure_table(name, (arguments.output or Path(folder)) / name, arguments):
                print(f"| {name} | {line(entry)} |", flush=True)


def measure_table(name: str, folder: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure a table, and return the entry of each system as it is kept in the folder."""
    train, test = (read_table(data_file(f"{name}_{part}.csv")) for part in ("train", "dev"))
    runs = dict(given.partition("=")[::2] for given in arguments.run)
    for rows in arguments.rows:
        is_whole = not 0 < rows < len(train)
        for sample in range(arguments.samples):
            drawn = train if is_whole else train.split(rows / len(train), sample, "label")[1]
            others = [other for other in arguments.others if not is_whole or not sample or other == "model"]
            run = runs.get(name) if is_whole and not sample else None
            job = Sample(name, drawn, test, sample, folder, run, arguments)
            for entry in job.measure(others, is_repeated=is_whole and sample > 0):
                entry = {"rows": len(drawn), "of_rows": len(train), "sample": sample, **entry}
                keep_entry(folder / LABEL_SAMPLES, entry)
                yield entry


class Sample:
    """Training rows, and the dev rows on which systems are scored after learning from them."""

    def __init__(
        self,
        name: str,
        train: Table,
        test: Table,
        number: int,
        folder: Path,
        run: str | None,
        arguments: argparse.Namespace,
    ) -> None:
        self._train, self._test, self._folder, self._run, self._arguments = train, test, folder, run, arguments
        self._recipe = recipe_of(name, train, [f"training.seed={number}", *arguments.overrides])
        self._labels = list(self._recipe.questions["label"].joined_labels)
        self._documents = without_answers(test, self._recipe)

    def measure(self, others: Sequence[str], *, is_repeated: bool) -> Iterator[dict[str, Any]]:
        """Return an entry for each system and part of the dev rows.

        Args:
            others: What takes part beside TF-IDF and the joined sources.
            is_repeated: The same rows have been measured; what has no seed is left out.
        """
        parts = [list(range(len(self._test)))]
        if "few-shot" in others and self._arguments.prompted_rows < len(self._test):
            parts.append(rows_to_prompt(self._test, self._arguments.prompted_rows))
        groups: dict[str, Callable[[], AllAnswers]] = {}
        if not is_repeated:
            groups = {"TF-IDF": self._by_tfidf, "joined": self._without_model}
        groups |= {"probe": self._probe} if "probe" in others else {}
        groups |= {"model": self._with_model} if "model" in others else {}
        with kept_vectors(self._folder, self._recipe):
            for group, make in groups.items():
                for system, answers in self._kept(group, make).items():
                    for part in parts:
                        yield self._entry(system, answers, part)
        if "few-shot" in others:
            yield self._entry(FEW_SHOT, self._few_shot(parts[-1]), parts[-1], [*range(len(parts[-1]))])

    def _by_tfidf(self) -> AllAnswers:
        baseline = TfidfLogistic(self._read(self._train), self._train.column("label"), self._labels)
        return {TFIDF: (np.array(baseline.predict(self._read(self._test))[1]), "")}

    def _without_model(self) -> AllAnswers:
        return self._trained(JOINED, self._arguments.sources)

    def _probe(self) -> AllAnswers:
        found = self._trained("", ["probe"])
        return {name: each for name, each in found.items() if name}

    def _with_model(self) -> AllAnswers:
        place = self._folder / "runs" / f"{len(self._train)}-{self._recipe.training.seed}"
        if self._run is None:
            with TerminalListener("model") as listener:
                run = papertune.train(self._train, self._recipe, place, resume=True, listener=listener)
        else:
            run = papertune.load_run(self._run)
        found = self._answers(WITH_MODEL, run)
        shutil.rmtree(place, ignore_errors=True)  # many runs are large
        return {name: each for name, each in found.items() if name == WITH_MODEL or name.startswith("fine-tuned")}

    def _trained(self, title: str, sources: Sequence[str]) -> AllAnswers:
        """Return the answers of a column with these sources, through `train` and `predict`."""
        recipe = load_recipe(self._recipe, [f"columns.label.sources={json.dumps(list(sources))}"])
        with TemporaryDirectory() as folder:
            return self._answers(title, papertune.train(self._train, recipe, Path(folder) / "run"))

    def _answers(self, title: str, run: Run) -> AllAnswers:
        """Return what a run answers, and what each of its sources would answer alone."""
        filled = run.predict(self._documents, probabilities=True)
        columns = [pl.col(f"label_probability_{label}").cast(pl.Float64) for label in self._labels]
        found = {title: (filled.select(columns).to_numpy(), answered_by(run.joins["label"]))}
        with TemporaryDirectory() as folder, TerminalListener("alone") as listener:
            kept = KeptOutputs(Path(folder), listener)
            for source, output in sources_alone(run, self._documents, run.recipe, kept, listener)["label"].items():
                found[source] = np.array(output.predictions.probabilities), ""
        return found

    def _few_shot(self, part: Sequence[int]) -> Answers:
        """Return the answers of the base model with training rows before the question."""
        blank = without_answers(self._test.take(list(part)), self._recipe)
        with TerminalListener("few-shot") as listener:
            place = KeptOutputs(self._folder / "prompted", listener)
            systems = BaseModelSystems(self._recipe, blank, place, device=None, base=None, listener=listener)
            output = systems.few_shot("label", self._train, self._arguments.examples)
        return np.array(output.predictions.probabilities), output.note

    def _read(self, table: Table) -> list[str]:
        reader = RowReader(table, self._recipe)
        return [reader.document(row) for row in range(len(table))]

    def _kept(self, group: str, make: Callable[[], AllAnswers]) -> AllAnswers:
        """Return the answers that the folder has, or make and keep them."""
        chosen = self._chosen(group)
        facts = [group, self._recipe.model_dump(mode="json"), chosen, self._train.checksum(), self._test.checksum()]
        path = self._folder / "answers.jsonl"
        for text in path.read_text("utf-8").splitlines() if path.is_file() else []:
            kept = json.loads(text)
            if kept["facts"] == facts:
                return {system: (np.array(found), about) for system, (found, about) in kept["answers"].items()}
        answers = make()
        ready = {system: (found.tolist(), about) for system, (found, about) in answers.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"facts": facts, "answers": ready}, ensure_ascii=False) + "\n")
        return answers

    def _chosen(self, group: str) -> list[str]:
        """Return what decides the answers of a group beside the recipe and the rows: the sources, or the given run."""
        if group == "model" and self._run is not None:
            directory = papertune.load_run(self._run).directory
            written = hashlib.sha256((directory.path / "run.json").read_bytes()).hexdigest()
            return [directory.weights_checksum(), written]
        return list(self._arguments.sources) if group == "joined" else []

    def _entry(
        self, system: str, answers: Answers, part: Sequence[int], places: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Return the scores of a system on some dev rows.

        Args:
            system: Its name.
            answers: Its answers.
            part: The dev rows.
            places: Where their answers stand; None: at the number of the row.
        """
        scored = self._test.take(list(part))
        own = answers[0][list(part if places is None else places)]
        cells = [self._labels[number] for number in own.argmax(axis=1)]
        gold = np.array([self._labels.index(label) for label in scored.column("label")], dtype=np.int64)
        reader = RowReader(scored, self._recipe)
        found = score_predictions({"label": Predictions(cells, own.tolist())}, reader, self._recipe, range(len(gold)))
        calibration = score_calibration(own, gold)
        return {
            "system": system,
            "test_rows": len(scored),
            "of_test_rows": len(self._test),
            "about": answers[1],
            "scores": found["label"].as_dict(),
            "ece": calibration.ece,
            "ece_by_chance": calibration.ece_by_chance,
        }


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


def line(entry: dict[str, Any]) -> str:
    """Return the cells of an entry; of two labels with the average precision of the first."""
    scores = entry["scores"]
    ranking = "" if scores["average_precision"] is None else f"{scores['average_precision']:.3f}"
    return (
        f"{entry['rows']:,} | {entry['sample']} | {entry['system']} | {entry['test_rows']:,} "
        f"| {scores['accuracy']:.3f} | {scores['macro_f1']:.3f} | {ranking} | {entry['about']}"
    )


if __name__ == "__main__":
    main()
