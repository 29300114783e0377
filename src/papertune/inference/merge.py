"""Merging: a run becomes an ordinary model folder, with the adapter added to the base weights."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papertune.errors import PapertuneWarning
from papertune.files import check_new_folder, writing_model_folder
from papertune.models import Precision

if TYPE_CHECKING:
    from papertune.run import Run


def merge(run: "Run", folder: Path, precision: Precision) -> None:
    """Write the merged model, as described in `Run.merge`.

    Args:
        run: The run.
        folder: A new or empty folder.
        precision: Number format of the written weights.

    Raises:
        OutputError: If the folder exists and is not empty, or cannot be written.
        RunError: If the run cannot be merged, such as one with a prefix.
    """
    run.recipe.method.check_mergeable(run.directory.path)
    run.directory.check_has_model(run.recipe)
    check_new_folder(folder)
    if run.joins:
        warnings.warn(
            f"{run.directory.path} joins its model with other sources ({', '.join(run.joins)}); the merged model "
            "answers as the fine-tuned model alone does.",
            PapertuneWarning,
            stacklevel=3,  # the caller of `Run.merge`
        )
    model, tokenizer = merged_model(run, precision)
    with writing_model_folder(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def merged_model(run: "Run", precision: Precision) -> tuple[Any, Any]:
    """Return the run's model as an ordinary one, and its tokenizer.

    Args:
        run: A run that can be merged.
        precision: Number format of the weights.
    """
    from papertune.methods import load_adapter, merge_adapter
    from papertune.models import dequantized, is_quantized

    model, tokenizer = run.load_base(precision)
    if is_quantized(model):
        model = dequantized(model)
        bits = "few" if run.recipe.base_bits is None else str(run.recipe.base_bits)
        dtype = str(model.dtype).removeprefix("torch.")
        warnings.warn(
            f"{run.directory.path} was trained on {run.manifest.base_name} in {bits} bits. The merged weights "
            f"are the values that these bits stand for, in {dtype}, with the adapter added. They answer like "
            "the run; the full-precision weights with the adapter added would not.",
            PapertuneWarning,
            stacklevel=4,  # the caller of `Run.merge`
        )
    if run.directory.adapter.is_dir():
        model = merge_adapter(load_adapter(model, run.directory.adapter))
    return model.eval(), tokenizer
