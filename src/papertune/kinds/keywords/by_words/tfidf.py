"""The n-grams of a document, ranked by tf-idf: the simplest order of keywords, and the baseline.

The constants were chosen by F1@5 on held-out parts of the training files of two English data sets and a Chinese one,
not on any test file.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from papertune.kinds.keywords.ranked.candidates import CJK_LENGTHS, stop_words
from papertune.metrics.phrases import CJK_CHARACTER, fold, keep_letters_and_digits, stem

# Maximum words of a keyword; in Chinese, Japanese and Korean text `CJK_LENGTHS` limits its characters.
MAX_WORDS = 3

_TOKEN = re.compile(rf"{CJK_CHARACTER.pattern}|(?:(?!{CJK_CHARACTER.pattern})\S)+")
# Marks that no keyword contains. A full stop, comma, colon, ! or ? counts if a blank or a Chinese character is beside
# it, not within `e.g`, `3.5` or `2:1`; a bracket, a semicolon or a Chinese mark counts everywhere.
_BREAK = re.compile(
    rf"[.,:!?]+(?=\s|$|{CJK_CHARACTER.pattern})|(?<={CJK_CHARACTER.pattern})[.,:!?]+|[;()\[\]{{}}\"“”<>《》。、\n]"
)


class TfidfKeywords:
    """Extracts the best phrases of a document by tf-idf, without a part-of-speech tagger.

    Candidates are runs of 1 to `MAX_WORDS` words, or of 2 to 8 Chinese, Japanese or Korean characters, without stop
    words and punctuation, and without a number or single letter at either end. Runs with the same stems are one
    candidate. Its score is

        tf * ln((N + 1) / max(1, df)) * sqrt(length) * (1 + 2 * (1 - place))

    where tf counts its occurrences in the document, df counts those of the N training documents that contain it, length
    is in words or characters, and place is its first occurrence, from 0 (start, usually the title) to 1 (end). A
    candidate inside a better one is skipped.

    Args:
        documents: Training texts, for the document frequencies; their keywords are not needed. May be empty.

    Attributes:
        parameters: Number of document frequencies.
    """

    def __init__(self, documents: Sequence[str]) -> None:
        self._documents = len(documents)
        self._frequency: Counter[str] = Counter()
        for document in documents:
            self._frequency.update(ngrams(document).keys())
        self.parameters = len(self._frequency)

    def predict(self, documents: Sequence[str], count: int = 5) -> list[list[str]]:
        """Extract keywords from documents.

        Args:
            documents: Texts, length rows.
            count: Maximum number of keywords of a text.

        Returns:
            Keywords of each document, in lower case, the best first, length rows.
        """
        return [best_ngrams(ngrams(document), self._frequency, self._documents, count) for document in documents]


@dataclass
class Ngram:
    """A phrase that may be a keyword.

    Attributes:
        text: Its first occurrence, with hyphens, in lower case.
        place: Number of tokens before its first occurrence.
        length: Number of tokens, which are words or Chinese characters.
        occurrences: Number of occurrences in the document.
    """

    text: str
    place: int
    length: int
    occurrences: int = 0


def ngrams(document: str) -> dict[str, Ngram]:
    """Return the candidates of a document by their stems."""
    found: dict[str, Ngram] = {}
    before = 0
    for phrase in _BREAK.split(fold(document)):
        matches = list(_TOKEN.finditer(keep_letters_and_digits(phrase)))
        tokens = [match.group() for match in matches]
        stems_of = [stem(token) for token in tokens]
        for start, end in _spans(tokens):
            text = " ".join(phrase[matches[start].start() : matches[end - 1].end()].split())
            glue = "" if CJK_CHARACTER.search(text) else " "
            stems = glue.join(stems_of[start:end])
            if stems not in found:
                found[stems] = Ngram(text, before + start, end - start)
            found[stems].occurrences += 1
        before += len(tokens)
    return found


def _spans(tokens: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each run of tokens that could be a keyword."""
    excluded = stop_words()
    shortest_cjk, longest_cjk = CJK_LENGTHS
    for start in range(len(tokens)):
        has_cjk = False
        for end in range(start + 1, min(start + longest_cjk, len(tokens)) + 1):
            last = tokens[end - 1]
            if last in excluded:
                break
            has_cjk = has_cjk or CJK_CHARACTER.match(last) is not None
            length = end - start
            if has_cjk:
                if length >= shortest_cjk:
                    yield start, end
            elif length <= MAX_WORDS and all(len(word) > 1 and not word.isdigit() for word in (tokens[start], last)):
                yield start, end


def best_ngrams(
    candidates: Mapping[str, Ngram], document_frequency: Mapping[str, int], documents: int, count: int
) -> list[str]:
    """Return the texts of the best candidates of one document, without those inside a better one.

    Args:
        candidates: The document's candidates, from `ngrams`.
        document_frequency: How many other documents have each; 0 and 1 count alike, so those with 1 may be left out.
        documents: Number of other documents.
        count: Maximum number of candidates.
    """
    last_place = max((candidate.place for candidate in candidates.values()), default=0) + 1

    def score(stems: str) -> float:
        candidate = candidates[stems]
        rareness = math.log((documents + 1) / max(1, document_frequency.get(stems, 0)))
        earliness = 1 + 2 * (1 - candidate.place / last_place)
        return candidate.occurrences * rareness * math.sqrt(candidate.length) * earliness

    chosen: list[str] = []
    for stems in sorted(candidates, key=lambda stems: (-score(stems), candidates[stems].place)):
        if len(chosen) == count:
            break
        glue = "" if CJK_CHARACTER.search(stems) else " "
        if not any(f"{glue}{stems}{glue}" in f"{glue}{other}{glue}" for other in chosen):
            chosen.append(stems)
    return [candidates[stems].text for stems in chosen]
