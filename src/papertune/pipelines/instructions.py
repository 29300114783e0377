"""A table as the tutorial's JSON: a list of instruction, input and output."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneWarning
from papertune.files import check_entries_file, write_entries
from papertune.pipelines.training.chosen_columns import choose_columns_to_learn
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader, training_examples
from papertune.prompts.given_cells import open_table
from papertune.prompts.separators import with_clear_separators
from papertune.recipe import Recipe, load_recipe


def write_instructions(
    table: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    overwrite: bool = False,
) -> int:
    """Write the training examples of a table as JSON, or as JSON lines if the file's name ends in .jsonl.

    Returns:
        How many entries were written.

    Raises:
        RecipeError, TableError: If the table does not fit the recipe.
        OutputError: If the file exists or cannot be written.
    """
    path = Path(output)
    check_entries_file(path, overwrite=overwrite)
    chosen = choose_columns_to_learn(load_recipe(recipe, overrides), only)
    read = open_table(table, chosen)
    chosen, messages = with_clear_separators(chosen, [read])
    findings = check_table(read, chosen, "train")
    findings.raise_problems(read)
    for warning in (*messages, *findings.warnings):
        warnings.warn(warning, PapertuneWarning, stacklevel=2)
    reader = RowReader(read, chosen)
    entries: list[dict[str, Any]] = []
    for example in training_examples(read, chosen):
        entry: dict[str, Any] = {
            "instruction": reader.question(example.row, example.column),
            "input": reader.input(example.row),
            "output": example.answer,
        }
        if example.prompt.system:
            entry["system"] = example.prompt.system
        if example.prompt.history:
            entry["history"] = [list(turn) for turn in example.prompt.history]
        entries.append(entry)
    write_entries(entries, path)
    return len(entries)
