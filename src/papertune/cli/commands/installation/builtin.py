"""papertune recipes and papertune models."""

from typing import Annotated

import typer

from papertune.cli import options
from papertune.cli.app import app


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe.", show_default=False)] = None,
) -> None:
    """List the built-in recipes, or print one."""
    from papertune.errors import RecipeError
    from papertune.recipe import builtin_recipes

    built_in = builtin_recipes()
    if name is None:
        for each, text in built_in.items():
            typer.echo(f"{each:16} {text.splitlines()[0].removeprefix('# ')}")
    elif name in built_in:
        typer.echo(built_in[name], nl=False)
    else:
        raise RecipeError(f'"{name}" is not a built-in recipe. Built-in recipes are: {", ".join(built_in)}.')


@app.command()
def models(
    model: Annotated[
        str | None,
        typer.Argument(help="With --memory: a short name, a folder with config.json, or a hub id.", show_default=False),
    ] = None,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory", help="Show what fits into 8, 16 and 24 GB, computed without weights and without a GPU."
        ),
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", "-r", help="With --memory: the recipe with method, batch size and lengths.", show_default=False
        ),
    ] = None,
    sets: options.Sets = [],  # noqa: B006
) -> None:
    """List the models that have a short name, or show the memory that the training of a model needs."""
    if memory:
        _memory(model, recipe, sets)
    elif model or recipe or sets:
        from papertune.errors import RecipeError

        raise RecipeError("papertune models takes a model, a recipe or --set only with --memory. Add --memory.")
    else:
        _list_models()


# Models and recipes that --memory shows by default.
_DEFAULTS = (("smollm2-135m", "medical-papers"), ("THUDM/chatglm2-6b", "xfg-label"))


def _memory(model: str | None, recipe: str | None, sets: list[str]) -> None:
    from papertune.models import find_config
    from papertune.pipelines.memory import CARDS_GB, GB, RESERVED_GB, batch_shape, memory_rows
    from papertune.recipe import load_recipe

    asked: list[tuple[str | None, str]] = [(model, recipe or "medical-papers")] if model or recipe else [*_DEFAULTS]
    for number, (name, source) in enumerate(asked):
        chosen = load_recipe(source, sets if name is None else [*sets, f"model={name}"])
        config = find_config(chosen.model)
        shape = batch_shape(chosen)
        precision = "fp32" if chosen.training.precision == "fp32" else "bf16 or fp16"
        head = f"{'GB at the peak of a step':43}{'weights':>8}{'gradients':>10}{'optimizer':>10}{'activations':>12}"
        for index, row in enumerate(memory_rows(config, chosen)):
            if index == 0:
                typer.echo("" if number == 0 else "\n", nl=False)
                typer.echo(
                    f"{chosen.model}: {row.memory.parameters:,} parameters; recipe {source}: {shape.rows} rows x "
                    f"{shape.seq:,} tokens, logits at {shape.answer_tokens} of a row, {precision}"
                )
                typer.echo(f"{head}{'total':>8}   micro_batch_size in " + ", ".join(f"{card} GB" for card in CARDS_GB))
            parts = row.memory
            numbers = (
                f"{parts.weights / GB:8.2f}{parts.gradients / GB:10.2f}{parts.optimizer / GB:10.2f}"
                f"{parts.activations / GB:12.2f}{parts.total / GB:8.2f}"
            )
            largest = ", ".join(str(row.largest[card] or "no") for card in CARDS_GB)
            typer.echo(f"{row.setting:43}{numbers}   {largest}{'   <- the recipe' if row.is_recipe else ''}")
    typer.echo(
        "\nmicro_batch_size: the largest that fits if every row is as long as the recipe allows. GB are 2^30 bytes; "
        f"{RESERVED_GB} GB of each card is left to CUDA itself."
    )


def _list_models() -> None:
    from papertune.models.cache import packaged_gguf
    from papertune.models.known import KNOWN_MODELS, PACKAGE_INSTALL

    for name, model in KNOWN_MODELS.items():
        is_installed = packaged_gguf(model.package, model.gguf_name) is not None
        typer.echo(f"{name:16} {model.about}")
        typer.echo(
            f"{'':16} "
            + ("installed" if is_installed else f"not installed: {PACKAGE_INSTALL}; or from the hub: {model.hub_id}")
        )
    typer.echo("Any other causal language model: a folder with its config.json and weights, a .gguf file, or a hub id.")
