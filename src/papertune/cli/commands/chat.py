"""papertune chat."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from papertune.cli import options
from papertune.cli.app import app


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="A run directory, or a model as in a recipe.")],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer in tokens.")] = 256,
    system: Annotated[str, typer.Option(help="A system message for the whole conversation.")] = "",
    device: options.Device = None,
    base: options.Base = None,
) -> None:
    """Talk to a run or a model; an empty line or Ctrl-D ends it."""
    from papertune.models import find_base, load_model
    from papertune.pipelines.chat import Conversation
    from papertune.run import load_run
    from papertune.run_directory import RunDirectory

    run = RunDirectory(Path(model))
    recipe = None
    if run.is_complete or run.is_begun:
        opened = load_run(model, device=device, base=base)
        recipe = opened.recipe
        loaded, tokenizer = opened.load_to_predict()
    else:
        loaded, tokenizer = load_model(find_base(model, base), device=device)
    conversation = Conversation(loaded, tokenizer, max_new_tokens=max_new_tokens, recipe=recipe, system=system)
    while True:
        if sys.stdin.isatty():
            typer.echo("> ", nl=False)
        question = sys.stdin.readline().strip()
        if not question:
            break
        for piece in conversation.ask(question):
            typer.echo(piece, nl=False)
        typer.echo()
