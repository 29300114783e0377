"""papertune predict."""

from pathlib import Path
from typing import Annotated, Any

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    table: Annotated[str, typer.Argument(help='The table; "-" reads JSON lines from standard input.')],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The table to write: csv, tsv, jsonl, json, parquet or xlsx.")
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
    quiet: options.Quiet = False,
) -> None:
    """Fill in the run's columns of a table; the same command continues a stopped prediction."""
    from papertune import load_run

    opened = options.choose_best_of(load_run(run, device=device, base=base), best_of, reward)
    if cascade:
        opened = opened.with_cascade()
    names: Any = columns if columns in (None, "all") else [name.strip() for name in str(columns).split(",")]
    with TerminalListener("predicting", quiet=quiet) as listener:
        predicted = opened.predict_file(
            table,
            output,
            columns=names,
            probabilities=probabilities,
            sort_by=sort_by,
            precision=precision,
            overwrite=overwrite,
            workers=workers,
            listener=listener,
        )
    passed = "went through the model" if opened.asks_model() else "were computed without a model"
    if cascade:
        passed = "were answered by the model or, with --cascade, without it"
    typer.echo(f"{output}: {predicted.rows:,} rows ({predicted.rows_begun:,} {passed})")
