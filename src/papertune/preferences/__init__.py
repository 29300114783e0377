"""Preferences about the answers of generated columns, in the layout of LLaMA-Factory's files."""

from papertune.preferences.entries import Entry, Pair, Thumb
from papertune.preferences.reading import read_pairs, read_thumbs
from papertune.preferences.writing import write_preferences

__all__ = [
    "Entry",
    "Pair",
    "Thumb",
    "read_pairs",
    "read_thumbs",
    "write_preferences",
]
