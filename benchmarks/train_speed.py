"""Training labels: transformers' Trainer as it comes, papertune and other tools, in turns on the same rows.

    python benchmarks/train_speed.py                              64 rows of papers_train.csv, three rounds
    python benchmarks/train_speed.py --score                      dev accuracy after the last round too
    python benchmarks/train_speed.py --contestant trl=PYTHON --contestant llamafactory=PYTHON
    python benchmarks/train_speed.py --rows 8 --rounds 1 --table examples/papers.csv

The same base model, rows and settings for all: one epoch, LoRA rank 8 and alpha 16 on all linear layers, batches of 8,
AdamW, 1e-3, cosine. The Trainer takes rows as they come, pads them to the longest of the batch and computes logits and
loss over the whole vocabulary at every position; "trainer, answers" has targets on the answers only, which costs the
same and learns better. papertune's recipe is medical-papers; --set overrides it.

Each system is a process of its own; contest.py has the turns. A round begins with a fresh adapter; loading and
encoding are not counted. Memory is the resident memory of the process at its peak, loading included; on a GPU, what
PyTorch had allocated. The share of the ceiling counts 4 operations for each weight and real token but for embedding
and output layer: forward, and the gradients of the activations, since LoRA needs none of the weights. The ceiling is
torch.mm of the model's own shapes, measured in the same rounds. One line of JSON last.
"""

import argparse
import gc
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from papertune.evaluation.dev_score import DevScore
from papertune.kinds import LabelColumn
from papertune.methods import load_adapter, merge_adapter
from papertune.models import choose_device, choose_dtype, find_base, load_model
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import training_examples
from papertune.recipe import LoraMethod, Recipe, load_recipe
from papertune.tables import Table, read_table, write_table

from contest import System, best_ceilings, ceiling, chosen, compete, foreign, machine  # isort: skip
from data import data_file  # isort: skip - beside this file
from material import add_options, auto_dtype, evenly_over_lengths, linear_shapes, prompts_of, table_rows  # isort: skip
from speed_tables import answer, described_ceilings, gigabytes, rates, show, way_lines  # isort: skip

TOOLS = {"trl": "contestants.trl", "llamafactory": "contestants.llamafactory"}
TOOLS_WORK = {
    "trl": "rows in the given order, targets on answers, no gradient checkpointing",
    "llamafactory": "rows in the given order, targets on answers, no gradient checkpointing; its own count of time",
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, rows=64, table="papers_train.csv")
    parser.add_argument("--base", type=Path, help="the base model's folder, if it has moved")
    parser.add_argument("--score", action="store_true", help="score the adapters of the last round")
    parser.add_argument("--dev", type=Path, help="the table of --score; default: papers_dev.csv of PAPERTUNE_DATA")
    parser.add_argument("--dev-rows", type=int, help="number of its rows")
    answer(parser, compare)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the ways of training, and print the table."""
    device = choose_device(arguments.device)
    recipe = load_recipe("medical-papers", ["training.epochs=1", *arguments.overrides]).only(("label",))
    base = find_base(recipe.model, arguments.base)
    model, tokenizer = load_model(base, precision="fp32", device="cpu")
    shapes = linear_shapes(model)
    del model
    gc.collect()
    multiplied = sum(inner * outer * count for inner, outer, count in shapes)
    table = table_rows(arguments, "papers_train.csv")
    lengths = [len(ids) for ids in prompts_of(table, recipe, tokenizer, "label")]
    rows = table.take(evenly_over_lengths(lengths, arguments.rows))
    dev = read_table(str(arguments.dev or data_file("papers_dev.csv"))) if arguments.score else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(rows.frame, folder / "rows.csv")
        tokenizer.save_pretrained(folder / "tokenizer")
        common = {"device": device, "model": base.location, "tokenizer": str(folder / "tokenizer")}
        systems = training_systems(arguments, recipe, tokenizer, rows, folder, device)
        products = ceiling(shapes, systems, device)
        compete(
            [*systems, products],
            common,
            rounds=arguments.rounds,
            threads=arguments.threads,
            timeout_s=arguments.timeout,
        )
        tokens = sum(len(ids) for ids in prompts_of(rows, recipe, tokenizer, "label"))
        ceilings = best_ceilings(products)
        facts = {each.name: measured(each, len(rows), tokens, 4.0 * multiplied * tokens, ceilings) for each in systems}
        if dev is not None:
            _, part = dev.split(arguments.dev_rows / len(dev), 0) if arguments.dev_rows else (None, dev)
            for each in systems:
                if each.is_measured:
                    facts[each.name]["dev"] = dev_scores(each, part, recipe, base, device)
    plain = facts["trainer"]
    for each_facts in facts.values():
        if "rows_per_s" in each_facts and "rows_per_s" in plain:
            each_facts["times_trainer"] = each_facts["rows_per_s"]["median"] / plain["rows_per_s"]["median"]
            each_facts["memory_of_trainer"] = each_facts["peak_bytes"] / plain["peak_bytes"]
    result = {
        "benchmark": "train_speed",
        "machine": machine(arguments.threads, device),
        "rows": len(rows),
        "prompt_tokens": tokens,
        "rounds": arguments.rounds,
        "operations_a_row": 4.0 * multiplied * tokens / len(rows),
        "ceilings": ceilings,
        "settings": training_settings(recipe, len(rows)),
        "contestants": facts,
    }
    print_ways(result, arguments.output)
    return result


def training_settings(recipe: Recipe, rows: int) -> dict[str, Any]:
    """Return the settings that all systems have."""
    method, spec = recipe.method, recipe.training
    if not isinstance(method, LoraMethod) or method.targets != "all-linear" or spec.accumulation != 1:
        raise SystemExit('error: --set: all systems train LoRA with targets = "all-linear", without accumulation.')
    steps = -(-rows // spec.micro_batch_size)
    return {
        "rank": method.rank,
        "alpha": method.alpha,
        "batch_size": spec.micro_batch_size,
        "learning_rate": spec.learning_rate,
        "schedule": {"constant": "constant_with_warmup"}.get(spec.schedule, spec.schedule),
        "warmup_steps": min(spec.warmup_steps, steps // 4),  # of few steps all would be warm-up
        "seed": spec.seed,
    }


def training_systems(
    arguments: argparse.Namespace, recipe: Recipe, tokenizer: Any, rows: Table, folder: Path, device: str
) -> list[System]:
    """List the systems, including those that are not measured here."""
    column = recipe.columns["label"]
    assert isinstance(column, LabelColumn)
    encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
    sequences = [
        {"prompt": encoder.encode(each.prompt).ids, "answer": column.encode_answers(each.answer, encoder)[0]}
        for each in training_examples(rows, recipe)
    ]
    settings = training_settings(recipe, len(rows))
    shared = {**settings, "dtype": auto_dtype(device), "sequences": sequences}
    plain = "rows in the given order, padded to the longest, logits and loss over the vocabulary at "
    found = [
        System(
            "trainer",
            "contestants.trainer",
            {**shared, "every_position": True, "folder": str(folder / "trainer")},
            plain + "every position",
        ),
        System(
            "trainer, answers",
            "contestants.trainer",
            {**shared, "every_position": False, "folder": str(folder / "trainer-answers")},
            plain + "every position, targets on answers",
        ),
    ]
    if not arguments.score:
        found[-1].reason = "the same work as trainer; --score measures it"
    overrides = [*arguments.overrides, "training.epochs=1", f"training.warmup_steps={settings['warmup_steps']}"]
    job = {
        "recipe": "medical-papers",
        "overrides": overrides,
        "columns": ["label"],
        "table": str(folder / "rows.csv"),
        "dtype": auto_dtype(device),
        "folder": str(folder / "papertune"),
    }
    found.append(
        System("papertune", "contestants.papertune_training", job, "sorted in groups, logits of answers only, no mask")
    )
    written = [{key: tokenizer.decode(row[key]) for key in ("prompt", "answer")} for row in sequences]
    for each in foreign(arguments.contestant, TOOLS, TOOLS_WORK):
        each.job = {**shared, "texts": written, "folder": str(folder / each.name)}
        found.append(each)
    return chosen(found, arguments.only)


def measured(system: System, rows: int, tokens: int, operations: float, ceilings: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a system.

    Args:
        system: After its rounds.
        rows: Rows of a round.
        tokens: Prompt tokens of a round, without padding.
        operations: That a round needs.
        ceilings: Operations a second, by dtype.
    """
    if not system.is_measured:
        return {"not_measured": system.reason or "no round was done"}
    dtype = system.job["dtype"]
    facts = {
        "work": system.work,
        "dtype": dtype,
        "rows_per_s": system.rates(rows),
        "tokens_per_s": system.rates(tokens)["median"],
        "seconds": system.seconds,
        "peak_bytes": system.peak_bytes,
        "steps": system.rounds[-1].get("steps"),
        "examples": system.rounds[-1].get("examples", rows),
        "versions": system.ready["versions"],
        "worked_while_waiting_s": round(system.worked_while_waiting_s, 2),
    }
    if isinstance(ceilings.get(dtype), float):
        facts["share_of_ceiling"] = system.rates(operations)["median"] / ceilings[dtype]
    return facts


