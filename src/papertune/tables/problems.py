"""What is wrong with a table, gathered so that one reading shows all of it."""

from collections.abc import Sequence

from papertune.errors import TableError, quoted

# A file read with the wrong delimiter is wrong in each of a million rows: stop when the point is made.
MOST_PROBLEMS_KEPT = 1000


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
        """Note a problem (a place, what is there, no full stop); a thousand of them are enough to stop.

        Raises:
            TableError: If this was one too many to go on.
        """
        self.found.append(problem)
        if len(self.found) == MOST_PROBLEMS_KEPT:
            self.raise_if_any()

    def raise_if_any(self) -> None:
        """Stop if there were problems.

        Raises:
            TableError: With all of them.
        """
        if len(self.found) == 1:
            raise TableError(f"{self.found[0]}. {self.remedy}")
        if self.found:
            raise TableError.collect(f"{self.what}. {self.remedy}", self.found)


def check_names(names: Sequence[str], source: str) -> None:
    """Refuse column names that cannot name one column each.

    Args:
        names: The header, in order.
        source: What messages call the table.

    Raises:
        TableError: If a name is empty, given twice, or has a NUL character.
    """
    problems = Problems(f"{source}: the column names cannot be used", "Give every column a name of its own.")
    for position, name in enumerate(names, start=1):
        if not name.strip():
            # The most common cause by far: DataFrame.to_csv() writes its row index under an empty name.
            problems.add(
                f"{source}: column {position} has no name (pandas writes its row index so, without index=False)"
            )
        elif "\0" in name:
            problems.add(f"{source}: the name of column {position}, {quoted(name)}, has a NUL character")
        elif name in names[: position - 1]:
            first = list(names).index(name) + 1
            problems.add(f"{source}: the columns {first} and {position} have the same name, {quoted(name)}")
    problems.raise_if_any()
