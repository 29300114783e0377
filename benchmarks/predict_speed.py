"""Label prediction: the tutorial's way, batches, papertune and other tools, in turns on the same rows and weights.

    python benchmarks/predict_speed.py --run RUN                            all rows of papers_dev.csv, three rounds
    python benchmarks/predict_speed.py --run RUN --contestant vllm=PYTHON   vLLM too, from an environment that has it
    python benchmarks/predict_speed.py --run RUN --contestant llama.cpp-q8_0=PYTHON --contestant llama.cpp-q4_0=PYTHON
    python benchmarks/predict_speed.py --rows 24 --table examples/papers.csv
    python benchmarks/predict_speed.py --run RUN --columns label,Keywords   one column, the other, both at once

Without --run, a run of medical-papers is made in a few steps: fast enough to measure with, and its labels mean nothing.

Each system is a process of its own, which has loaded before the first round; contest.py has the turns. They get the
same token ids, but papertune gets the table: reading its cells, encoding the prompts and writing the column are counted
for papertune alone. Rates are medians of the rounds, with the range. Memory is the resident memory of the system's
process at its peak, loading included; on a GPU, what PyTorch had allocated.

The share of the ceiling counts the work that a label needs, whichever system does it: 2 operations for each weight
and token but for the embedding, and the output layer at one position. The ceiling is measured in the same rounds, as
torch.mm of the model's own shapes (contestants/products.py) in the dtype of that system. One line of JSON last.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from papertune.exports.export import export
from papertune.exports.formats.gguf import MODEL_FILE
from papertune.kinds import LabelColumn
from papertune.kinds.label.cells import read_label
from papertune.models import choose_device
from papertune.prompts import PromptEncoder
from papertune.recipe import Recipe
from papertune.tables import Table, write_table

from columns_speed import compare_columns  # isort: skip - beside this file
from contest import System, best_ceilings, ceiling, chosen, compete, foreign, machine  # isort: skip
from material import (  # isort: skip
    PRECISIONS,
    Weights,
    add_options,
    add_run_options,
    auto_dtype,
    evenly_over_lengths,
    prepared_run,
    prompts_of,
    table_rows,
)
from speed_tables import answer, described_ceilings, gigabytes, rates, show, way_lines  # isort: skip

TOOLS = {
    "vllm": "contestants.vllm",
    "llama.cpp-q8_0": "contestants.llama_cpp",
    "llama.cpp-q4_0": "contestants.llama_cpp",
    "zentorch": "contestants.zentorch",
}
# The weights of the export that llama.cpp gets, and what it computes with.
GGUF = {"llama.cpp-q8_0": ("q8_0", "Q8_0"), "llama.cpp-q4_0": ("f16", "Q4_0")}
TOOLS_WORK = {
    "vllm": "one decoding step, label tokens only, shared prefixes cached (2 GiB set apart on a CPU)",
    **dict.fromkeys(GGUF, "one pass a prompt, logits at its last token, the beginning that it shares is cached"),
    "zentorch": "one pass a prompt, logits at its last token",
}
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, rows=None, table="papers_dev.csv")
    add_run_options(parser)
    parser.add_argument("--columns", help="NAME,NAME: time papertune on each column alone and on both together")
    parser.add_argument("--precision", default="auto", help="of --columns")
    parser.add_argument("--force", action="store_true", help="measure bf16 where the processor is slow at it")
    answer(parser, lambda arguments: compare_columns(arguments) if arguments.columns else compare_ways(arguments))


def compare_ways(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the ways of filling in a label column, and print the table."""
    device = choose_device(arguments.device)
    with prepared_run(arguments, ["label"]) as (run, weights, tokenizer), tempfile.TemporaryDirectory() as folder:
        column = next((name for name, each in run.recipe.columns.items() if isinstance(each, LabelColumn)), None)
        if column is None:
            raise SystemExit(f"error: {weights.run} has no label column.")
        table = table_rows(arguments, "papers_dev.csv")
        lengths = [len(ids) for ids in prompts_of(table, run.recipe, tokenizer, column)]
        rows = table.take(evenly_over_lengths(lengths, arguments.rows))
        path = Path(folder) / "rows.csv"
        write_table(rows.frame, path)
        prompts = prompts_of(rows, run.recipe, tokenizer, column)
        systems = label_systems(arguments, run.recipe, weights, tokenizer, column, path, device)
        add_gguf_files(systems, weights.run, arguments.base, Path(folder))
        products = ceiling(weights.shapes, systems, device)
        common = {"device": device, "prompts": prompts}
        entered = [*systems, products]
        compete(entered, common, rounds=arguments.rounds, threads=arguments.threads, timeout_s=arguments.timeout)
        tokens = sum(map(len, prompts))
        operations = 2.0 * weights.multiplied * tokens + 2.0 * weights.head * len(rows)
        gold = known_labels(rows, run.recipe, column)
    ceilings = best_ceilings(products)
    result: dict[str, Any] = {
        "benchmark": "predict_speed",
        "machine": machine(arguments.threads, device),
        "run": str(arguments.run or f"made here in {arguments.steps} steps"),
        "rows": len(rows),
        "prompt_tokens": tokens,
        "rounds": arguments.rounds,
        "operations_a_row": operations / len(rows),
        "ceilings": ceilings,
        "contestants": {},
    }
    reference = next(each for each in systems if each.name == "papertune fp32")
    expected = labels_of(reference, column) if reference.is_measured else None
    for each in systems:
        result["contestants"][each.name] = measured(
            each, column, len(rows), tokens, operations, ceilings, expected, gold
        )
    base = result["contestants"]["tutorial"]
    for facts in result["contestants"].values():
        if "rows_per_s" in facts and "rows_per_s" in base:
            facts["times_tutorial"] = round(facts["rows_per_s"]["median"] / base["rows_per_s"]["median"], 3)
    print_ways(result, arguments.output)
    return result


