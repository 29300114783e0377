"""papertune evaluate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener
from papertune.errors import RunError


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    table: Annotated[
        str,
        typer.Argument(help="A table with the documents and the gold columns; for a reward model, pairs of answers."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for report.html and report.json.")],
    truth: Annotated[
        str | None, typer.Option(help="A table with the gold columns, matched by id, if TABLE has none.")
    ] = None,
    predictions: Annotated[
        str | None, typer.Option(help="Score this file, written by papertune predict, instead of running the model.")
    ] = None,
    baselines: Annotated[
        str | None, typer.Option(help="The training table of the run: train the majority and TF-IDF baselines on it.")
    ] = None,
    best_of: options.BestOf = None,
    reward: options.Reward = None,
    cascade: options.Cascade = False,
    precision: options.PredictionPrecision = "auto",
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    base: options.Base = None,
    quiet: options.Quiet = False,
) -> None:
    """Score a run against the gold columns of a table, and write a report."""
    from papertune.evaluation.report import summary
    from papertune.pipelines.evaluate import evaluate as run_evaluation
    from papertune.pipelines.stages.pair_accuracy import evaluate_pairs
    from papertune.run import load_run

    opened = load_run(run, device=device, base=base)
    if opened.recipe.stage.kind == "rm":
        given = {"--truth": truth, "--predictions": predictions, "--baselines": baselines, "--reward": reward}
        _check_pairs_only(run, {**given, "--best-of": best_of, "--cascade": cascade or None})
        with TerminalListener("scoring", quiet=quiet) as listener:
            typer.echo(evaluate_pairs(opened, table, output, overwrite=overwrite, listener=listener).in_words())
        return
    opened = options.choose_answers(opened, best_of, reward, cascade=cascade)
    with TerminalListener("scoring", quiet=quiet) as listener:
        report = run_evaluation(
            opened,
            table,
            output,
            truth=truth,
            predictions=predictions,
            baselines=baselines,
            precision=precision,
            overwrite=overwrite,
            listener=listener,
        )
    typer.echo(summary(report))
    typer.echo(f"{output / 'report.html'}: open it in a browser")


def _check_pairs_only(run: Path, options_of_columns: Mapping[str, object]) -> None:
    """Check that a reward model is scored without options that concern columns; None stands for one not given."""
    if more := [name for name, value in options_of_columns.items() if value is not None]:
        raise RunError(
            f"{run} is a reward model, which is scored on pairs of answers alone. Leave out {' and '.join(more)}."
        )
