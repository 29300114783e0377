"""Collects what is wrong with a table, so that one error shows all of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from papertune.errors import TableError, quoted
from papertune.tables.cells import is_blank

# A file read with the wrong format is wrong in every row: stop at a number that makes that clear.
MAX_PROBLEMS = 1000
# So many places of a fault are shown; the others are counted.
_MAX_PLACES = 5


@dataclass
class Places:
    """Where the same fault is found: how often, and the first places."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        """Count one more place."""
        self.count += 1
        if self.count <= _MAX_PLACES:
            self.first.append(place)

    def others(self) -> str:
        """Return all but the first as " (and 29 more: 5, 6, 7, 8, ...)"; nothing if there is only one."""
        if self.count < 2:
            return ""
        dots = ", ..." if self.count > len(self.first) else ""
        return f" (and {self.count - 1:,} more: {', '.join(self.first[1:])}{dots})"


class Problems:
    """Collects problems of the same kind; `raise_if_any` makes one error of them.

    Args:
        source: What messages call the table.
        what: What is wrong with it, without a full stop, such as "rows cannot be read".
        remedy: What to do about it; a whole sentence.
    """

    def __init__(self, source: str, what: str, remedy: str) -> None:
        self.source = source
        self.what = what
        self.remedy = remedy
        self._places: dict[str, Places] = {}

    def __bool__(self) -> bool:
        return bool(self._places)

    def add(self, place: str, fault: str) -> None:
        """Add a problem; the same fault in many places is one problem.

        Args:
            place: Such as "line 3", within the source; "" for the source itself.
            fault: What is there, without a full stop.

        Raises:
            TableError: If there are now `MAX_PROBLEMS` different ones.
        """
        self._places.setdefault(fault, Places()).add(place)
        if len(self._places) == MAX_PROBLEMS:
            self.raise_if_any()

    def add_all(self, places: Places, fault: str) -> None:
        """Add a problem that was found in several places."""
        self._places[fault] = places

    def raise_if_any(self) -> None:
        """Raise an error if there are problems.

        Raises:
            TableError: With all of them.
        """
        found = [
            f"{', '.join(filter(None, (self.source, places.first[0])))}: {fault}{places.others()}"
            for fault, places in self._places.items()
        ]
        if len(found) == 1:
            raise TableError(f"{found[0]}. {self.remedy}")
        if found:
            raise TableError.collect(f"{self.source}: {self.what}. {self.remedy}", found)


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
            problems.add("", f"column {position} has no name")
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
    problems = Problems(source, "the column names are invalid", "Give every column a name of its own.")
    first: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if is_blank(name):
            continue
        if "\0" in name:
            problems.add("", f"the name of column {position}, {quoted(name)}, has a NUL character")
        elif name in first:
            problems.add("", f"the columns {first[name]} and {position} have the same name, {quoted(name)}")
        first.setdefault(name, position)
    return problems
