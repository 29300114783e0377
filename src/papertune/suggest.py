"""Suggestions for mistyped words in error messages."""

import difflib
from collections.abc import Iterable

from papertune.errors import quoted


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that is nearest to a mistyped one, ignoring case and blanks around it.

    Returns:
        A sentence that starts with a space, or nothing.
    """
    folded = {candidate.strip().casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(word.strip().casefold(), list(folded), n=1)
    return f" Did you mean {quoted(folded[near[0]])}?" if near else ""
