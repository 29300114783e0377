"""From the start of a process to its first row, and where the time goes.

    python benchmarks/start_up.py                  a run of the small model is made first
    python benchmarks/start_up.py --run RUN

A process of its own each time opens the run and answers one paper; it reports after each part the clock and its
processor time. Parts that Python would import when they are first used are imported by name, for the sake of the
table; the sum is the same. Then the program, `papertune predict` with one row, to its end. Medians count, so the first
process, which may have to bring the files into memory, does not matter. Processor time is the better measure on a
machine that does other work too; the table gives its load. Last comes one JSON line.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples" / "papers.csv"
PAPER = {"uuid": "1", "title": "Aspirin after a heart attack", "author": "", "abstract": "A randomised trial."}


def main() -> None:
    """Measure and print, or be one of the measured processes."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(Path(sys.argv[2]))))
        return
    from speed_tables import answer

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="the run to open; default: one of the small model, made now")
    parser.add_argument("--times", type=int, default=5, help="how many processes of each kind")
    parser.add_argument("--output", type=Path, help="a Markdown file for the table")
    answer(parser, measure)


def one(run: Path) -> list[tuple[str, float, float]]:
    """Answer a row; give the parts, each with the clock and this process's processor time at its end, in seconds."""
    marks = [("Python", *_now())]
    import papertune
    from papertune.startup.garbage import collection_paused

    opened = papertune.load_run(run)
    marks.append(("PyTorch, polars, papertune; the run's recipe", *_now()))
    with collection_paused():  # as `load_model` does
        from transformers import AutoTokenizer, DynamicCache  # noqa: F401
    marks.append(("transformers", *_now()))
    opened.predictor()
    marks.append(("tokenizer, weights, adapter", *_now()))
    opened.predict([PAPER])
    marks.append(("first row", *_now()))
    return marks


def _now() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), used.ru_utime + used.ru_stime


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the processes and print the table."""
    from contest import machine, usable_cores
    from speed_tables import show

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = arguments.run or _default_run(folder)
        started = [_parts(run) for _ in range(arguments.times)]
        programs = [_program(run, folder / f"{number}.csv") for number in range(arguments.times)]
    result: dict[str, Any] = {
        "parts": {name: [parts[name] for parts in started] for name in started[0]},
        "to_first_row": [tuple(map(sum, zip(*parts.values(), strict=True))) for parts in started],
        "program": programs,
        "load": load,
        "machine": machine(usable_cores(), "cpu"),
    }
    lines = [[name, *_medians(seconds)] for name, seconds in result["parts"].items()]
    lines.append(["**to the first row**", *_medians(result["to_first_row"])])
    lines.append(["`papertune predict`, to its end", *_medians(programs)])
    notes = [f"Medians of {arguments.times}. Load before the first process: {load:.1f}.", ""]
    show("Start-up", ["part", "seconds", "processor seconds"], lines, notes, result["machine"], arguments.output)
    return result


def _medians(pairs: Sequence[tuple[float, float]]) -> list[str]:
    return [f"{statistics.median(seconds):.2f}" for seconds in zip(*pairs, strict=True)]


def _parts(run: Path) -> dict[str, tuple[float, float]]:
    """Return the seconds and the processor seconds of each part of a process."""
    begun, used = time.monotonic(), 0.0
    command = [sys.executable, "-W", "ignore", __file__, "--one", str(run)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    parts = {}
    for name, clock, processor in json.loads(ended.stdout.splitlines()[-1]):
        parts[name] = (clock - begun, processor - used)
        begun, used = clock, processor
    return parts


def _program(run: Path, output: Path) -> tuple[float, float]:
    """Return the seconds and the processor seconds of the program for one row."""
    table = output.with_suffix(".jsonl")
    table.write_text(json.dumps(PAPER) + "\n")
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "papertune", "predict", str(run), str(table), "-o", str(output), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _default_run(folder: Path) -> Path:
    """Make a run of the small model, hardly trained."""
    import papertune

    table = papertune.read_table(EXAMPLES).take([0, 4])  # one of each label
    settings = ["training.epochs=1", "training.max_steps=1"]
    papertune.train(table, "medical-papers", folder / "run", only=["label"], overrides=settings)
    return folder / "run"


if __name__ == "__main__":
    main()
