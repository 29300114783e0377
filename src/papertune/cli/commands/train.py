"""papertune train, calibrate, adopt, merge and export: what makes a run, or a model of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener, duration
from papertune.errors import PapertuneError, TrainingStopped

# Exit codes of a process that leaves the message to another one: after an error, and after another process was lost.
USER_ERROR, LOST = 2, 1


@app.command()
def train(
    table: Annotated[list[str], typer.Argument(help="The tables to train on.")],
    recipe: options.Recipe,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run directory to make.")],
    dev: Annotated[
        str | None, typer.Option(help="A table whose score chooses the best checkpoint.", show_default=False)
    ] = None,
    dev_fraction: Annotated[
        float, typer.Option(min=0, max=0.9, help="Instead of --dev: use this fraction of the rows as dev rows.")
    ] = 0.0,
    only: options.Only = [],  # noqa: B006
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage",
            help="Instead of the recipe's stage: sft learns the columns, pt the papers themselves; rm, dpo, kto, rloo "
            "and grpo learn from feedback.",
            show_default=False,
        ),
    ] = None,
    sets: options.Sets = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in the run directory.")] = False,
    device: options.Device = None,
    base: options.Base = None,
    quiet: options.Quiet = False,
) -> None:
    """Fine-tune a model on tables; Ctrl-C or SIGTERM writes a checkpoint from which --resume continues."""
    from papertune.pipelines.train import train as run_training
    from papertune.training import is_first_process

    with _one_message_of_all_processes():
        quiet = quiet or not is_first_process()
        with TerminalListener("training", rows_title="dev rows", quiet=quiet) as listener:
            run = run_training(
                table, recipe, output, dev=dev, dev_fraction=dev_fraction, only=only, stage=stage, overrides=sets,
                resume=resume, device=device, base=base, listener=listener,
            )  # fmt: skip
    if is_first_process():
        manifest = run.manifest
        score = "" if manifest.dev_score is None else f", dev score {manifest.dev_score:.4f}"
        steps = f"{manifest.steps:,} steps in {duration(manifest.seconds)}{score}"
        typer.echo(f"{output}: {steps if run.directory.has_model else 'ready for papertune predict'}")


@contextmanager
def _one_message_of_all_processes() -> Iterator[None]:
    """Let only the first of several processes print why all of them end."""
    from papertune.training import ProcessLost, is_first_process

    try:
        yield
    except PapertuneError as error:
        if is_first_process() or not error.is_shared:
            raise
        raise typer.Exit(USER_ERROR) from error
    except TrainingStopped as stopped:
        if is_first_process():
            raise
        raise typer.Exit(128 + stopped.signal) from stopped
    except ProcessLost as lost:
        if is_first_process():
            typer.echo(str(lost), err=True)
        raise typer.Exit(LOST) from lost


@app.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    dev: Annotated[list[str], typer.Argument(help="Tables with gold columns that the run was not trained on.")],
    device: options.Device = None,
    base: options.Base = None,
    quiet: options.Quiet = False,
) -> None:
    """Fit probabilities, thresholds and the ranking of keywords of a finished run on dev rows, again if need be."""
    from papertune.pipelines.calibrate import calibrate as run_calibration

    with TerminalListener("dev rows", quiet=quiet) as listener:
        done = run_calibration(run, dev, device=device, base=base, listener=listener)
    precision = done.manifest.calibrated_in
    if precision is None:
        typer.echo(f"{run}: not all of it could be calibrated")
    else:
        typer.echo(f"{run}: calibrated in {precision}" if done.asks_model() else f"{run}: calibrated")


@app.command()
def adopt(
    adapter: Annotated[Path, typer.Argument(help="A folder with an adapter in peft's format.")],
    recipe: options.Recipe,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run directory to make.")],
    sets: options.Sets = [],  # noqa: B006
    device: options.Device = None,
    base: options.Base = None,
) -> None:
    """Make a run from an existing adapter, without training."""
    from papertune.pipelines.adopt import adopt as adopt_adapter

    adopt_adapter(adapter, recipe, output, overrides=sets, device=device, base=base)
    typer.echo(f"{output}: ready for papertune predict")


@app.command()
def merge(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to make.")],
    precision: options.Precision = "auto",
    device: options.Device = None,
    base: options.Base = None,
) -> None:
    """Add the adapter to the base model (W = W0 + scale x B A), and write an ordinary model folder."""
    from papertune import load_run

    load_run(run, device=device, base=base).merge(output, precision=precision)
    typer.echo(f"{output}: a model folder for any program that reads transformers models")


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
            help="Number format of the written weights; q8_0 is for gguf and ollama. Default: f16 for them, else bf16; "
            "f32 for an adapter by itself.",
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
