"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

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
