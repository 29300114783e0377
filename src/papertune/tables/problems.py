"""Collects what is wrong with a table, so that one error shows all of it."""

from collections.abc import Sequence

from papertune.errors import TableError, quoted
from papertune.tables.cells import is_blank

# A file read with the wrong delimiter is wrong in every row: stop at a number that makes that clear.
MAX_PROBLEMS = 1000


class Problems:
    """Collects problems of the same kind; `raise_if_any` makes one error of them.

    Args:
        what: The sentence above the list, without its full stop, such as "papers.csv has ragged rows".
        remedy: What to do about them; a whole sentence.
    """

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        """Add a problem: the place, what is there, no full stop.

        Raises:
            TableError: If there are now `MAX_PROBLEMS` of them.
        """
        self.found.append(problem)
        if len(self.found) == MAX_PROBLEMS:
            self.raise_if_any()

    def raise_if_any(self) -> None:
        """Raise an error if there are problems.

        Raises:
            TableError: With all of them.
        """
        if len(self.found) == 1:
            raise TableError(f"{self.found[0]}. {self.remedy}")
        if self.found:
            raise TableError.collect(f"{self.what}. {self.remedy}", self.found)


def check_names(names: Sequence[str], source: str) -> None:
    """Check that each column has a name of its own.

    Args:
        names: The header, in order.
        source: What messages call the table.

    Raises:
        TableError: If a name is empty, occurs twice, or has a NUL character.
    """
    problems = _wrong_names(names, source)
    for position, name in enumerate(names, start=1):
        if is_blank(name):
            problems.add(f"{source}: column {position} has no name")
    problems.raise_if_any()


def check_filled_names(names: Sequence[str], source: str) -> None:
    """Check the names of a header that may lack some.

    Args:
        names: The header, in order; a blank name is skipped.
        source: What messages call the table.

    Raises:
        TableError: If a name occurs twice or has a NUL character.
    """
    _wrong_names(names, source).raise_if_any()


def _wrong_names(names: Sequence[str], source: str) -> Problems:
    problems = Problems(f"{source}: the column names are invalid", "Give every column a name of its own.")
    first: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if is_blank(name):
            continue
        if "\0" in name:
            problems.add(f"{source}: the name of column {position}, {quoted(name)}, has a NUL character")
        elif name in first:
            problems.add(f"{source}: the columns {first[name]} and {position} have the same name, {quoted(name)}")
        first.setdefault(name, position)
    return problems
