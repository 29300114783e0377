"""Collects what is wrong with a table, so that one error shows all of it."""

from collections.abc import Sequence

from papertune.errors import TableError, quoted

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
    problems = Problems(f"{source}: the column names are invalid", "Give every column a name of its own.")
    for position, name in enumerate(names, start=1):
        if not name.strip():
            # The most common cause by far: DataFrame.to_csv() writes its row index with an empty name.
            problems.add(
                f"{source}: column {position} has no name (pandas writes its row index like this, unless index=False)"
            )
        elif "\0" in name:
            problems.add(f"{source}: the name of column {position}, {quoted(name)}, has a NUL character")
        elif name in names[: position - 1]:
            first = list(names).index(name) + 1
            problems.add(f"{source}: the columns {first} and {position} have the same name, {quoted(name)}")
    problems.raise_if_any()
