"""Plain methods that a fine-tuned model has to beat: seconds of work, no GPU, often good enough.

`TfidfLogistic` is the text classifier to try first (Wang and Manning 2012, "Baselines and Bigrams", ACL P12-2018, make
the case). `TfidfKeywords` ranks the n-grams of a document by tf-idf; its weights were chosen on the training files of
two English sets and one Chinese one, by F1 at 5 on their last fifth or quarter, not on any test file.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.phrases import CJK_CHARACTER, fold, keep_letters_and_digits, stem

# A keyword has at most this many words or, in Chinese and its like, from 2 to 8 characters.
MAX_WORDS = 3
CJK_LENGTHS = (2, 8)

# Words that scikit-learn's list of stop words has though they are content in papers ("expert system", "thin film";
# its faults: Nothman, Qin and Yurchak 2018, ACL W18-2502), and words it lacks though every abstract has them.
_NO_STOP_WORDS = frozenset({"bill", "cry", "fire", "interest", "mill", "sincere", "system", "thick", "thin"})
_MORE_STOP_WORDS = frozenset({"based", "use", "used", "uses", "using"})

# Characters of Chinese function words, and two verbs that join nearly every pair of terms (use, carry out).
_CJK_STOP_CHARACTERS = frozenset("的了和是在与及对等为以中上下将被由从而其有并或也之这该可所于就不我们着过使用通进行")

_TOKEN = re.compile(rf"{CJK_CHARACTER.pattern}|(?:(?!{CJK_CHARACTER.pattern})\S)+")
# No keyword runs across these. A mark between letters or digits (`e.g`, `3.5`, `2:1`) ends no phrase, so a blank or a
# Chinese character must be beside it; a bracket, a semicolon or a Chinese mark ends one wherever it stands.
_BREAK = re.compile(
    rf"[.,:!?]+(?=\s|$|{CJK_CHARACTER.pattern})|(?<={CJK_CHARACTER.pattern})[.,:!?]+|[;()\[\]{{}}\"“”<>《》。、\n]"
)


def majority(train_labels: Sequence[str], rows: int) -> list[str]:
    """Predict the label that the training table has most often, for every row.

    Args:
        train_labels: The labels of the training table.
        rows: How many predictions to give.

    Returns:
        The same label `rows` times; of equally frequent labels the one that comes first in the table.

    Raises:
        ValueError: If there are no training labels.
    """
    if not train_labels:
        raise ValueError("the most frequent label of an empty table is not defined")
    return [Counter(train_labels).most_common(1)[0][0]] * rows


class TfidfLogistic:
    """Logistic regression on the tf-idf of a document's words and word pairs.

    Words and pairs must occur in two training documents (in one, if no word does), their counts are damped to
    1 + ln(count), and C is 10. Chinese and its like has no blanks and is cut into runs of 1 to 3 characters instead.

    Args:
        documents: Texts to learn from, length train_rows.
        given: Their labels, length train_rows.
        labels: The label set, in the order of the probabilities' columns.

    Attributes:
        parameters: How many coefficients were learnt; 0 without anything to learn from (one label only, or no words).

    Raises:
        ValueError: If there are no training rows, the lengths differ, or a training label is not in the label set.
    """

    def __init__(self, documents: Sequence[str], given: Sequence[str], labels: Sequence[str]) -> None:
        if len(documents) != len(given):
            raise ValueError(f"{len(documents)} training documents, but {len(given)} labels")
        if not given:
            raise ValueError("there are no training rows")
        if unknown := set(given) - set(labels):
            raise ValueError(f"training label {min(unknown)!r} is not in the label set {list(labels)}")
        counts = Counter(given)
        self._labels = list(labels)
        self._shares = [counts[label] / len(given) for label in labels]
        self._vectorizer, self._classifier, self.parameters = None, None, 0
        if len(counts) > 1 and (fitted := fit_tfidf(documents)) is not None:
            from sklearn.linear_model import LogisticRegression

            self._vectorizer, terms = fitted
            self._classifier = LogisticRegression(C=10, max_iter=1000).fit(terms, given)
            self.parameters = self._classifier.coef_.size + self._classifier.intercept_.size

    def predict(self, documents: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
        """Classify documents.

        Args:
            documents: Texts, length rows.

        Returns:
            The most probable label of each, and the probabilities, shape (rows, labels). A label that the training
            rows lack has probability 0. Without anything to learn from, the probabilities are the labels' shares of
            the training rows.
        """
        probabilities = np.tile(self._shares, (len(documents), 1))
        if self._classifier is not None and self._vectorizer is not None and documents:
            column = {label: number for number, label in enumerate(self._classifier.classes_)}
            # Columns in the labels' sorted order.
            by_class = self._classifier.predict_proba(self._vectorizer.transform(documents))
            for number, label in enumerate(self._labels):
                probabilities[:, number] = by_class[:, column[label]] if label in column else 0.0
        return [self._labels[number] for number in probabilities.argmax(axis=1)], probabilities


def tfidf_logistic(
    train_documents: Sequence[str], train_labels: Sequence[str], test_documents: Sequence[str], labels: Sequence[str]
) -> tuple[list[str], NDArray[np.float64]]:
    """Fit `TfidfLogistic` to training documents and classify others; arguments and returns are those of the class."""
    return TfidfLogistic(train_documents, train_labels, labels).predict(test_documents)


class TfidfKeywords:
    """Takes the best phrases of a document by tf-idf, without a part-of-speech tagger.

    Candidates are runs of 1 to 3 words, or of 2 to 8 characters in Chinese and its like, with no stop word and no
    punctuation in them and no number or single letter at either end. Those with the same stems are one. Each weighs

        tf * ln((N + 1) / max(1, df)) * sqrt(length) * (1 + 2 * (1 - place))

    with tf the times it occurs in the document, df the training documents of N that have it, length in words (or
    characters), and place where it first occurs, from 0 (start, usually the title) to 1 (end). A candidate inside one
    that was already taken is passed over.

    Args:
        documents: Texts that say how common a phrase is; their keywords are not needed. May be empty.

    Attributes:
        parameters: How many document frequencies were learnt.
    """

    def __init__(self, documents: Sequence[str]) -> None:
        self._stop_words = _stop_words()
        self._documents = len(documents)
        self._frequency: Counter[str] = Counter()
        for document in documents:
            self._frequency.update(_candidates(document, self._stop_words).keys())
        self.parameters = len(self._frequency)

    def predict(self, documents: Sequence[str], count: int = 5) -> list[list[str]]:
        """Take keywords from documents.

        Args:
            documents: Texts to take keywords from, length rows.
            count: Most keywords to take from a text.

        Returns:
            Keywords of each document, best first, lower case, length rows; fewer than `count` if there are not more.
        """
        return [
            _best(_candidates(document, self._stop_words), self._frequency, self._documents, count)
            for document in documents
        ]


def tfidf_keywords(train_documents: Sequence[str], test_documents: Sequence[str], count: int = 5) -> list[list[str]]:
    """Fit `TfidfKeywords` to training documents and take keywords from others."""
    return TfidfKeywords(train_documents).predict(test_documents, count)


def fit_tfidf(documents: Sequence[str]) -> tuple[Any, Any] | None:
    """Fit scikit-learn's tf-idf of words and word pairs, or of runs of characters for Chinese and its like.

    Args:
        documents: Texts, length rows.

    Returns:
        The fitted vectorizer and the sparse matrix (rows, terms) of the documents, its rows of length 1; None if the
        documents have no terms.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    units: dict[str, Any] = {"ngram_range": (1, 2)}
    if _is_mostly_cjk(documents):
        units = {"ngram_range": (1, 3), "analyzer": "char"}
    for min_df in (2, 1):
        vectorizer = TfidfVectorizer(min_df=min_df, sublinear_tf=True, **units)
        try:
            return vectorizer, vectorizer.fit_transform(documents)
        except ValueError:  # scikit-learn's word for an empty vocabulary
            continue
    return None