def label_systems(
    arguments: argparse.Namespace,
    recipe: Recipe,
    weights: Weights,
    tokenizer: Any,
    column: str,
    table: Path,
    device: str,
) -> list[System]:
    """List the systems, including those that are not measured here."""
    spec = recipe.columns[column]
    assert isinstance(spec, LabelColumn)
    ids = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat).label_ids(spec.labels)
    label_ids = dict(zip(spec.labels, ids, strict=True))
    steps = max(map(len, ids)) + 1
    dtype = auto_dtype(device)
    generating = {
        "label_ids": label_ids,
        "max_new_tokens": steps,
        "precision": PRECISIONS[dtype],
        "dtype": dtype,
    }
    unmerged = {**generating, "model": weights.base, "adapter": str(weights.adapter)}
    merged = {**generating, "model": str(weights.merged), "adapter": None}
    found = [
        System(
            "tutorial",
            "contestants.generate",
            {**unmerged, "batch_size": 1, "temperature": 0.01},
            f"row by row, {steps} decoding steps, sampling, full vocabulary, LoRA unmerged",
        ),
        System(
            "batched generate",
            "contestants.generate",
            {**merged, "batch_size": 8, "temperature": None},
            f"8 rows left-padded, {steps} decoding steps, greedy, full vocabulary",
        ),
    ]
    for precision in ("fp32", "bf16", "int8"):
        job = {
            "run": str(weights.run),
            "base": None if arguments.base is None else str(arguments.base),
            "table": str(table),
            "columns": [column],
            "precision": precision,
            "dtype": DTYPES[precision],
            "overrides": [],
        }
        each = System(f"papertune {precision}", "contestants.papertune", job, "one pass, scores of the labels")
        if precision == "bf16" and dtype != "bfloat16" and not arguments.force:
            each.reason = "this processor is slow at bfloat16; --force measures it anyway"
        found.append(each)
    for each in foreign(arguments.contestant, TOOLS, TOOLS_WORK):
        each.job = merged
        found.append(each)
    return chosen(found, arguments.only, always=("papertune fp32",))


def add_gguf_files(systems: Sequence[System], run: Path, base: Path | None, folder: Path) -> None:
    """Export a run for those systems that are llama.cpp and measured."""
    for system in systems:
        if system.name in GGUF and system.reason is None:
            weights, quantization = GGUF[system.name]
            export(run, folder / weights, to="gguf", weights=weights, device="cpu", base=base)
            # All of its products have activations in 8 bits.
            gguf = str(folder / weights / MODEL_FILE)
            system.job = {**system.job, "gguf": gguf, "quantization": quantization, "dtype": "int8"}


