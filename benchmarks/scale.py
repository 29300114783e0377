"""Time and memory against rows: what grows with a table, and what does not.

    python benchmarks/scale.py --rows 1000 10000 100000

A process of its own for each size reads, plans, predicts with a tiny random model and writes; the sample papers are
repeated with numbers in front. The default model's tokenizer measures real prompts, so only the model's share is small.

Memory: a fresh process has read the table, then its peak of resident memory (VmHWM, reset at that moment) less what it
had; bytes a row are the slope between two sizes, so what every process needs once falls out. `--plan-only` leaves the
model out: reading, planning and writing. The input itself takes what its Arrow columns take, in the table below.
Wall time is shown, and processor time, which other work on the machine hardly changes.
Last comes one JSON line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples" / "papers.csv"


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--plan-only", action="store_true", help="no model: every answer is made up")
    parser.add_argument("--one-size", nargs=3, metavar=("RUN", "TABLE", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one_size:
        run, table, output = arguments.one_size
        print(json.dumps(one_size(Path(run), table, Path(output), plan_only=arguments.plan_only)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = tiny_run(folder)
        print(f"{'rows':>9} {'input MB':>9} {'read s':>8} {'predict s':>10} {'processor ms/row':>17} {'MB beyond':>10}")
        sizes = [measure(run, rows, folder, plan_only=arguments.plan_only) for rows in sorted(arguments.rows)]
    slopes = [slope(few, many) for few, many in pairwise(sizes)]
    for (few, many), growth in zip(pairwise(sizes), slopes, strict=True):
        print(f"{growth:.0f} bytes a row from {few['rows']:,} to {many['rows']:,} rows")
    result = {"sizes": sizes, "bytes_per_row": slopes, "plan_only": arguments.plan_only, "cores": os.cpu_count()}
    print(json.dumps(result))


def slope(few: dict[str, Any], many: dict[str, Any]) -> float:
    """Return the bytes that each additional row takes."""
    return float((many["peak_bytes"] - few["peak_bytes"]) / (many["rows"] - few["rows"]))


def tiny_run(folder: Path) -> Path:
    """Make a run of a random model of 16 dimensions beside the default model's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import papertune
    from papertune.models import find_base, load_tokenizer

    tokenizer = load_tokenizer(find_base("smollm2-135m"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=tokenizer.eos_token_id,
    )
    base = folder / "tiny"
    LlamaForCausalLM(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    # Keywords of an untrained model have the maximum length; their cost is not the question here.
    settings = ["columns.Keywords.kind=keywords", "columns.Keywords.max_new_tokens=4", "training.epochs=1"]
    papers = papertune.read_table(EXAMPLES).take([0, 1])
    papertune.train(papers, "medical-papers", folder / "run", overrides=[f"model={base}", *settings])
    return folder / "run"


def write_papers(table: Path, rows: int) -> None:
    """Write the sample papers over and over, as Parquet."""
    import polars as pl

    papers = pl.read_csv(EXAMPLES, infer_schema=False)
    numbers = pl.int_range(rows, eager=True)
    repeated = papers[(numbers % len(papers)).to_list()].select("uuid", "title", "abstract")
    ids = (numbers.cast(pl.String) + "-").alias("number")
    # Numbered, or each paper would be reported as a repetition.
    repeated.with_columns(pl.col("uuid", "title").str.replace("^", ids)).write_parquet(table)


def measure(run: Path, rows: int, folder: Path, *, plan_only: bool) -> dict[str, Any]:
    """Predict a number of rows in a process of its own, and print a line of the table."""
    table = folder / f"{rows}.parquet"
    write_papers(table, rows)
    command = [sys.executable, __file__, "--one-size", str(run), str(table), str(folder / f"{rows}.csv")]
    ended = subprocess.run(command + ["--plan-only"] * plan_only, check=True, stdout=subprocess.PIPE, text=True)
    size = json.loads(ended.stdout.splitlines()[-1])
    print(
        f"{rows:>9,} {size['input_bytes'] / 1e6:>9.1f} {size['read_s']:>8.2f} {size['predict_s']:>10.2f} "
        f"{1e3 * size['processor_s'] / rows:>17.3f} {size['peak_bytes'] / 1e6:>10.1f}",
        flush=True,
    )
    return size  # type: ignore[no-any-return]


def one_size(run: Path, path: str, output: Path, *, plan_only: bool) -> dict[str, Any]:
    """Read a table and fill it in, in this process."""
    import warnings

    import papertune

    warnings.simplefilter("ignore")
    opened = papertune.load_run(run)
    # One row first: what is loaded and made once is there before anything is measured.
    opened.predict_file(papertune.read_table(path).take([0]), output.with_suffix(".first.csv"), probabilities=True)
    if plan_only:
        made_up: dict[str, Any] = {"label": [0.75, 0.25], "Keywords": "heart attack; aspirin; randomised trial; ageing"}
        opened.predictor().answer = lambda reader, rows, encoded: {name: [v] * len(rows) for name, v in made_up.items()}
    begun = time.monotonic()
    table = papertune.read_table(path)
    read_s = time.monotonic() - begun
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    begun, processor_begun = time.monotonic(), time.process_time()
    opened.predict_file(table, output, probabilities=True)
    return {
        "rows": len(table),
        "input_bytes": table.frame.estimated_size(),
        "read_s": read_s,
        "predict_s": time.monotonic() - begun,
        "processor_s": time.process_time() - processor_begun,
        "peak_bytes": resident_bytes("VmHWM") - before,
    }


def resident_bytes(name: str) -> int:
    """Return a number of this process's memory: VmRSS, the present one, or VmHWM, the maximum so far."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
