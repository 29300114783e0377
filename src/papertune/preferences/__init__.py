"""Preferences about the answers of generated columns, in the layout of LLaMA-Factory's files."""

from papertune.preferences.entries import NOTHING_TO_PREFER, Entry, Pair, Thumb, has_preferences
from papertune.preferences.reading import read_pairs, read_thumbs
from papertune.preferences.writing import write_preferences

__all__ = [
    "NOTHING_TO_PREFER",
    "Entry",
    "Pair",
    "Thumb",
    "has_preferences",
    "read_pairs",
    "read_thumbs",
    "write_preferences",
]
