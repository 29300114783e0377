"""papertune calibrate."""

from pathlib import Path
from typing import Annotated

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener


@app.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    dev: Annotated[list[str], typer.Argument(help="Tables with gold columns that the run was not trained on.")],
    device: options.Device = None,
    base: options.Base = None,
    quiet: options.Quiet = False,
) -> None:
    """Fit probabilities, thresholds and the ranking of keywords of a finished run on dev rows, again if need be."""
    from papertune.pipelines.calibrate import calibrate as run_calibration

    with TerminalListener("dev rows", quiet=quiet) as listener:
        done = run_calibration(run, dev, device=device, base=base, listener=listener)
    precision = done.manifest.calibrated_in
    if precision is None:
        typer.echo(f"{run}: not all of it could be calibrated")
    else:
        typer.echo(f"{run}: calibrated in {precision}" if done.asks_model() else f"{run}: calibrated")
