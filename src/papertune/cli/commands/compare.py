"""papertune compare."""

from pathlib import Path
from typing import Annotated

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener


@app.command()
def compare(
    train: Annotated[str, typer.Argument(help="The table to train on.")],
    test: Annotated[
        str, typer.Argument(help="The table to score on, with the gold columns; it is not used for training.")
    ],
    recipe: options.Recipe,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for report.html, report.json and the files to continue from."),
    ],
    dev: Annotated[
        str | None,
        typer.Option(
            help="A table for choosing the checkpoint and calibrating, if a run is trained now.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="A run that was trained with this recipe; default: train one now.", show_default=False),
    ] = None,
    only: options.Only = [],  # noqa: B006
    curve: Annotated[
        str | None,
        typer.Option(
            metavar="ROWS,...",
            help="Learning curve: train with each of these numbers of rows, such as 50,100,200,400,all.",
            show_default=False,
        ),
    ] = None,
    sets: options.Sets = [],  # noqa: B006
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    base: options.Base = None,
    quiet: options.Quiet = False,
) -> None:
    """Compare the run with simpler systems, to see whether fine-tuning is worth it; can be stopped and continued."""
    from papertune.evaluation.report import summary
    from papertune.pipelines.comparison.compare import compare as run_comparison
    from papertune.pipelines.comparison.learning_curve import read_curve

    with TerminalListener("comparing", quiet=quiet) as listener:
        report = run_comparison(
            train,
            test,
            recipe,
            output,
            dev=dev,
            run=run,
            only=only,
            curve=() if curve is None else read_curve(curve),
            overrides=sets,
            overwrite=overwrite,
            device=device,
            base=base,
            listener=listener,
        )
    typer.echo(summary(report))
    typer.echo(f"{output / 'report.html'}: open it in a browser")
