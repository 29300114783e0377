"""Preferences from tables: what a person has corrected or judged, and synthetic pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from papertune.errors import OutputError, RecipeError, TableError
from papertune.events import SILENT, Listener
from papertune.files import check_entries_file
from papertune.pipelines.training.chosen_columns import choose_columns_to_learn
from papertune.preferences import Pair, Thumb, write_preferences
from papertune.preferences.asking import Asked, find_documents
from papertune.preferences.corrections import read_corrections
from papertune.preferences.judgements import count_judgements, judgement_column, read_judgements
from papertune.preferences.matching import Key, Rows, common_rows, rows_by_key
from papertune.preferences.synthetic import synthesise as make_synthetic
from papertune.recipe import Recipe, load_recipe
from papertune.suggest import did_you_mean
from papertune.tables import read_table


@dataclass
class Preferences:
    """What `prefer` has found.

    Attributes:
        pairs: Pairs of answers: of people first, then synthetic ones.
        thumbs: Answers that were judged by themselves.
        lines: What was compared and what was left out, a line each.
    """

    pairs: list[Pair] = field(default_factory=list)
    thumbs: list[Thumb] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def prefer(
    filled: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path | None = None,
    *,
    corrected: Any = None,
    thumbs: str | Path | None = None,
    documents: Any = None,
    synthesise: bool = False,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    overwrite: bool = False,
    listener: Listener = SILENT,
) -> Preferences:
    """Collect preferences about the answers of generated columns, and write them in the layout of LLaMA-Factory.

    A changed cell of `corrected` is a pair: the new answer is better than the predicted one. Cells are compared by
    meaning: blanks and the order of keywords do not count.

    Args:
        filled: A table that `predict` has written.
        recipe: The recipe that it was predicted with.
        output: The file for pairs, .jsonl or .json; None: none is written.
        corrected: The same table, corrected; rows are matched by the recipe's id column, or by `row`.
        thumbs: The file for judged answers. A judgement of the column Keywords stands in the column Keywords_good of
            either table: yes, no, true, false, 1, 0; empty: none.
        documents: The table that was predicted, if neither of the others has its documents.
        synthesise: Add pairs of the answers in `corrected`, or else `filled`, and worse ones made from them.
        overrides: Settings of the recipe, such as "training.seed=3", which chooses what synthetic pairs change.
        only: Use these columns only.
        overwrite: Replace existing files.
        listener: Gets a line for each column.

    Returns:
        The preferences.

    Raises:
        RecipeError: If no column is left whose answers are generated.
        TableError: If the tables do not fit, or nothing is preferred.
        OutputError: If a file exists or cannot be written.
    """
    paths = [None if path is None else Path(path) for path in (output, thumbs)]
    _check_places(*paths, overwrite=overwrite)
    chosen = choose_columns_to_learn(load_recipe(recipe, overrides), only)
    rows = rows_by_key([read_table(each) for each in (filled, corrected) if each is not None], chosen)
    found = Preferences()
    names = _generated_columns(chosen, rows, found)
    _check_wanted(rows, names, output=output, thumbs=thumbs, synthesise=synthesise)
    asked = find_documents(rows[::-1], None if documents is None else read_table(documents), chosen)
    _read_people(rows, names, asked, chosen, found)
    for name in names if synthesise else []:
        synthetic = make_synthetic(rows[-1], asked, chosen, name)
        found.pairs += synthetic.pairs
        found.lines.append(synthetic.line)
    if thumbs is None and found.thumbs:
        found.lines.append(f"judged answers that are not written: {len(found.thumbs):,}; add --thumbs FILE")
    for line in found.lines:
        listener.message(line)
    _write(found, *paths, overwrite=overwrite)
    return found


def _check_places(output: Path | None, thumbs: Path | None, *, overwrite: bool) -> None:
    """Check that two different files can be written.

    Raises:
        OutputError: If they cannot.
    """
    for path in (output, thumbs):
        if path is not None:
            check_entries_file(path, overwrite=overwrite)
    if output is not None and output == thumbs:
        raise OutputError(f"{output}: pairs and judged answers cannot be in one file. Name another for --thumbs.")


def _read_people(rows: Sequence[Rows], names: Sequence[str], asked: Asked, recipe: Recipe, found: Preferences) -> None:
    """Add what people have corrected and judged."""
    common: list[Key] = []
    if len(rows) > 1:
        common, lines = common_rows(rows[0], rows[1])
        found.lines += lines
    for name in names:
        changed: frozenset[Key] = frozenset()
        if len(rows) > 1:
            corrections = read_corrections(rows[0], rows[1], common, asked, recipe, name)
            found.pairs += corrections.pairs
            found.lines.append(corrections.line)
            changed = corrections.changed
        judged = next((each for each in rows[::-1] if count_judgements(each, name)), None)
        if judged is not None:
            judgements = read_judgements(judged, rows[0], asked, recipe, name, changed)
            found.thumbs += judgements.thumbs
            found.lines.append(judgements.line)


def _generated_columns(recipe: Recipe, rows: Sequence[Rows], found: Preferences) -> list[str]:
    """Return the columns that the tables have and whose answers are generated; the others are reported.

    Raises:
        RecipeError, TableError: If there are none.
    """
    reasons = {name: column.why_no_feedback for name, column in recipe.columns.items()}
    generated = [name for name, reason in reasons.items() if not reason]
    if not generated:
        raise RecipeError(
            f"{'; '.join(f'{name}: {reason}' for name, reason in reasons.items())}. Correct the cells in the table, "
            "and train on it again."
        )
    names = []
    for name in generated:
        lacking = next((each.table for each in rows if name not in each.table.columns), None)
        if lacking is None:
            names.append(name)
        else:
            hint = did_you_mean(name, lacking.columns)
            found.lines.append(f'{lacking.source} has no column "{name}", so it is left out.{hint}')
    if not names:
        raise TableError.collect("there is nothing to compare", found.lines)
    for name, reason in reasons.items():
        having = next((each.table for each in rows if name in each.table.columns), None)
        if reason and having is not None:
            count = sum(1 for cell in having.frame[name] if cell.strip())
            found.lines.append(f"{name}: {count:,} {'cell' if count == 1 else 'cells'} left out, since {reason}")
    return names


def _check_wanted(
    rows: Sequence[Rows], names: Sequence[str], *, output: object, thumbs: object, synthesise: bool
) -> None:
    """Check that the tables can have what is to be written.

    Raises:
        TableError: If they cannot.
    """
    source = rows[-1].table.source
    titles = [judgement_column(name) for name in names]
    is_judged = any(count_judgements(each, name) for each in rows for name in names)
    has_pairs = len(rows) > 1 or synthesise
    if not has_pairs and not is_judged:
        raise TableError(
            f"{source} alone prefers nothing. Give the corrected table as well, judge the cells in a column such as "
            f"{titles[0]} (yes or no), or add --synthesise if its cells are the authors' own."
        )
    if output is not None and not has_pairs:
        raise TableError(
            f"{source} has judgements of single answers, and no pairs to write. Write them with --thumbs instead of "
            "--output, or give the corrected table as well."
        )
    if thumbs is not None and not is_judged:
        raise TableError(
            f"{source} has no judgements to write with --thumbs: none of its cells is yes or no in "
            f"{' or '.join(titles)}. Judge some, or leave out --thumbs."
        )


def _write(found: Preferences, output: Path | None, thumbs: Path | None, *, overwrite: bool) -> None:
    """Write what was found, if there is anything.

    Raises:
        TableError: If a file would be empty.
    """
    for entries, path, what in ((found.pairs, output, "preferred"), (found.thumbs, thumbs, "judged")):
        if path is not None and not entries:
            raise TableError("\n".join([f"{path} is not written, since no answer is {what}:", *found.lines]))
    if output is not None:
        write_preferences(found.pairs, output, overwrite=overwrite)
    if thumbs is not None:
        write_preferences(found.thumbs, thumbs, overwrite=overwrite)
