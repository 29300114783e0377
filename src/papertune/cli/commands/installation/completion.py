"""papertune completion."""

from typing import Annotated, Literal

import typer

from papertune.cli.app import COMPLETION_VARIABLE, app


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell.")],
) -> None:
    """Print the script that makes a shell complete commands, options and their words with the Tab key."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined, unused-ignore]

    typer.echo(get_completion_script(prog_name="papertune", complete_var=COMPLETION_VARIABLE, shell=shell))
