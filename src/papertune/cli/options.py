"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from papertune.errors import RunError

if TYPE_CHECKING:
    from papertune.run import Run

Recipe = Annotated[str, typer.Option("--recipe", "-r", help="A recipe file, or the name of a built-in recipe.")]
Sets = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help='Override the recipe, for example "training.epochs=3".')
]
Only = Annotated[
    list[str], typer.Option("--only", metavar="COLUMN", help="Use only this column of the recipe (repeatable).")
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one.", show_default=False),
]
Base = Annotated[
    Path | None,
    typer.Option(
        "--base", help="Location of the base model, if it was moved: a folder or a .gguf file.", show_default=False
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors only.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Precision = Annotated[
    Literal["auto", "bf16", "fp16", "fp32"], typer.Option("--precision", help="Number format of the weights.")
]
PredictionPrecision = Annotated[
    Literal["auto", "bf16", "fp16", "fp32", "int8"], typer.Option("--precision", help="Number format of the weights.")
]
BestOf = Annotated[
    int | None,
    typer.Option(
        "--best-of",
        min=2,
        help="With --reward: choose among this many answers, the greedy one and others drawn at random; default: 8.",
        show_default=False,
    ),
]
Reward = Annotated[
    Path | None,
    typer.Option(
        "--reward",
        help="A run of stage rm: of several answers in a column of keywords or text, write the one that it prefers.",
        show_default=False,
    ),
]


Cascade = Annotated[
    bool,
    typer.Option(
        "--cascade",
        help="Spare the model the rows that words and other sources decide alone, from a certainty that was chosen on "
        "dev rows.",
    ),
]


def choose_answers(run: "Run", best_of: int | None, reward: Path | None, *, cascade: bool) -> "Run":
    """Return the run as `--best-of`, `--reward` and `--cascade` ask for it.

    Raises:
        RunError: If the reward run is missing or does not fit.
    """
    if reward is None and best_of is not None:
        raise RunError(f"--best-of {best_of} needs a reward model to choose the best answer. Add --reward RUN.")
    chosen = run if reward is None else run.with_best_of(best_of or 8, reward)
    return chosen.with_cascade() if cascade else chosen
