"""The labels in the cells of a column, tidied as a training reads them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from papertune.kinds.label.cells import UNLABELLED, loose_label, tidy_label
from papertune.kinds.separators import column_items, single_item
from papertune.tables import Table

# A column with more different cells, or parts of cells, is not a label column.
MAX_LABELS = 50
# Labels occur in at least this number of rows on average; keywords do not.
_MIN_ROWS_PER_LABEL = 3


@dataclass(frozen=True)
class LabelCounts:
    """The labels of a column.

    Attributes:
        rows: Number of rows with each label, the most frequent first.
        spellings: For labels that are written in several ways, the others: they differ in case, width or invisible
            characters.
        unlabelled: Number of rows with each cell that means "not labelled"; "" for empty cells.
    """

    rows: Counter[str]
    spellings: dict[str, list[str]]
    unlabelled: Counter[str]


def count_labels(table: Table, name: str) -> LabelCounts:
    """Count the labels of a column with one label a cell.

    Cells such as NA and ? are no labels if there are two others, nor is -1 beside 0 and 1.
    """
    counted = _count(map(single_item, table.frame[name]))
    markers = [text for text in counted.rows if loose_label(text) in UNLABELLED]
    if counted.rows.keys() - {*markers} == {"0", "1", "-1"}:
        markers.append("-1")
    if len(counted.rows) - len(markers) < 2:
        markers.clear()
    unlabelled = counted.unlabelled + Counter({text: counted.rows[text] for text in markers})
    rows = Counter({text: rows for text, rows in counted.rows.items() if text not in markers})
    return LabelCounts(rows, {text: others for text, others in counted.spellings.items() if text in rows}, unlabelled)


def count_parts(table: Table, name: str) -> LabelCounts:
    """Count the labels of cells with several."""
    parts = ({loose_label(part): part for part in items} for items in column_items(table.column(name)))
    counted = _count(part for of_cell in parts for form, part in of_cell.items() if form)
    rows = Counter(dict(sorted(counted.rows.items(), key=lambda item: (-item[1], item[0]))))
    return LabelCounts(rows, counted.spellings, Counter())


def looks_like_several(table: Table, name: str) -> bool:
    """Whether the cells of a column look like several labels each."""
    counts = count_parts(table, name).rows
    several = sum(counts.values()) > sum(1 for cell in table.frame[name] if cell.strip())
    return several and len(counts) <= MAX_LABELS and sum(counts.values()) >= _MIN_ROWS_PER_LABEL * len(counts)


def _count(cells: Iterable[str]) -> LabelCounts:
    """Count tidied cells; of those that differ only in case, width or invisible characters the most frequent counts."""
    forms: dict[str, Counter[str]] = {}
    for text, rows in Counter(map(tidy_label, cells)).items():
        forms.setdefault(loose_label(text), Counter())[text] += rows
    empty = forms.pop("", Counter())
    ordered = sorted(forms.values(), key=lambda written: -written.total())
    spellings = {written.most_common(1)[0][0]: written for written in ordered}
    return LabelCounts(
        Counter({label: written.total() for label, written in spellings.items()}),
        {
            label: [text for text in written if text != label]
            for label, written in spellings.items()
            if len(written) > 1
        },
        Counter({"": empty.total()}) if empty else Counter(),
    )
