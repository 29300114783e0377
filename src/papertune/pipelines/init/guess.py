"""Which columns of a table hold the id, the document, labels and keywords."""

import warnings
from collections.abc import Callable, Collection, Sequence

from papertune.errors import PapertuneWarning, TableError, listed, quoted
from papertune.kinds.label.cells import without_invisible
from papertune.pipelines.init import aliases
from papertune.pipelines.init.label_cells import MAX_LABELS, count_labels, looks_like_several
from papertune.suggest import did_you_mean
from papertune.tables import Table

# A column of this mean length holds text, if no name says what it holds.
_MIN_TEXT_CHARS = 30


def find_column(table: Table, name: str, names: Sequence[str]) -> str:
    """Return the column of a table that a user means: with this name, if need be but for blanks and line breaks.

    Args:
        table: The table.
        name: What the user wrote.
        names: What such columns are called in known sources, for a suggestion.

    Raises:
        TableError: If there is no such column.
    """
    if name in table.columns:
        return name
    same = [column for column in table.columns if column.split() == name.split()]
    if len(same) == 1:
        return same[0]
    known = best_column(table, names, ()) if aliases.rank(name, names) is not None else None
    suggestion = f" Did you mean {quoted(known)}?" if known else did_you_mean(name, table.columns)
    hint = suggestion or f" It has: {in_a_line(table.columns)}."
    raise TableError(f"{table.source} has no column {quoted(name)}.{hint}")


def id_column(table: Table, learned: Collection[str]) -> str | None:
    """Return the column with the best name of an id whose cells are all different; None without one."""
    named = [name for name in ranked(table, aliases.ID) if name not in learned]
    return next((name for name in named if _is_unique(table, name)), None)


def document_columns(table: Table, learned: Collection[str]) -> list[str]:
    """Return the columns that the model is to read: title and abstract, or what looks like text.

    Warns if there is a title and no abstract.

    Raises:
        TableError: If no column looks like text.
    """
    title = best_column(table, aliases.TITLE, learned, aliases.is_title)
    abstract = best_column(table, aliases.ABSTRACT, learned, aliases.is_abstract)
    abstract = abstract or best_column(table, aliases.TEXT, learned)
    if abstract is not None:
        return [name for name in (title, abstract) if name is not None]
    if title is None:
        return _long_columns(table, learned)
    if not any(aliases.rank(name, aliases.ABSTRACT) is not None for name in learned):
        _warn_of_title_alone(table, title, [name for name in table.columns if name not in {*learned, title}])
    return [title]


def _warn_of_title_alone(table: Table, title: str, others: Sequence[str]) -> None:
    empty = ranked(table, aliases.ABSTRACT)
    others = [name for name in others if name not in empty]
    emptiness = "".join(f" The column {quoted(name)} is empty." for name in empty)
    remedy = (
        f"The other columns are {in_a_line(others)}. If one of them is the abstract, name both: "
        f"--document {quoted(title)} --document COLUMN."
    )
    warnings.warn(
        f"{table.source}: no abstract was found, so the model reads only {quoted(title)}.{emptiness} "
        f"{remedy if others else 'Add a column with the abstracts, if you have them.'}",
        PapertuneWarning,
        stacklevel=2,
    )


def guess_columns(table: Table) -> tuple[list[str], list[str], list[str]]:
    """Return the columns that look like one label, several labels and keywords.

    Raises:
        TableError: If there are none.
    """
    labels = [name for name in ranked(table, (*aliases.LABEL, *aliases.LABELS)) if looks_like_several(table, name)]
    one = [name for name in ranked(table, aliases.LABEL) if name not in labels]
    label = [name for name in one if 2 <= len(count_labels(table, name).rows) <= MAX_LABELS]
    best = best_column(table, aliases.KEYWORDS, ())
    keywords = [] if best is None else [best]
    if not label and not labels and not keywords:
        raise TableError(
            f"{table.source}: no column looks like labels or keywords ({in_a_line(table.columns)}). "
            "Name one with --label, --labels, --keywords, --text or --number."
        )
    return label, labels, keywords


def ranked(table: Table, names: Sequence[str]) -> list[str]:
    """Return the columns with one of these names, in the order of the names."""
    places = {column: aliases.rank(column, names) for column in table.columns}
    found = [(place, column) for column, place in places.items() if place is not None]
    return [column for _, column in sorted(found, key=lambda each: each[0])]


def best_column(
    table: Table,
    names: Sequence[str],
    learned: Collection[str],
    is_alike: Callable[[str], bool] = lambda header: False,
) -> str | None:
    """Return the best of the columns with one of these names, or of those that are alike; None without one.

    The first name wins, unless another column has more than twice as many filled cells. Empty columns do not count.

    Args:
        table: The table.
        names: The names, the best first.
        learned: Columns that are not considered.
        is_alike: Whether the header of another column will do.
    """
    filled: dict[str, int] = {}
    named = ranked(table, names)
    for column in [*named, *(each for each in table.columns if each not in named and is_alike(each))]:
        count = int((table.frame[column].str.strip_chars() != "").sum())
        if count and column not in learned:
            filled[column] = count
    most = max(filled.values(), default=0)
    return next((column for column, count in filled.items() if 2 * count >= most), None)


def name_in_text(name: str) -> str:
    """Return a column's name as a prompt has it: in one line, at most 60 characters, none of them invisible."""
    return in_a_line([without_invisible(name)])


def in_a_line(names: Sequence[str]) -> str:
    """Return names as one line, each at most 60 characters long."""
    shown = (" ".join(name.split()) for name in names)
    return listed(name if len(name) <= 60 else name[:57] + "..." for name in shown)


def _long_columns(table: Table, learned: Collection[str]) -> list[str]:
    """Return the columns with long cells that are not about persons, places or decisions."""
    lengths = {name: table.frame[name].str.len_chars().mean() or 0 for name in table.columns if name not in learned}
    shown = [
        name
        for name, length in lengths.items()
        if isinstance(length, int | float) and length >= _MIN_TEXT_CHARS and aliases.is_content(name)
    ]
    if not shown:
        raise TableError(
            f"{table.source}: no column looks like text. It has: {in_a_line(table.columns)}. Name the columns that the "
            "model is to read: --document COLUMN."
        )
    return shown


def _is_unique(table: Table, name: str) -> bool:
    return table.frame[name].n_unique() == len(table) and not (table.frame[name].str.strip_chars() == "").any()
