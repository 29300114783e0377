"""papertune prefer."""

from pathlib import Path
from typing import Annotated

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.errors import OutputError, quoted


@app.command()
def prefer(
    filled: Annotated[str, typer.Argument(help="A table that papertune predict has written.")],
    recipe: options.Recipe,
    corrected: Annotated[
        str | None, typer.Argument(help="The same table, corrected; rows are matched by id.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .jsonl or .json file for pairs of answers.", show_default=False),
    ] = None,
    thumbs: Annotated[
        Path | None,
        typer.Option(
            help="The .jsonl or .json file for judged answers: yes or no in a column such as Keywords_good.",
            show_default=False,
        ),
    ] = None,
    documents: Annotated[
        str | None,
        typer.Option(help="The table that was predicted, if the others have no documents.", show_default=False),
    ] = None,
    synthesise: Annotated[
        bool,
        typer.Option(
            "--synthesise", help="Add synthetic pairs: the cells of the last table, and worse ones made from them."
        ),
    ] = False,
    sets: options.Sets = [],  # noqa: B006
    only: options.Only = [],  # noqa: B006
    overwrite: options.Overwrite = False,
) -> None:
    """Make a file of preferences from a table that a person has corrected or judged, or synthetic ones."""
    from papertune.pipelines.prefer import prefer as collect_preferences

    if output is None and thumbs is None:
        raise OutputError("name a file: --output for pairs of answers, --thumbs for judged answers, or both.")
    found = collect_preferences(
        filled,
        recipe,
        output,
        corrected=corrected,
        thumbs=thumbs,
        documents=documents,
        synthesise=synthesise,
        overrides=sets,
        only=only,
        overwrite=overwrite,
    )
    for line in found.lines:
        typer.echo(line)
    if output is not None:
        synthetic = sum(pair.source == "synthetic" for pair in found.pairs)
        pairs = "1 pair" if len(found.pairs) == 1 else f"{len(found.pairs):,} pairs"
        typer.echo(f"{output}: {pairs} ({len(found.pairs) - synthetic:,} human, {synthetic:,} synthetic)")
        # Whoever has named the two tables in the wrong order sees it here.
        first = found.pairs[0]
        better = f"{quoted(first.chosen)} is better than {quoted(first.rejected)}"
        typer.echo(f"the first one ({first.column} of {first.paper}): {better}")
    if thumbs is not None:
        typer.echo(f"{thumbs}: {len(found.thumbs):,} judged {'answer' if len(found.thumbs) == 1 else 'answers'}")
