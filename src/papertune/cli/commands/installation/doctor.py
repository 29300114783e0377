"""papertune doctor."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from papertune.cli.app import app


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Also ask whether models can be downloaded; otherwise nothing is sent.")
    ] = False,
) -> None:
    """Show versions, devices, CPU instructions, caches and extras, and what is missing."""
    from papertune.errors import PapertuneError, visible
    from papertune.pipelines.doctor.diagnosis import diagnose
    from papertune.pipelines.doctor.sections import as_lines

    found = diagnose(network=network)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "problems": found.problems}, indent=2, ensure_ascii=False))
    else:
        for line in as_lines(found):
            typer.echo(visible(line))
    if found.problems:
        raise PapertuneError.collect("papertune will not work as it should", found.problems)
