"""Keywords: the tutorial's way, batches, and papertune's lists and ranked keywords, in turns on the same rows.

    python benchmarks/generate_speed.py --run RUN --ranked-run RUN     all rows of keywords_dev.csv, three rounds
    python benchmarks/generate_speed.py --rows 8 --table examples/papers.csv

--run is a run whose column Keywords has kind = "keywords": the number of generated tokens is most of the work.
--ranked-run is one of kind = "ranked_keywords". Without them a run of lists is made in a few steps; it seldom ends a
list by itself. Without --ranked-run its weights are asked for ranked keywords too.

Each system is a process of its own; contest.py has the turns. "generated" counts the tokens that `generate` gives,
the end token included. papertune returns cells only, so the tokens of its cells and one end token each are counted,
without a truncated last keyword. Ranked keywords come from a search: their tokens are few, the work is
that of all beams. One line of JSON last.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from papertune.kinds import KeywordsColumn, RankedKeywordsColumn
from papertune.models import choose_device
from papertune.prompts import PromptEncoder
from papertune.recipe import Recipe, load_recipe
from papertune.run import load_run
from papertune.tables import write_table

from contest import System, chosen, compete, machine  # isort: skip - beside this file
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
from speed_tables import answer, gigabytes, rates, show, way_lines  # isort: skip

LIST = 'columns.Keywords={kind="keywords", question="List the keywords of this paper, separated by semicolons."}'
RANKED = 'columns.Keywords={kind="ranked_keywords", question="Name one keyword of this paper."}'


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, rows=None, table="keywords_dev.csv")
    add_run_options(parser)
    parser.add_argument("--ranked-run", type=Path, help="a run of ranked keywords; default: the same weights")
    parser.add_argument("--precision", help="of papertune; default: that of the others")
    answer(parser, compare)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the ways of writing keywords, and print the table."""
    device = choose_device(arguments.device)
    with (
        prepared_run(arguments, ["Keywords"], [LIST]) as (run, weights, tokenizer),
        tempfile.TemporaryDirectory() as folder,
    ):
        if not isinstance(run.recipe.columns.get("Keywords"), KeywordsColumn):
            raise SystemExit(f'error: {weights.run} has no column Keywords of kind = "keywords".')
        table = table_rows(arguments, "keywords_dev.csv")
        lengths = [len(ids) for ids in prompts_of(table, run.recipe, tokenizer, "Keywords")]
        rows = table.take(evenly_over_lengths(lengths, arguments.rows))
        path = Path(folder) / "rows.csv"
        write_table(rows.frame, path)
        prompts = prompts_of(rows, run.recipe, tokenizer, "Keywords")
        systems = keyword_systems(arguments, run.recipe, weights, path, device)
        compete(
            systems,
            {"device": device, "prompts": prompts},
            rounds=arguments.rounds,
            threads=arguments.threads,
            timeout_s=arguments.timeout,
        )
        encoder = PromptEncoder(tokenizer, run.recipe.encoding, chat=run.recipe.chat)
        facts = {each.name: measured(each, encoder, len(rows)) for each in systems}
    base = facts["tutorial"]
    for each in facts.values():
        if "rows_per_s" in each and "rows_per_s" in base:
            each["times_tutorial"] = round(each["rows_per_s"]["median"] / base["rows_per_s"]["median"], 3)
    result = {
        "benchmark": "generate_speed",
        "machine": machine(arguments.threads, device),
        "run": str(arguments.run or f"made here in {arguments.steps} steps"),
        "ranked_run": str(arguments.ranked_run or "the same weights"),
        "rows": len(rows),
        "prompt_tokens": sum(map(len, prompts)),
        "rounds": arguments.rounds,
        "contestants": facts,
    }
    print_ways(result, arguments.output)
    return result


