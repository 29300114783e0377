"""Several columns in one run of papertune against each alone: the document goes through the model once for all."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from papertune.models import choose_device
from papertune.tables import write_table

from contest import System, compete, machine  # isort: skip - beside this file
from material import evenly_over_lengths, prepared_run, prompts_of, table_rows  # isort: skip
from speed_tables import gigabytes, rates, show  # isort: skip


def compare_columns(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each column alone and all in one run, and print the table.

    What all together may cost: 1.3 times the first column alone, which should be a label (it is all prefill), and the
    decoding of the others, which is what each takes longer than the first.
    """
    names = arguments.columns.split(",")
    device = choose_device(arguments.device)
    if len(names) < 2:
        raise SystemExit("error: --columns: name at least two, a label first, such as --columns label,Keywords.")
    with prepared_run(arguments, names) as (run, weights, tokenizer), tempfile.TemporaryDirectory() as folder:
        if unknown := [name for name in names if name not in run.recipe.columns]:
            raise SystemExit(
                f"error: --columns: the run has no column {unknown[0]}. It has: {', '.join(run.recipe.columns)}."
            )
        table = table_rows(arguments, "papers_dev.csv")
        lengths = [len(ids) for ids in prompts_of(table, run.recipe, tokenizer, names[0])]
        rows = table.take(evenly_over_lengths(lengths, arguments.rows))
        path = Path(folder) / "rows.csv"
        write_table(rows.frame, path)
        job = {
            "run": str(weights.run),
            "base": None if arguments.base is None else str(arguments.base),
            "table": str(path),
            "precision": arguments.precision,
            "overrides": [],
        }
        systems = [
            System(" + ".join(columns), "contestants.papertune", {**job, "columns": columns}, "papertune")
            for columns in [*([name] for name in names), names]
        ]
        compete(
            systems,
            {"device": device},
            rounds=arguments.rounds,
            threads=arguments.threads,
            timeout_s=arguments.timeout,
        )
    result: dict[str, Any] = {
        "benchmark": "predict_columns",
        "machine": machine(arguments.threads, device),
        "run": str(arguments.run or f"made here in {arguments.steps} steps"),
        "precision": arguments.precision,
        "rows": len(rows),
        "rounds": arguments.rounds,
        "contestants": {each.name: _measured(each, len(rows)) for each in systems},
    }
    if all(each.is_measured for each in systems):
        seconds = [len(rows) / each.rates(len(rows))["median"] for each in systems]
        first, others, together = seconds[0], seconds[1:-1], seconds[-1]
        decoding = sum(max(0.0, each - first) for each in others)
        result["decoding_s"] = decoding
        result["allowed_s"] = 1.3 * first + decoding
        result["together_s"] = together
        result["times_prefill"] = (together - decoding) / first
    _print(result, arguments.output)
    return result


def _measured(system: System, rows: int) -> dict[str, Any]:
    if not system.is_measured:
        return {"not_measured": system.reason}
    return {
        "rows_per_s": system.rates(rows),
        "seconds": system.seconds,
        "peak_bytes": system.peak_bytes,
        "load_s": system.ready["load_s"],
        "versions": system.ready["versions"],
    }


def _print(result: dict[str, Any], output: Path | None) -> None:
    lines = []
    for name, facts in result["contestants"].items():
        if "not_measured" in facts:
            lines.append([name, f"not measured: {facts['not_measured']}"])
        else:
            seconds = result["rows"] / facts["rows_per_s"]["median"]
            lines.append([name, rates(facts["rows_per_s"]), f"{seconds:.2f}", gigabytes(facts["peak_bytes"])])
    notes = [f"{result['rows']} rows, precision {result['precision']}; run: {result['run']}"]
    if "allowed_s" in result:
        notes.append(
            f"together {result['together_s']:.2f} s: decoding {result['decoding_s']:.2f} s and "
            f"{result['times_prefill']:.2f} x the first column alone (at most 1.3 is wanted)"
        )
    head = ["columns", "rows/s (range)", "seconds", "peak GB"]
    show("Columns in one run", head, lines, notes, result["machine"], output)
