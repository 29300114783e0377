"""What each stage of training gains and costs, on the tables of PAPERTUNE_DATA.

    python benchmarks/stages.py pt -o stages
    python benchmarks/stages.py -o stages --write stages.md        # the page, from these results

Each stage keeps its runs in stages/STAGE and its numbers in stages/STAGE.json, so a command that was stopped continues,
and stages can be measured one by one. A new stage is a function, its section of the page, and a line in `STAGES`.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import papertune
from papertune.cli.progress import TerminalListener
from papertune.errors import PapertuneError, PapertuneWarning, TrainingStopped
from papertune.tables import Table, read_table

import stages_feedback as feedback  # isort: skip - beside this file
from contest import machine  # isort: skip
from data import data_file  # isort: skip

# Draws the rows of each part.
SEED = 2
DOCUMENT = "title: {title}\nabstract: {abstract}"
LABEL = {
    "kind": "label",
    "sources": ["model"],
    "question": "Is this a medical paper? Answer 1 or 0.",
    "labels": ["1", "0"],
}


@dataclass(frozen=True)
class Stage:
    """A stage that is measured.

    Attributes:
        measure: Trains in a folder and returns the numbers, as JSON values.
        section: Returns its section of the page.
    """

    measure: Callable[[Path, argparse.Namespace], dict[str, Any]]
    section: Callable[[dict[str, Any]], str]


def main() -> None:
    """Measure the stages that are named, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; default: all")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is measured")
    parser.add_argument("--papers", type=int, default=248, help="papers that stage pt reads")
    parser.add_argument("--held-out", type=int, default=64, help="papers on which perplexity is measured")
    parser.add_argument("--rows", type=int, default=128, help="labelled rows to learn after stage pt")
    parser.add_argument("--test-rows", type=int, default=100, help="rows that are scored")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipes")
    parser.add_argument("--device")
    feedback.add_arguments(parser)
    parser.add_argument("--write", type=Path, help="write the page here; without stages, measure nothing")
    arguments = parser.parse_args()
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", PapertuneWarning)
    names = arguments.stages or ([] if arguments.write else list(STAGES))
    if unknown := [name for name in names if name not in STAGES]:
        parser.error(f"there is no stage {unknown[0]}; there are: {', '.join(STAGES)}")
    try:
        for name in names:
            file = arguments.output / f"{name}.json"
            if not file.exists():
                numbers = STAGES[name].measure(arguments.output / name, arguments)
                described = {
                    "machine": machine(torch.get_num_threads(), arguments.device or "cpu"),
                    "date": time.strftime("%Y-%m-%d"),
                    "command": " ".join(["python benchmarks/stages.py", *sys.argv[1:]]),
                }
                file.write_text(json.dumps({**numbers, **described}, indent=2) + "\n", "utf-8")
    except PapertuneError as error:
        parser.exit(2, f"error: {error}\n")
    except TrainingStopped as stopped:
        parser.exit(128 + stopped.signal, f"{stopped}\n")
    page = arguments.write or arguments.output / "stages.md"
    page.write_text(write_page(arguments.output), "utf-8")
    print(f"{page}: the page")


def write_page(folder: Path) -> str:
    """Return the page of the stages that a folder has results of."""
    parts = ["# What the stages gain and cost\n"]
    for name, stage in STAGES.items():
        file = folder / f"{name}.json"
        if file.is_file():
            numbers = json.loads(file.read_text("utf-8"))
            of = numbers["machine"]
            where = f"{of['cpu']}, {of['threads']} threads, {of['device']}, {numbers['date']}"
            parts.append(f"{stage.section(numbers).rstrip()}\n\n`{numbers['command']}` on {where}.\n")
    return "\n".join(parts)


def train(folder: Path, table: Table, recipe: dict[str, Any], arguments: argparse.Namespace, **options: Any) -> Any:
    """Train a run, or finish or open the one that the folder has."""
    with TerminalListener(folder.name) as listener:
        return papertune.train(
            table,
            {"model": arguments.model, "table": {"document": DOCUMENT}, **recipe},
            folder,
            overrides=arguments.overrides,
            device=arguments.device,
            resume=True,
            listener=listener,
            **options,
        )


