"""papertune merge."""

from pathlib import Path
from typing import Annotated

import typer

from papertune.cli import options
from papertune.cli.app import app


@app.command()
def merge(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to make.")],
    precision: options.Precision = "auto",
    device: options.Device = None,
    base: options.Base = None,
) -> None:
    """Add the adapter to the base model (W = W0 + scale x B A), and write an ordinary model folder."""
    from papertune import load_run

    load_run(run, device=device, base=base).merge(output, precision=precision)
    typer.echo(f"{output}: a model folder for any program that reads transformers models")