def _is_mostly_cjk(documents: Sequence[str]) -> bool:
    """Tell whether more than half of the letters and digits are Chinese, Japanese or Korean."""
    texts = [keep_letters_and_digits(fold(document)).replace(" ", "") for document in documents]
    return 2 * sum(len(CJK_CHARACTER.findall(text)) for text in texts) > sum(len(text) for text in texts)


def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return (frozenset(ENGLISH_STOP_WORDS) - _NO_STOP_WORDS) | _MORE_STOP_WORDS | _CJK_STOP_CHARACTERS


@dataclass
class _Candidate:
    """A phrase that may be a keyword.

    Attributes:
        text: As it stands where it first occurs, hyphens and all, but in lower case.
        place: Number of tokens before that.
        length: In tokens, which are words or Chinese characters.
        occurrences: How often it occurs in the document.
    """

    text: str
    place: int
    length: int
    occurrences: int = 0


def _candidates(document: str, stop_words: frozenset[str]) -> dict[str, _Candidate]:
    """Find the candidates of a document by their stems."""
    found: dict[str, _Candidate] = {}
    before = 0
    for phrase in _BREAK.split(fold(document)):
        matches = list(_TOKEN.finditer(keep_letters_and_digits(phrase)))
        tokens = [match.group() for match in matches]
        stems_of = [stem(token) for token in tokens]
        for start, end in _spans(tokens, stop_words):
            text = " ".join(phrase[matches[start].start() : matches[end - 1].end()].split())
            glue = "" if CJK_CHARACTER.search(text) else " "
            stems = glue.join(stems_of[start:end])
            if stems not in found:
                found[stems] = _Candidate(text, before + start, end - start)
            found[stems].occurrences += 1
        before += len(tokens)
    return found


def _spans(tokens: Sequence[str], stop_words: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Give (start, end) of each run of tokens that could be a keyword."""
    shortest_cjk, longest_cjk = CJK_LENGTHS
    for start in range(len(tokens)):
        has_cjk = False
        for end in range(start + 1, min(start + longest_cjk, len(tokens)) + 1):
            last = tokens[end - 1]
            if last in stop_words:
                break
            has_cjk = has_cjk or CJK_CHARACTER.match(last) is not None
            length = end - start
            if has_cjk:
                if length >= shortest_cjk:
                    yield start, end
            elif length <= MAX_WORDS and all(len(word) > 1 and not word.isdigit() for word in (tokens[start], last)):
                yield start, end


def _best(candidates: dict[str, _Candidate], document_frequency: Counter[str], documents: int, count: int) -> list[str]:
    """Rank the candidates of one document and take the first ones, without those inside another."""
    last_place = max((candidate.place for candidate in candidates.values()), default=0) + 1

    def weight(stems: str) -> float:
        candidate = candidates[stems]
        rareness = math.log((documents + 1) / max(1, document_frequency[stems]))
        earliness = 1 + 2 * (1 - candidate.place / last_place)
        return candidate.occurrences * rareness * math.sqrt(candidate.length) * earliness

    taken: list[str] = []
    for stems in sorted(candidates, key=lambda stems: (-weight(stems), candidates[stems].place)):
        if len(taken) == count:
            break
        glue = "" if CJK_CHARACTER.search(stems) else " "
        if not any(f"{glue}{stems}{glue}" in f"{glue}{other}{glue}" for other in taken):
            taken.append(stems)
    return [candidates[stems].text for stems in taken]