def drawn(name: str, rows: int, seed: int = SEED, stratify: str | None = None) -> Table:
    """Return a number of rows of a table, the same ones each time; all if it has no more."""
    table = read_table(str(data_file(name)))
    return table if rows >= len(table) else table.split(rows / len(table), seed, stratify)[1]


def kept(file: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the numbers in a file, measured and written there if it does not exist."""
    if not file.exists():
        numbers = measure()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(numbers) + "\n", "utf-8")
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def measure_pt(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Read papers; then learn labels from there and from the base model, with the same rows."""
    # A few more papers choose the checkpoint; perplexity is measured on the others.
    choosing = max(2, arguments.held_out // 4)
    recipe = {"stage": {"kind": "pt"}, "training": {"micro_batch_size": 4, "dev_rows": choosing, "logging_steps": 4}}
    papers = drawn("keywords_train.csv", arguments.papers)
    dev = drawn("keywords_dev.csv", arguments.held_out + choosing)
    run = train(folder / "pt", papers, recipe, arguments, dev=dev)
    test = drawn("papers_dev.csv", arguments.test_rows, stratify="label")
    accuracy: dict[str, list[float]] = {"with": [], "without": []}
    for seed in range(arguments.seeds):
        rows = drawn("papers_train.csv", arguments.rows, seed, "label")
        for name, found in accuracy.items():
            method = {"start_from": str(folder / "pt")} if name == "with" else {}
            training = {"micro_batch_size": 4, "epochs": 2, "seed": seed}
            # The beginning of an abstract says what it is about, in half of the time.
            encoding = {"max_prompt_tokens": 160}
            learned = {"columns": {"label": LABEL}, "method": method, "training": training, "encoding": encoding}
            place = folder / f"label-{arguments.rows}-{name}-{seed}"

            def measure(place: Path = place, learned: dict[str, Any] = learned, rows: Table = rows) -> dict[str, Any]:
                predicted = train(place, rows, learned, arguments).predict(test)["label"].to_list()
                gold = test.column("label")
                return {"accuracy": sum(map(str.__eq__, predicted, gold)) / len(gold)}

            found.append(kept(place.with_suffix(".json"), measure)["accuracy"])
    return {
        **run.manifest.stage_results,
        "seconds": run.manifest.seconds,
        "steps": run.manifest.steps,
        "rows": arguments.rows,
        "test_rows": len(test),
        "accuracy": accuracy,
    }


def pt_section(numbers: dict[str, Any]) -> str:
    """Return the section about stage pt."""
    lower = 1 - numbers["perplexity_after"] / numbers["perplexity_before"]
    interval = f"{numbers['nll_difference_low']:+.3f} to {numbers['nll_difference_high']:+.3f}"
    rows = [
        f"| after reading | {numbers['perplexity_after']:.2f} | {_mean(numbers['accuracy']['with'])} |",
        f"| without | {numbers['perplexity_before']:.2f} | {_mean(numbers['accuracy']['without'])} |",
    ]
    return "\n".join(
        [
            "## pt",
            "",
            f"{numbers['papers']:,.0f} papers ({numbers['tokens']:,.0f} tokens) were read: {numbers['steps']:,} steps, "
            f"{numbers['seconds'] / 60:.0f} minutes. The perplexity of {numbers['held_out_papers']:,.0f} unseen papers "
            f"is {lower:.1%} lower; a token {numbers['nll_difference']:+.3f} nats (95% interval {interval}). Then "
            f"{numbers['rows']:,} labelled rows were learned, and {numbers['test_rows']:,} others scored.",
            "",
            f"| | perplexity | accuracy of the label, mean of {len(numbers['accuracy']['with'])} seeds (each) |",
            "| --- | --- | --- |",
            *rows,
        ]
    )


def _mean(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, PapertuneWarning):
        print(f"warning: {message}", file=sys.stderr, flush=True)


STAGES = {
    "pt": Stage(measure_pt, pt_section),
    "rm": Stage(feedback.measure_rm, feedback.rm_section),
    **{name: Stage(feedback.preferring(name), feedback.preferring_section(name)) for name in ("dpo", "kto")},
    **{name: Stage(feedback.rewarding(name), feedback.rewarding_section(name)) for name in ("rloo", "grpo")},
}


if __name__ == "__main__":
    main()