def keyword_systems(
    arguments: argparse.Namespace, recipe: Recipe, weights: Weights, table: Path, device: str
) -> list[System]:
    """List the systems."""
    column = recipe.columns["Keywords"]
    assert isinstance(column, KeywordsColumn)
    limit = column.max_new_tokens
    precision = PRECISIONS[auto_dtype(device)]
    generating = {"label_ids": None, "max_new_tokens": limit, "precision": precision}
    ranked_recipe, asking = recipe, []
    if arguments.ranked_run is not None:
        ranked_recipe = load_run(arguments.ranked_run).recipe
        if not isinstance(ranked_recipe.columns.get("Keywords"), RankedKeywordsColumn):
            raise SystemExit(f'error: {arguments.ranked_run} has no column Keywords of kind = "ranked_keywords".')
    else:
        ranked_recipe, asking = load_recipe(recipe, [RANKED]), [RANKED]
    ranked = ranked_recipe.columns["Keywords"]
    assert isinstance(ranked, RankedKeywordsColumn)
    job = {
        "run": str(weights.run),
        "base": None if arguments.base is None else str(arguments.base),
        "table": str(table),
        "columns": ["Keywords"],
        "precision": arguments.precision or precision,
        "overrides": [],
    }
    found = [
        System(
            "tutorial",
            "contestants.generate",
            {
                **generating,
                "model": weights.base,
                "adapter": str(weights.adapter),
                "batch_size": 1,
                "temperature": 0.01,
            },
            f"row by row, up to {limit} tokens, sampling, LoRA unmerged; repeats itself freely",
        ),
        System(
            "batched generate",
            "contestants.generate",
            {**generating, "model": str(weights.merged), "adapter": None, "batch_size": 8, "temperature": None},
            f"8 rows left-padded, up to {limit} tokens, greedy; a batch ends with its last row",
        ),
        System(
            "papertune list",
            "contestants.papertune",
            job,
            f"sorted batches, up to {limit} tokens, greedy, no keyword twice",
        ),
        System(
            "papertune ranked",
            "contestants.papertune",
            {**job, "run": str(arguments.ranked_run or weights.run), "overrides": asking},
            f"search with {ranked.beams} beams of up to {ranked.max_keyword_tokens} tokens, {ranked.count} keywords",
        ),
    ]
    return chosen(found, arguments.only)


def measured(system: System, encoder: PromptEncoder, rows: int) -> dict[str, Any]:
    """Return the results of a system."""
    if not system.is_measured:
        return {"not_measured": system.reason or "no round was done"}
    last = system.rounds[-1]
    if "generated" in last:
        texts, generated, counted = last["texts"], last["generated"], "generated"
    else:
        texts = [cell or "" for cell in last["cells"]["Keywords"]]
        generated, counted = sum(len(encoder.encode_text(text)) + 1 for text in texts), "in the cells"
    return {
        "work": system.work,
        "rows_per_s": system.rates(rows),
        "answer_tokens": generated,
        "answer_tokens_are": counted,
        "answer_tokens_per_s": system.rates(generated)["median"],
        "seconds": system.seconds,
        "load_s": system.ready["load_s"],
        "peak_bytes": system.peak_bytes,
        "versions": system.ready["versions"],
        "worked_while_waiting_s": round(system.worked_while_waiting_s, 2),
        "first_answer": texts[0][:200],
    }


def print_ways(result: dict[str, Any], output: Path | None) -> None:
    """Print the table, and write it."""

    def cells(facts: Mapping[str, Any]) -> list[str]:
        return [
            rates(facts["rows_per_s"]),
            f"{facts['answer_tokens'] / result['rows']:.1f} {facts['answer_tokens_are']}",
            f"{facts['answer_tokens_per_s']:.1f}",
            f"{facts['times_tutorial']:.2f}" if "times_tutorial" in facts else "",
            gigabytes(facts["peak_bytes"]),
            facts["work"],
        ]

    head = ["way", "rows/s (range)", "answer tokens a row", "answer tokens/s", "x tutorial", "peak GB", "work"]
    notes = [
        f"{result['rows']} rows, {result['prompt_tokens'] / result['rows']:.0f} prompt tokens each; medians of "
        f"{result['rounds']} rounds in turns; run: {result['run']}; ranked: {result['ranked_run']}",
    ]
    show("Generation", head, way_lines(result["contestants"], cells), notes, result["machine"], output)


if __name__ == "__main__":
    main()
