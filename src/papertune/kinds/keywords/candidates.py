"""Phrases of a document that may be its keywords: runs of words that neither begin nor end with a function word.

No tagger and no list of a language's nouns is needed; what is a keyword is for a model to say. Chinese and Japanese
text has no blanks: there the phrases are runs of characters without a function word's character in them. Korean text is
treated so too, and its phrases may begin or end within a word.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from papertune.metrics.phrases import CJK_CHARACTER, keep_letters_and_digits, normalise_keyword

# A phrase has at most this many words, or from 2 to 8 Chinese characters.
MAX_WORDS = 4
CJK_LENGTHS = (2, 8)

# Words that scikit-learn's list of stop words has though they are content in papers ("expert system", "thin film";
# its faults: Nothman, Qin and Yurchak 2018, ACL W18-2502), and words it lacks though every abstract has them.
_NO_STOP_WORDS = frozenset({"bill", "cry", "fire", "interest", "mill", "sincere", "system", "thick", "thin"})
_MORE_STOP_WORDS = frozenset({"based", "use", "used", "uses", "using"})

# Characters of Chinese function words, and two verbs that join nearly every pair of terms (use, carry out).
_CJK_STOP_CHARACTERS = frozenset("的了和是在与及对等为以中上下将被由从而其有并或也之这该可所于就不我们着过使用通进行")

# Function words that may stand inside a phrase: "quality of service", "time to failure".
_JOINING_WORDS = frozenset({"and", "by", "de", "for", "in", "of", "on", "the", "to", "with"})

_UNIT = re.compile(rf"{CJK_CHARACTER.pattern}|(?:(?!{CJK_CHARACTER.pattern})\S)+")
# No phrase runs across these. A mark between letters or digits (`e.g`, `3.5`, `2:1`) ends no phrase, so a blank or a
# Chinese character must be beside it; a bracket, a semicolon or a Chinese mark ends one wherever it stands.
BREAK = re.compile(
    rf"[.,:!?，：！？]+(?=\s|$|{CJK_CHARACTER.pattern})|(?<={CJK_CHARACTER.pattern})[.,:!?，：！？]+"
    r"|[;；()（）\[\]{}\"“”<>《》。、—\n]"
)


@dataclass(slots=True)
class Candidate:
    """A phrase of a document.

    Attributes:
        form: What it is compared by, see `normalise_keyword`; no two candidates of a document have the same.
        place: How many words of the document come before it.
        occurrences: How often it occurs, however it is spelt.
        spellings: How the document spells it, each once, the first one first.
    """

    form: str
    place: int
    occurrences: int = 0
    spellings: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A word, or a Chinese character: its letters and digits, and what stands between them."""

    text: str
    start: int
    end: int
    is_cjk: bool


def find_candidates(document: str) -> list[Candidate]:
    """Find the phrases of a document that may be its keywords.

    A phrase has at most `MAX_WORDS` words, or in Chinese and its like `CJK_LENGTHS` characters. It does not run across
    a mark that ends a sentence or a part of one, and neither begins nor ends with a function word or a bare number.

    Args:
        document: A text as it was written.

    Returns:
        The candidates, in the order in which they first occur; of those that begin together the shortest first.
    """
    found: dict[str, Candidate] = {}
    before = 0
    for clause in BREAK.split(document):
        units = _units(clause)
        for start, end in _spans(units):
            text = " ".join(clause[units[start].start : units[end - 1].end].split())
            form = normalise_keyword(text)
            if not form:
                continue
            if form not in found:
                found[form] = Candidate(form, before + start)
            found[form].occurrences += 1
            found[form].spellings.setdefault(text)
        before += len(units)
    return list(found.values())


def _units(clause: str) -> list[_Unit]:
    """Cut a part of a sentence into words, without the signs around each, and Chinese characters."""
    letters = keep_letters_and_digits(clause)
    units: list[_Unit] = []
    for match in _UNIT.finditer(clause):
        kept = letters[match.start() : match.end()]
        start = match.end() - len(kept.lstrip())
        end = match.start() + len(kept.rstrip())
        text = clause[start:end].lower() if start < end else ""
        units.append(_Unit(text, start, end, CJK_CHARACTER.match(text) is not None))
    return units


def _spans(units: list[_Unit]) -> Iterator[tuple[int, int]]:
    """Give (start, end) of each run of units that may be a keyword."""
    if not units:
        return
    stop_words = _stop_words()
    shortest_cjk, longest_cjk = CJK_LENGTHS
    for start, first in enumerate(units):
        if not _may_stand_outside(first, stop_words):
            continue
        has_cjk = False
        for end in range(start + 1, min(start + longest_cjk, len(units)) + 1):
            last = units[end - 1]
            has_cjk = has_cjk or last.is_cjk
            may_end = _may_stand_outside(last, stop_words)
            if not may_end and (last.is_cjk or last.text not in _JOINING_WORDS) and not last.text.isdecimal():
                break
            length = end - start
            if not has_cjk and length > MAX_WORDS:
                break
            if may_end and (length >= shortest_cjk if has_cjk else length > 1 or len(first.text) > 1):
                yield start, end


def _may_stand_outside(unit: _Unit, stop_words: frozenset[str]) -> bool:
    """Tell whether a phrase may begin or end with a unit."""
    return unit.text not in stop_words and any(map(str.isalpha, unit.text))


@cache
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return (frozenset(ENGLISH_STOP_WORDS) - _NO_STOP_WORDS) | _MORE_STOP_WORDS | _CJK_STOP_CHARACTERS
