"""What makes scores better than they should be: the same papers in both tables, and columns that give the label away.

A shortcut is a feature that predicts the label of these tables but not what the label means (Geirhos et al. 2020,
"Shortcut learning in deep neural networks", arXiv:2004.07780).
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DuplicatePair:
    """The same paper, or nearly, in two tables.

    Attributes:
        id: Of the row of the scored table.
        other_id: Of the row of the table that was learnt from.
        document: Text of the former.
        other_document: Text of the latter.
        similarity: 1 if they are the same after normalising, else their likeness from 0 to 1.
    """

    id: str
    other_id: str
    document: str
    other_document: str
    similarity: float


@dataclass(frozen=True)
class Shortcut:
    """A surface feature of one column's cells that alone predicts a label column.

    Attributes:
        label: The label column.
        column: The column whose cells have the feature.
        feature: What it is, in words.
        shown: Whether the model reads the column.
        accuracy: Cross-validated accuracy of a model that sees this feature alone.
        majority: Accuracy of always saying the most frequent label.
        example: What was seen, such as "author repeated: 1 in 700 of 702 rows".
    """

    label: str
    column: str
    feature: str
    shown: bool
    accuracy: float
    majority: float
    example: str = ""


@dataclass(frozen=True)
class Leaks:
    """What was found.

    Attributes:
        duplicates: Papers of the scored table that the training table has too, exact ones first.
        shortcuts: Features that give a label away, the most accurate first.
    """

    duplicates: Sequence[DuplicatePair]
    shortcuts: Sequence[Shortcut]
