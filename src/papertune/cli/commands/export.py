"""papertune export."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    to: Annotated[
        Literal["gguf", "vllm", "hub", "ollama"],
        typer.Option(
            "--to", help="The program: llama.cpp (gguf), vLLM, transformers and the Hugging Face hub, Ollama."
        ),
    ],
    weights: Annotated[
        Literal["f32", "f16", "bf16", "q8_0"] | None,
        typer.Option(
            "--weights",
            help="Number format of the written weights; q8_0 is for gguf and ollama. Default: f16 for them, else bf16.",
            show_default=False,
        ),
    ] = None,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Write the LoRA adapter by itself (gguf, vllm, hub), without merging it.")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(
            "--push",
            metavar="OWNER/NAME",
            help="Upload the folder into this new, private repository of the Hugging Face hub.",
            show_default=False,
        ),
    ] = None,
    device: options.Device = None,
    base: options.Base = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a run's model for another program, with how to ask it and prompts to check it."""
    from papertune.exports.export import export as write_export

    with TerminalListener("exporting", quiet=quiet) as listener:
        write_export(
            run, output, to=to, weights=weights, adapter=adapter, push_to=push, device=device, base=base,
            listener=listener,
        )  # fmt: skip
    typer.echo(f"{output}: ready; ANSWERS.md says how to ask it")
