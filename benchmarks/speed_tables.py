"""How the speed benchmarks show their numbers: a table for people, in Markdown, and a line of JSON."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneError


def answer(parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], dict[str, Any]]) -> None:
    """Read the command line, measure, and print the result as JSON; mistakes of the user end with exit code 2."""
    arguments = parser.parse_args()
    try:
        result = measure(arguments)
    except PapertuneError as error:
        parser.exit(2, f"error: {error}\n")
    print(json.dumps(result))


def way_lines(
    systems: Mapping[str, Mapping[str, Any]], cells: Callable[[Mapping[str, Any]], Sequence[str]]
) -> list[list[str]]:
    """Return the table's lines: name and cells of each system, or why it was not measured."""
    return [
        [name, f"not measured: {facts['not_measured']}"] if "not_measured" in facts else [name, *cells(facts)]
        for name, facts in systems.items()
    ]


def show(
    title: str,
    head: Sequence[str],
    lines: Sequence[Sequence[str]],
    notes: Sequence[str],
    machine: Mapping[str, Any],
    output: Path | None,
) -> None:
    """Print a table with its machine and notes, and write it to a file if one is given.

    Args:
        title: Of the table.
        head: Names of the columns.
        lines: Cells of each row; a row may have fewer.
        notes: A line each.
        machine: As `contest.machine` describes it.
        output: The Markdown file; its folder is made.
    """
    widths = [max(len(line[i]) for line in [head, *lines] if len(line) == len(head)) for i in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)) + " |"

    full = [[*line, *[""] * (len(head) - len(line))] for line in lines]
    text = [f"## {title}", "", *notes, described(machine), ""]
    text += [row(head), row(["-" * width for width in widths]), *map(row, full)]
    print("\n".join(text), flush=True)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("\n".join(text) + "\n", encoding="utf-8")


def described(machine: Mapping[str, Any]) -> str:
    """Say in a line what machine it was, and when."""
    place = f"{machine.get('gpu', machine['cpu'])}, {machine['threads']} threads of {machine['cores']} cores"
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "transformers", "peft"))
    return f"{place}; {versions}; {time.strftime('%Y-%m-%d')}"


def rates(rate: Mapping[str, float]) -> str:
    """Write a median with its range."""
    return f"{rate['median']:.3g} ({rate['low']:.3g}-{rate['high']:.3g})"


def gigabytes(count: float) -> str:
    """Write bytes as GB."""
    return f"{count / 1e9:.2f}"


def described_ceilings(ceilings: Mapping[str, Any]) -> str:
    """Write the ceilings, or why there are none."""
    return ", ".join(
        f"{name} {rate / 1e9:.0f}" if isinstance(rate, float) else f"{name.replace('_', ' ')}: {rate}"
        for name, rate in ceilings.items()
    )
