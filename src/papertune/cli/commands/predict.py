"""papertune predict."""

from pathlib import Path
from typing import Annotated, Any

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener
from papertune.errors import TableError


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    table: Annotated[
        list[str],
        typer.Argument(
            help='The table; "-" reads JSON lines from standard input. Or Parquet files, the parts of one table.'
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The table to write: csv, tsv, jsonl, json, parquet or xlsx; for parts a folder."
        ),
    ],
    columns: Annotated[
        str | None,
        typer.Option(help='Columns to write, such as uuid,Keywords,label, or "all"; default: id and filled columns.'),
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="Add the calibrated probability of each label and of each ranked keyword."
        ),
    ] = False,
    sort_by: Annotated[
        str | None,
        typer.Option(help="A label column: sort the rows by the probability of its first label, the highest first."),
    ] = None,
    best_of: options.BestOf = None,
    reward: options.Reward = None,
    cascade: options.Cascade = False,
    precision: options.PredictionPrecision = "auto",
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    base: options.Base = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of Ray workers that share the rows; on a cluster if RAY_ADDRESS is set.")
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER/COUNT",
            help="Fill in only the parts of this process, such as 3/8, the third of eight with the same parts.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Fill in the run's columns of a table, or of its parts; the same command continues a stopped prediction."""
    from papertune import load_run

    opened = options.choose_best_of(load_run(run, device=device, base=base), best_of, reward)
    if cascade:
        opened = opened.with_cascade()
    names: Any = columns if columns in (None, "all") else [name.strip() for name in str(columns).split(",")]
    settings: Any = {
        "columns": names,
        "probabilities": probabilities,
        "precision": precision,
        "overwrite": overwrite,
        "workers": workers,
    }
    with TerminalListener("predicting", quiet=quiet) as listener:
        if _are_parts(table, output, shard):
            _check_unsorted(sort_by)
            parts = opened.predict_parts(table, output, shard=_shard(shard), **settings, listener=listener)
            count = "1 part" if parts.parts == 1 else f"{parts.parts:,} parts"
            done = f"{count}, {parts.rows:,} rows"
        else:
            predicted = opened.predict_file(table[0], output, sort_by=sort_by, **settings, listener=listener)
            passed = "went through the model" if opened.asks_model() else "were computed without a model"
            if cascade:
                passed = "were answered by the model or, with --cascade, without it"
            done = f"{predicted.rows:,} rows ({predicted.rows_begun:,} {passed})"
    typer.echo(f"{output}: {done}")


def _are_parts(tables: list[str], output: Path, shard: str | None) -> bool:
    """Whether the output is a folder: a pattern of the shell may stand for a single part."""
    return len(tables) > 1 or shard is not None or (tables[0].lower().endswith(".parquet") and not output.suffix)


def _check_unsorted(sort_by: str | None) -> None:
    if sort_by is not None:
        raise TableError("--sort-by sorts a whole table, but parts are filled in one by one. Leave it out.")


def _shard(text: str | None) -> tuple[int, int]:
    from papertune.inference.parts.shard import Shard

    chosen = Shard(1, 1) if text is None else Shard.parse(text)
    return chosen.number, chosen.count
