"""papertune predict."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener
from papertune.errors import TableError

if TYPE_CHECKING:
    from papertune.inference.parts.predict_parts import PredictedParts
    from papertune.inference.predict import Predicted
    from papertune.run import Run

_Shard = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER/COUNT",
        help="Fill in only the parts of this process, such as 3/8, the third of eight with the same parts.",
    ),
]


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
    shard: _Shard = None,
    quiet: options.Quiet = False,
) -> None:
    """Fill in the run's columns of a table, or of its parts; the same command continues a stopped prediction."""
    from papertune import load_run

    opened = options.choose_answers(load_run(run, device=device, base=base), best_of, reward, cascade=cascade)
    settings: dict[str, Any] = {"probabilities": probabilities, "precision": precision, "overwrite": overwrite}
    settings |= {"columns": _columns(columns), "workers": workers}
    with TerminalListener("predicting", quiet=quiet) as listener:
        if _are_parts(table, output, shard):
            _check_unsorted(sort_by)
            parts = opened.predict_parts(table, output, shard=_shard(shard), **settings, listener=listener)
            done = _parts_in_words(parts)
        else:
            predicted = opened.predict_file(table[0], output, sort_by=sort_by, **settings, listener=listener)
            done = _rows_in_words(predicted, opened, cascade=cascade)
    typer.echo(f"{output}: {done}")


def _columns(text: str | None) -> Any:
    return text if text in (None, "all") else [name.strip() for name in str(text).split(",")]


def _parts_in_words(done: "PredictedParts") -> str:
    count = "1 part" if done.parts == 1 else f"{done.parts:,} parts"
    return f"{count}, {done.rows:,} rows"


def _rows_in_words(done: "Predicted", run: "Run", *, cascade: bool) -> str:
    passed = "went through the model" if run.asks_model() else "were computed without a model"
    if cascade:
        passed = "were answered by the model or, with --cascade, without it"
    return f"{done.rows:,} rows ({done.rows_begun:,} {passed})"


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
