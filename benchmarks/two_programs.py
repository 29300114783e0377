"""Two predictions on the same cores at once, with papertune's OpenMP setting and with OpenMP's defaults.

    python benchmarks/two_programs.py --run RUN                                60 rows of papers_dev.csv, int8
    python benchmarks/two_programs.py --rows 24 --table examples/papers.csv    a run of the small model is made first

Each round starts `papertune predict` alone, then two of them at once, with the setting
(src/papertune/startup/openmp.py) and without it. A time runs from the start of the processes to the end of the last
one. Wanted: alone at most 3% slower with the setting than without it; two at once at most 2.1 times the time of one.
The last line is JSON.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import papertune
from papertune.startup.openmp import SHORT_WAIT, USER_SETTINGS
from papertune.tables import write_table

from contest import machine, usable_cores  # isort: skip - beside this file
from material import SAMPLE_PAPERS, evenly_over_lengths, table_rows  # isort: skip
from speed_tables import answer, show  # isort: skip

# What OpenMP does without the variables: a user's value, which papertune leaves alone.
DEFAULTS = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}
WAYS = {"papertune's setting": SHORT_WAIT, "OpenMP's defaults": DEFAULTS}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="the run that predicts; default: one is made in a step")
    parser.add_argument("--table", type=Path, help="default: papers_dev.csv of PAPERTUNE_DATA")
    parser.add_argument("--rows", type=int, default=60, help="rows of each prediction, drawn evenly over their lengths")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of each program")
    parser.add_argument("--precision", default="int8", help="of the predictions")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], help="override the recipe of a made run"
    )
    parser.add_argument("--output", type=Path, help="also write the table here, as Markdown")
    answer(parser, measure)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the programs in turns and print the table."""
    seconds: dict[str, dict[int, list[float]]] = {way: {1: [], 2: []} for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = table_rows(arguments, "papers_dev.csv")
        lengths = [sum(len(cell or "") for cell in cells) for cells in table.frame.iter_rows()]
        papers = table.take(evenly_over_lengths(lengths, arguments.rows))
        write_table(papers.frame, folder / "rows.csv")
        command = [sys.executable, "-m", "papertune", "predict", str(arguments.run or _made_run(arguments, folder))]
        command += [str(folder / "rows.csv"), "--precision", arguments.precision, "--device", "cpu", "--quiet"]
        threads = {"OMP_NUM_THREADS": str(arguments.threads)}
        for number, (way, setting), count in product(range(1, arguments.rounds + 1), WAYS.items(), (1, 2)):
            took = _run_at_once(command, folder, count, {**setting, **threads})
            seconds[way][count].append(took)
            print(f"round {number} of {arguments.rounds}: {way}, {count} at once: {took:.1f} s", file=sys.stderr)
    alone = {way: statistics.median(times[1]) for way, times in seconds.items()}
    together = {way: statistics.median(times[2]) for way, times in seconds.items()}
    result = {
        "benchmark": "two_programs",
        "machine": machine(arguments.threads, "cpu"),
        "rows": len(papers),
        "precision": arguments.precision,
        "alone_s": {way: times[1] for way, times in seconds.items()},
        "two_at_once_s": {way: times[2] for way, times in seconds.items()},
        "ratio": {way: together[way] / alone[way] for way in WAYS},
        "slowdown_alone": alone["papertune's setting"] / alone["OpenMP's defaults"] - 1,
    }
    _print_table(result, arguments.output)
    return result


def _made_run(arguments: argparse.Namespace, folder: Path) -> Path:
    """Make a run of the small model that has hardly been trained."""
    rows = papertune.read_table(str(SAMPLE_PAPERS)).take([0, 4])  # one of each label
    settings = ["training.max_steps=1", *arguments.overrides]
    papertune.train(rows, "medical-papers", folder / "run", only=["label"], overrides=settings, device="cpu")
    return folder / "run"


def _run_at_once(command: list[str], folder: Path, count: int, variables: Mapping[str, str]) -> float:
    """Return the seconds until the last of some programs has ended."""
    environment = {name: value for name, value in os.environ.items() if name not in USER_SETTINGS} | dict(variables)
    begun = time.monotonic()
    programs = [
        subprocess.Popen(
            [*command, "--output", str(folder / f"{number}.csv"), "--overwrite"],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for number in range(count)
    ]
    codes = [program.wait() for program in programs]
    if any(codes):
        raise SystemExit(f"error: papertune predict ended with exit code {max(codes)}.")
    return time.monotonic() - begun


def _print_table(result: Mapping[str, Any], output: Path | None) -> None:
    def cell(times: list[float]) -> str:
        return f"{statistics.median(times):.1f} ({min(times):.1f}-{max(times):.1f})"

    head = ["threads wait by", "alone, s (range)", "two at once, s (range)", "two / one (at most 2.1 is wanted)"]
    lines = [
        [way, cell(result["alone_s"][way]), cell(result["two_at_once_s"][way]), f"{result['ratio'][way]:.2f}"]
        for way in WAYS
    ]
    rounds = len(result["alone_s"]["OpenMP's defaults"])
    notes = [
        f"`papertune predict` of {result['rows']} rows, {result['precision']}; medians of {rounds} rounds. Alone, the "
        f"setting changes the time by {result['slowdown_alone']:+.1%} (at most +3% is wanted).",
    ]
    show("Two programs on the same cores", head, lines, notes, result["machine"], output)


if __name__ == "__main__":
    main()
