"""papertune instructions."""

from pathlib import Path
from typing import Annotated

import typer

from papertune.cli import options
from papertune.cli.app import app


@app.command()
def instructions(
    table: Annotated[str, typer.Argument(help="The table.")],
    recipe: options.Recipe,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .json or .jsonl file to write.")],
    sets: options.Sets = [],  # noqa: B006
    only: options.Only = [],  # noqa: B006
    overwrite: options.Overwrite = False,
) -> None:
    """Write a table as an instruction file (JSON); papertune train can read it."""
    from papertune.pipelines.instructions import write_instructions

    count = write_instructions(table, recipe, output, overrides=sets, only=only, overwrite=overwrite)
    typer.echo(f"{output}: {count:,} entries")
