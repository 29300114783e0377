"""Memory against the rows of a Parquet part, which `papertune predict RUN part.parquet -o out/` reads bit by bit.

    python benchmarks/parts.py --rows 100000 400000

The sample papers are repeated with numbers in front, in row groups of 20,000 rows. A process of its own for each size
fills in a label by words alone, so that no model's memory stands beside the rows'. Peak: VmHWM at the end.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples" / "papers.csv"
GROUP_ROWS = 20_000


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 400_000])
    parser.add_argument("--one-size", nargs=3, metavar=("RUN", "PART", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one_size:
        print(json.dumps(fill_in(*arguments.one_size)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = words_run(folder)
        print("| rows | part, MB | s | rows/s | peak, MB |\n| --- | --- | --- | --- | --- |")
        for rows in arguments.rows:
            part = folder / f"{rows}.parquet"
            write_part(part, rows)
            command = [sys.executable, __file__, "--one-size", str(run), str(part), str(folder / "out")]
            done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            found: dict[str, Any] = json.loads(done)
            megabytes = part.stat().st_size / 1e6
            rate = rows / found["s"]
            print(
                f"| {rows:,} | {megabytes:.1f} | {found['s']:.0f} | {rate:.0f} | {found['peak'] / 1e6:.0f} |",
                flush=True,
            )


def words_run(folder: Path) -> Path:
    """Make a run whose label is answered by words alone."""
    import papertune

    sources = ['columns.label.sources=["words"]']
    papertune.train(EXAMPLES, "medical-papers", folder / "run", overrides=sources, only=["label"])
    return folder / "run"


def write_part(path: Path, rows: int) -> None:
    """Write the sample papers over and over."""
    import polars as pl

    papers = pl.read_csv(EXAMPLES, infer_schema=False).select("uuid", "title", "abstract")
    number = pl.int_range(rows).cast(pl.String)
    repeated = pl.concat([papers] * -(-rows // len(papers)))[:rows]
    repeated = repeated.with_columns(uuid=number, title=number + " " + pl.col("title"))
    repeated.write_parquet(path, row_group_size=GROUP_ROWS)


def fill_in(run: str, part: str, folder: str) -> dict[str, float]:
    """Fill in a part; return the seconds, and the peak of memory in bytes."""
    import papertune

    begun = time.monotonic()
    papertune.load_run(run).predict_parts([part], folder)
    status = Path("/proc/self/status").read_text("utf-8")
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return {"s": time.monotonic() - begun, "peak": int(peak) * 1024}


if __name__ == "__main__":
    main()
