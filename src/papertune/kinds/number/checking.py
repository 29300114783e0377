"""The check of a table's number cells."""

from papertune.errors import Sentence, quoted
from papertune.kinds.findings import GoldCheck
from papertune.kinds.number.column import NumberColumn


def check_numbers(column: NumberColumn, check: GoldCheck) -> None:
    """Check that each cell holds one number of the range, or none, and that it is not ambiguous."""
    if not check.is_there:
        return
    # As the table has them: the reader has resolved ambiguous cells already.
    cells = {row: check.table.frame[check.shown][row] for row, _ in check.cells()}
    rules = column.rules
    resolved = column.resolve_cells(cells.values())
    shown = rules.evidence(cells.values())
    not_stated = [row for row, cell in cells.items() if column.is_not_stated(cell)]
    for row in cells.keys() - set(not_stated):
        cell = cells[row]
        if cell not in resolved and (len(rules.allowed(cell)) != 1 or rules.read(cell) is None):
            check.problem(row, rules.problem(cell, check.name, shown))
    if not column.empty:
        check.warn_of_empty(Sentence("empty", "empty_cells"), not_stated)
    numbers = len(cells) - len(not_stated)
    text = f"{check.name}: {numbers:,} numbers, {len(not_stated):,} not stated"
    fact = Sentence(text, "numbers", column=check.name, count=numbers, empty=len(not_stated))
    check.findings.facts.append(fact)
    if resolved:
        cell, text = next(iter(resolved.items()))
        said = f"{check.name}: {quoted(cell)} is read as {text}"
        check.findings.facts.append(Sentence(said, "number_read_as", column=check.name, value=cell, number=text))
