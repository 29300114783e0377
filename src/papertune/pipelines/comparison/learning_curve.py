"""Learning curves: trainings of a recipe on nested random subsets of a table."""

import random
from collections.abc import Sequence
from typing import Literal

from papertune.errors import TableError
from papertune.tables import Table

# A number of rows, or the whole table.
CurveSize = int | Literal["all"]

CURVE_SEED = 0

# A label column needs rows of two labels.
MIN_ROWS = 2


def read_curve(text: str) -> list[CurveSize]:
    """Read sizes such as `50,100,200,all`.

    Raises:
        TableError: If one is not a number of rows.
    """
    sizes: list[CurveSize] = []
    for word in (part.strip() for part in text.split(",")):
        if word == "all":
            sizes.append("all")
        elif word.isdecimal() and int(word) >= MIN_ROWS:
            sizes.append(int(word))
        else:
            raise TableError(
                f'--curve: "{word}" is not a number of rows, at least {MIN_ROWS}. Write for example 50,100,all.'
            )
    return sizes


def curve_steps(sizes: Sequence[CurveSize], train: Table) -> list[int]:
    """Return the distinct numbers of rows of a curve, ascending, none larger than the table."""
    return sorted({len(train) if size == "all" else min(size, len(train)) for size in sizes})


def subset(train: Table, rows: int) -> Table:
    """Return random rows of a table in table order; a larger subset contains every smaller one."""
    generator = random.Random(CURVE_SEED)
    # Sorted by random() and not shuffled, since only random() gives the same numbers in every Python version.
    order = sorted(range(len(train)), key=[generator.random() for _ in range(len(train))].__getitem__)
    return train.take(sorted(order[:rows]))
