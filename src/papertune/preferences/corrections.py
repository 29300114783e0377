"""Preferences of a person who has corrected what a run has written."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from papertune.errors import TableError
from papertune.kinds import AskedSpec
from papertune.kinds.findings import Findings, GoldCheck
from papertune.preferences.asking import Asked
from papertune.preferences.entries import Pair
from papertune.preferences.matching import Key, Rows
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table


@dataclass(frozen=True)
class Corrections:
    """What a person has changed in one column.

    Attributes:
        pairs: The corrected answers beside the predicted ones.
        changed: The keys of all cells whose meaning has changed.
        line: What to report.
    """

    pairs: list[Pair]
    changed: frozenset[Key]
    line: str


def written_answers(rows: Rows, name: str, column: AskedSpec) -> dict[Key, str | None]:
    """Return the answers of a predicted column, which a person may have corrected, by key; None for an empty cell.

    Raises:
        TableError: If a cell is invalid.
    """
    # Not the columns beside it: whoever corrects a cell need not keep its confidence.
    table = Table(rows.table.frame.select([name]), rows.table.source, rows.table.counted, rows.table.numbers)
    cells = column.read_predictions(table, name, None).cells
    return {key: column.read_written(cells[row]) for key, row in rows.by_key.items()}


def read_corrections(
    filled: Rows, corrected: Rows, common: Sequence[Key], asked: Asked, recipe: Recipe, name: str
) -> Corrections:
    """Return the pairs of one column: where a cell was changed, the new answer is better than the old one.

    Args:
        filled: What the run has written.
        corrected: The same table after a person has worked on it.
        common: The keys of the rows to compare.
        asked: Knows their documents.
        recipe: The recipe.
        name: The column, whose answers are generated.

    Raises:
        TableError: If a changed cell is invalid, or the document of a pair is missing.
    """
    column = recipe.questions[name]
    _check_changed_cells(filled, corrected, common, recipe, name)
    before, after = (written_answers(rows, name, column) for rows in (filled, corrected))
    counts: Counter[str] = Counter()
    changed: set[Key] = set()
    pairs: list[Pair] = []
    unknown: list[str] = []
    for key in common:
        old, new = before[key], after[key]
        what = _compare(old, new, column)
        if what != "unchanged":
            changed.add(key)
        if what == "changed" and old is not None and new is not None:
            if key not in asked:
                unknown.append(asked.unknown(corrected.table.where(corrected.by_key[key], name)))
                continue
            fields = asked.fields(key, name)
            found = column.preferences(new, old)
            pairs += [Pair(**fields, chosen=good, rejected=bad, source="human") for good, bad in found]
            what = what if found else "added"
        counts[what] += 1
    if unknown:
        raise TableError.collect(f"{corrected.table.source}: documents are not known", unknown)
    return Corrections(pairs, frozenset(changed), _line(name, len(common), counts, len(pairs)))


def _compare(old: str | None, new: str | None, column: AskedSpec) -> str:
    """Return what has happened to an answer, in one word."""
    if old is None or new is None:
        return "unchanged" if old is new else "emptied" if new is None else "filled"
    return "unchanged" if column.is_same_answer(old, new) else "changed"


# What is reported of cells that are no pair, in this order.
_OTHER = {
    "unchanged": "{} unchanged",
    "added": "{} with keywords added only (nothing to reject)",
    "filled": "{} filled in where nothing was predicted (nothing to reject)",
    "emptied": "{} emptied (nothing to prefer)",
}


def _line(name: str, cells: int, counts: Counter[str], pairs: int) -> str:
    changed = f"{counts['changed']:,} changed" + (f" ({pairs:,} pairs)" if pairs != counts["changed"] else "")
    others = [text.format(f"{counts[what]:,}") for what, text in _OTHER.items() if counts[what]]
    return f"{name}: {cells:,} {'cell' if cells == 1 else 'cells'} compared, {', '.join([changed, *others])}"


def _check_changed_cells(filled: Rows, corrected: Rows, common: Sequence[Key], recipe: Recipe, name: str) -> None:
    """Check the cells that are not as the run has written them.

    Raises:
        TableError: With every cell that is not an answer of the column.
    """
    table = corrected.table
    both = ((filled.by_key[key], corrected.by_key[key]) for key in common)
    rows = [row for before, row in both if filled.table.frame[name][before] != table.frame[name][row]]
    if not rows:
        return
    changed = table.take(rows)
    only = Table(changed.frame.select([name]), table.source, table.counted, changed.numbers)
    findings = Findings()
    reader = RowReader(only, recipe)
    recipe.columns[name].check_gold(GoldCheck(only, reader, name, "train", {}, findings))
    findings.raise_problems(table)
