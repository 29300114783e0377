"""papertune check."""

from typing import Annotated, Any, Literal

import typer

from papertune.cli import options
from papertune.cli.app import app

SHOWN_EXAMPLES = 2


@app.command()
def check(
    table: Annotated[list[str], typer.Argument(help="The tables.")],
    recipe: options.Recipe,
    purpose: Annotated[Literal["train", "predict"], typer.Option("--for", help="What the tables are for.")] = "train",
    sets: options.Sets = [],  # noqa: B006
    only: options.Only = [],  # noqa: B006
    base: options.Base = None,
) -> None:
    """Report all problems of tables and recipe at once, without loading weights, and show what the model will see."""
    from rich.console import Console

    from papertune.pipelines.check import check_tables

    result = check_tables(table, recipe, purpose=purpose, overrides=sets, only=only, base=base)
    console = Console(soft_wrap=True, highlight=False)
    for line in result.lines:
        console.print(line, markup=False)
    for example in result.examples[:SHOWN_EXAMPLES]:
        console.rule(f"row {example.row + 1}, {example.column}", align="left")
        console.print(_coloured(example))
    console.rule()
    console.print(
        "no problems"
        + (": text to learn is shown in green" if any(example.answer for example in result.examples) else "")
    )


def _coloured(example: Any) -> Any:
    from rich.text import Text

    text = Text()
    text.append(example.prompt, style="dim")
    text.append(example.answer, style="bold green")
    return text
