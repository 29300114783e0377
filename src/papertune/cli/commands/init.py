"""papertune init."""

from pathlib import Path
from typing import Annotated

import typer

from papertune.cli.app import app


@app.command()
def init(
    table: Annotated[str, typer.Argument(help="The table to write a recipe for.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe file to write.")],
    label: Annotated[list[str], typer.Option(help="A column that holds a label (repeatable).")] = [],  # noqa: B006
    labels: Annotated[
        list[str], typer.Option(help="A column that holds none, one or several labels (repeatable).")
    ] = [],  # noqa: B006
    keywords: Annotated[list[str], typer.Option(help="A column that holds keywords (repeatable).")] = [],  # noqa: B006
    text: Annotated[list[str], typer.Option(help="A column that holds free text (repeatable).")] = [],  # noqa: B006
    number: Annotated[list[str], typer.Option(help="A column that holds a number (repeatable).")] = [],  # noqa: B006
    document: Annotated[
        list[str], typer.Option(help="A column that the model reads, if not title and abstract (repeatable).")
    ] = [],  # noqa: B006
) -> None:
    """Write a commented recipe for a table, with a guess of its id, text columns and label set."""
    from papertune.errors import OutputError
    from papertune.files import check_new_file, write_atomically
    from papertune.pipelines.init import recipe_for
    from papertune.tables import read_table

    check_new_file(output, "Choose another name, or move it away.")
    recipe = recipe_for(read_table(table), label, keywords, labels, text, number, document)
    try:
        write_atomically(output, recipe)
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}.") from error
    typer.echo(f"{output} written. Read it, then: papertune check {table} -r {output}")