def dev_scores(system: System, dev: Table, recipe: Recipe, base: Any, device: str) -> dict[str, float]:
    """Score the adapter of the last round, whoever trained it, as papertune scores labels."""
    dtype = choose_dtype("auto", device)
    model, tokenizer = load_model(base, precision="auto", device=device)
    merged = merge_adapter(load_adapter(model, Path(system.rounds[-1]["adapter"]))).eval()
    return DevScore([dev], recipe, tokenizer, dtype)(merged)


def print_ways(result: dict[str, Any], output: Path | None) -> None:
    """Print the table, and write it."""
    scored = any("dev" in facts for facts in result["contestants"].values())

    def cells(facts: Mapping[str, Any]) -> list[str]:
        return [
            rates(facts["rows_per_s"]),
            f"{facts['tokens_per_s']:.0f}",
            f"{facts['times_trainer']:.2f}" if "times_trainer" in facts else "",
            f"{facts['share_of_ceiling']:.0%} of {facts['dtype']}" if "share_of_ceiling" in facts else "not measured",
            gigabytes(facts["peak_bytes"]),
            f"{facts['memory_of_trainer']:.2f}" if "memory_of_trainer" in facts else "",
            *([f"{facts['dev']['label_accuracy']:.1%}"] if scored else []),
            facts["work"],
        ]

    head = ["way", "rows/s (range)", "tokens/s", "x trainer", "of ceiling", "peak GB", "x trainer's"]
    head += [*(["dev accuracy"] if scored else []), "work"]
    settings = ", ".join(f"{key} {value}" for key, value in result["settings"].items())
    notes = [
        f"{result['rows']} rows, {result['prompt_tokens'] / result['rows']:.0f} prompt tokens each, "
        f"{result['operations_a_row'] / 1e9:.1f} GFLOP a row (4 x weights x tokens); medians of {result['rounds']} "
        "rounds in turns",
        settings,
        "ceilings, Gop/s of matrix products: " + described_ceilings(result["ceilings"]),
    ]
    show("Training", head, way_lines(result["contestants"], cells), notes, result["machine"], output)


if __name__ == "__main__":
    main()
