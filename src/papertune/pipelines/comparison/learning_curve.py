"""How good a column becomes with so many training rows: trainings of the recipe on nested random subsets of a table."""

import random
from collections.abc import Sequence
from typing import Literal

from papertune.errors import TableError
from papertune.tables import Table

# A number of rows, or the whole table.
CurveSize = int | Literal["all"]

CURVE_SEED = 0

# Fewer rows have no two labels to tell apart, as like as not.
MIN_ROWS = 2


def read_curve(text: str) -> list[CurveSize]:
    """Read sizes such as `50,100,200,all`.

    Raises:
        TableError: If one is no number of rows.
    """
    sizes: list[CurveSize] = []
    for word in (part.strip() for part in text.split(",")):
        if word == "all":
            sizes.append("all")
        elif word.isdecimal() and int(word) >= MIN_ROWS:
            sizes.append(int(word))
        else:
            raise TableError(
                f'--curve: "{word}" is no number of rows from {MIN_ROWS} on. Write for example 50,100,all.'
            )
    return sizes


def curve_steps(sizes: Sequence[CurveSize], train: Table) -> list[int]:
    """Give the numbers of rows of a curve, each once, ascending; more than the table has are the whole table."""
    return sorted({len(train) if size == "all" else min(size, len(train)) for size in sizes})


def subset(train: Table, rows: int) -> Table:
    """Give so many rows of a table at random, in table order; fewer rows are always among more of them."""
    generator = random.Random(CURVE_SEED)
    # Sorting by random() and not shuffle(): only random() promises the same numbers in every Python.
    order = sorted(range(len(train)), key=[generator.random() for _ in range(len(train))].__getitem__)
    return train.take(sorted(order[:rows]))
