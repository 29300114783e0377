"""Lines that a source writes above the header of its exports."""

from collections.abc import Sequence

# Dimensions: "About the data: Exported on Jan 01, 2020. Criteria: ..."
_BEGINNINGS = ("About the data:",)


def is_remark(cells: Sequence[str]) -> bool:
    """Whether a row above the header is a remark of a known source: one cell, and no paper or column name."""
    return cells[0].lstrip("\ufeff").startswith(_BEGINNINGS) and not any(map(str.strip, cells[1:]))
