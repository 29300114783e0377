"""Candidate keywords of a document: runs of words that neither begin nor end with a stop word.

No tagger and no list of nouns is needed, since a model ranks the candidates. Chinese and Japanese text has no blanks:
there the candidates are runs of characters without a stop character. Korean text is treated in the same way, so its
candidates may begin or end within a word.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from papertune.metrics.phrases import CJK_CHARACTER, keep_letters_and_digits, normalise_keyword

# Maximum words of a candidate; minimum and maximum characters of a Chinese, Japanese or Korean one.
MAX_WORDS = 4
CJK_LENGTHS = (2, 8)

# Words in scikit-learn's list of stop words that have a meaning in papers ("expert system", "thin film"), and words
# that it lacks although every abstract has them. See Nothman, Qin and Yurchak 2018, ACL W18-2502.
_CONTENT_WORDS = frozenset({"bill", "cry", "fire", "interest", "mill", "sincere", "system", "thick", "thin"})
_MORE_STOP_WORDS = frozenset({"based", "use", "used", "uses", "using"})

# Characters of Chinese function words, and of two verbs that connect nearly every pair of terms (use, carry out).
_CJK_STOP_CHARACTERS = frozenset("的了和是在与及对等为以中上下将被由从而其有并或也之这该可所于就不我们着过使用通进行")

# Stop words that may stand inside a candidate: "quality of service", "time to failure".
_JOINING_WORDS = frozenset({"and", "by", "de", "for", "in", "of", "on", "the", "to", "with"})

_UNIT = re.compile(rf"{CJK_CHARACTER.pattern}|(?:(?!{CJK_CHARACTER.pattern})\S)+")
# Marks that no candidate contains. A full stop, comma, colon, ! or ? counts if a blank or a Chinese character is beside
# it, not within `e.g`, `3.5` or `2:1`; a bracket, a semicolon or a dash counts everywhere.
BREAK = re.compile(
    rf"[.,:!?，：！？]+(?=\s|$|{CJK_CHARACTER.pattern})|(?<={CJK_CHARACTER.pattern})[.,:!?，：！？]+"
    r"|[;；()（）\[\]{}\"“”<>《》。、—\n]"
)


@dataclass(slots=True)
class Candidate:
    """A phrase of a document that may be a keyword.

    Attributes:
        form: The form in which keywords are compared, see `normalise_keyword`; unique among the document's candidates.
        place: Number of words before its first occurrence.
        occurrences: Number of occurrences in any spelling.
        spellings: Its spellings in the document, in the order of their first occurrence.
        units: The words or Chinese characters of its first occurrence, in lower case.
        before: The unit before each occurrence; "" where a clause begins.
        after: The unit after each occurrence; "" where a clause ends.
        in_first_line: Whether it occurs in the first line, which is often the title.
    """

    form: str
    place: int
    occurrences: int = 0
    spellings: dict[str, None] = field(default_factory=dict)
    units: tuple[str, ...] = ()
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    in_first_line: bool = False


@dataclass(frozen=True, slots=True)
class _Unit:
    """A word without the signs around it, or a Chinese character, with its place in the clause."""

    text: str
    start: int
    end: int
    is_cjk: bool


def find_candidates(document: str) -> list[Candidate]:
    """Find the candidate keywords of a document.

    A candidate has at most `MAX_WORDS` words, or `CJK_LENGTHS` characters. It contains no mark that ends a sentence or
    clause, and neither begins nor ends with a stop word or a bare number.

    Args:
        document: The original text.

    Returns:
        The candidates in the order of their first occurrence; of those that begin together the shortest first.
    """
    found: dict[str, Candidate] = {}
    before = 0
    first_line = len(document.partition("\n")[0])
    for clause, is_in_first_line in _clauses(document, first_line):
        units = _units(clause)
        for start, end in _spans(units):
            text = " ".join(clause[units[start].start : units[end - 1].end].split())
            form = normalise_keyword(text)
            if not form:
                continue
            if form not in found:
                found[form] = Candidate(form, before + start)
                found[form].units = tuple(unit.text for unit in units[start:end])
            candidate = found[form]
            candidate.occurrences += 1
            candidate.spellings.setdefault(text)
            candidate.before.append(units[start - 1].text if start else "")
            candidate.after.append(units[end].text if end < len(units) else "")
            candidate.in_first_line |= is_in_first_line
        before += len(units)
    return list(found.values())


def _clauses(document: str, first_line: int) -> Iterator[tuple[str, bool]]:
    """Yield the clauses of a document, and whether each begins within the first characters."""
    start = 0
    for match in BREAK.finditer(document):
        yield document[start : match.start()], start < first_line
        start = match.end()
    yield document[start:], start < first_line


def _units(clause: str) -> list[_Unit]:
    """Split a clause into words, without the signs around each, and Chinese characters."""
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
    """Yield (start, end) of each run of units that may be a keyword."""
    if not units:
        return
    excluded = stop_words()
    shortest_cjk, longest_cjk = CJK_LENGTHS
    for start, first in enumerate(units):
        if not _may_begin_or_end(first, excluded):
            continue
        has_cjk = False
        for end in range(start + 1, min(start + longest_cjk, len(units)) + 1):
            last = units[end - 1]
            has_cjk = has_cjk or last.is_cjk
            may_end = _may_begin_or_end(last, excluded)
            if not may_end and (last.is_cjk or last.text not in _JOINING_WORDS) and not last.text.isdecimal():
                break
            length = end - start
            if not has_cjk and length > MAX_WORDS:
                break
            if may_end and (length >= shortest_cjk if has_cjk else length > 1 or len(first.text) > 1):
                yield start, end


def _may_begin_or_end(unit: _Unit, excluded: frozenset[str]) -> bool:
    """Check whether a candidate may begin or end with a unit."""
    return unit.text not in excluded and any(map(str.isalpha, unit.text))


@cache
def stop_words() -> frozenset[str]:
    """Return English stop words, in lower case, and Chinese stop characters."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return (frozenset(ENGLISH_STOP_WORDS) - _CONTENT_WORDS) | _MORE_STOP_WORDS | _CJK_STOP_CHARACTERS