def known_labels(rows: Table, recipe: Recipe, column: str) -> list[str | None] | None:
    """Return the table's own labels, if it has them."""
    if column not in rows.columns:
        return None
    spec = recipe.columns[column]
    assert isinstance(spec, LabelColumn)
    return [read_label(cell, spec.labels) for cell in rows.column(column)]


def labels_of(system: System, column: str) -> list[str | None]:
    """Return the labels of the last round."""
    last = system.rounds[-1]
    labels: list[str | None] = last["cells"][column] if "cells" in last else last["labels"]
    return labels


def measured(
    system: System,
    column: str,
    rows: int,
    tokens: int,
    operations: float,
    ceilings: dict[str, Any],
    expected: Sequence[str | None] | None,
    gold: Sequence[str | None] | None,
) -> dict[str, Any]:
    """Return the results of a system.

    Args:
        system: After its rounds.
        column: The label column.
        rows: Rows of a round.
        tokens: Prompt tokens of a round.
        operations: That a round needs.
        ceilings: Operations a second, by dtype.
        expected: The labels of the reference in float32.
        gold: The gold labels; None where a cell has none.
    """
    if not system.is_measured:
        return {"not_measured": system.reason or "no round was done"}
    labels = labels_of(system, column)
    dtype = system.job["dtype"]
    top = ceilings.get(dtype)
    facts: dict[str, Any] = {
        "work": system.work,
        "dtype": dtype,
        "rows_per_s": system.rates(rows),
        "tokens_per_s": system.rates(tokens)["median"],
        "seconds": system.seconds,
        "load_s": system.ready["load_s"],
        "peak_bytes": system.peak_bytes,
        "loaded_bytes": system.ready["loaded_bytes"],
        "versions": system.ready["versions"],
        "worked_while_waiting_s": round(system.worked_while_waiting_s, 2),
        "unreadable": labels.count(None),
    }
    if isinstance(top, float):
        facts["share_of_ceiling"] = system.rates(operations)["median"] / top
    if expected is not None:
        facts["agreement"] = sum(a is not None and a == b for a, b in zip(labels, expected, strict=True)) / rows
    if gold is not None and any(label is not None for label in gold):
        pairs = [(predicted, label) for predicted, label in zip(labels, gold, strict=True) if label is not None]
        facts["accuracy"] = sum(predicted == label for predicted, label in pairs) / len(pairs)
    return facts


def print_ways(result: dict[str, Any], output: Path | None) -> None:
    """Print the table, and write it."""

    def cells(facts: Mapping[str, Any]) -> list[str]:
        return [
            rates(facts["rows_per_s"]),
            f"{facts['tokens_per_s']:.0f}",
            f"{facts['times_tutorial']:.2f}" if "times_tutorial" in facts else "",
            f"{facts['share_of_ceiling']:.0%} of {facts['dtype']}" if "share_of_ceiling" in facts else "not measured",
            gigabytes(facts["peak_bytes"]),
            f"{facts['agreement']:.1%}" if "agreement" in facts else "",
            f"{facts['accuracy']:.1%}" if "accuracy" in facts else "",
            facts["work"] + (f"; {facts['unreadable']} answers are no label" if facts["unreadable"] else ""),
        ]

    head = ["way", "rows/s (range)", "tokens/s", "x tutorial", "of ceiling", "peak GB"]
    head += ["as fp32", "accuracy", "work"]
    notes = [
        f"{result['rows']} rows, {result['prompt_tokens'] / result['rows']:.0f} prompt tokens each, "
        f"{result['operations_a_row'] / 1e9:.1f} GFLOP a row (2 x weights x tokens, output layer once); "
        f"medians of {result['rounds']} rounds in turns; run: {result['run']}",
        "ceilings, Gop/s of matrix products: " + described_ceilings(result["ceilings"]),
    ]
    show("Prediction", head, way_lines(result["contestants"], cells), notes, result["machine"], output)


if __name__ == "__main__":
    main()
