"""Simple baselines that a fine-tuned model has to beat: they run in seconds, without a GPU, and are often good enough.

`TfidfLogistic` is the text classifier to try first (Wang and Manning 2012, "Baselines and Bigrams", ACL P12-2018).
`TfidfKeywords` ranks the n-grams of a document by tf-idf. Its constants were chosen by F1@5 on held-out parts of the
training files of two English data sets and a Chinese one, not on any test file.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.keywords.candidates import CJK_LENGTHS, stop_words
from papertune.metrics.phrases import CJK_CHARACTER, fold, is_mostly_cjk, keep_letters_and_digits, stem

# Maximum words of a keyword; in Chinese, Japanese and Korean text `CJK_LENGTHS` limits its characters.
MAX_WORDS = 3

_TOKEN = re.compile(rf"{CJK_CHARACTER.pattern}|(?:(?!{CJK_CHARACTER.pattern})\S)+")
# Marks that no keyword contains. A full stop, comma, colon, ! or ? counts if a blank or a Chinese character is beside
# it, not within `e.g`, `3.5` or `2:1`; a bracket, a semicolon or a Chinese mark counts everywhere.
_BREAK = re.compile(
    rf"[.,:!?]+(?=\s|$|{CJK_CHARACTER.pattern})|(?<={CJK_CHARACTER.pattern})[.,:!?]+|[;()\[\]{{}}\"“”<>《》。、\n]"
)


def majority(train_labels: Sequence[str], rows: int) -> list[str]:
    """Predict the most frequent training label for every row.

    Args:
        train_labels: The labels of the training rows.
        rows: Number of predictions.

    Returns:
        The same label `rows` times; of equally frequent labels the one that comes first in the table.

    Raises:
        ValueError: If there are no training labels.
    """
    if not train_labels:
        raise ValueError("the most frequent label of an empty table is not defined")
    return [Counter(train_labels).most_common(1)[0][0]] * rows


class TfidfLogistic:
    """Logistic regression on the tf-idf of a document's words and word pairs, see `fit_tfidf`; C is 10.

    Args:
        documents: Training texts, length train_rows.
        gold: Their labels, length train_rows.
        labels: The label set, in the order of the probabilities' columns.

    Attributes:
        parameters: Number of trained coefficients; 0 if there is nothing to learn (one label only, or no words).

    Raises:
        ValueError: If there are no training rows, the lengths differ, or a training label is not in the label set.
    """

    def __init__(self, documents: Sequence[str], gold: Sequence[str], labels: Sequence[str]) -> None:
        if len(documents) != len(gold):
            raise ValueError(f"{len(documents)} training documents, but {len(gold)} labels")
        if not gold:
            raise ValueError("there are no training rows")
        if unknown := set(gold) - set(labels):
            raise ValueError(f"training label {min(unknown)!r} is not in the label set {list(labels)}")
        from sklearn.dummy import DummyClassifier
        from sklearn.pipeline import make_pipeline

        self._labels = list(labels)
        self.parameters = 0
        fitted = fit_tfidf(documents) if len(set(gold)) > 1 else None
        if fitted is None:
            self._model = DummyClassifier(strategy="prior").fit(documents, gold)
        else:
            vectorizer, terms = fitted
            classifier = logistic_regression().fit(terms, gold)
            self._model = make_pipeline(vectorizer, classifier)
            self.parameters = classifier.coef_.size + classifier.intercept_.size

    def predict(self, documents: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
        """Classify documents.

        Args:
            documents: Texts, length rows.

        Returns:
            The most probable label of each, and the probabilities, shape (rows, labels). A label that the training
            rows lack has probability 0. If there was nothing to learn, the probabilities are the labels' shares of the
            training rows.
        """
        probabilities = np.zeros((len(documents), len(self._labels)))
        if documents:
            columns = [self._labels.index(label) for label in self._model.classes_]
            probabilities[:, columns] = self._model.predict_proba(documents)
        return [self._labels[number] for number in probabilities.argmax(axis=1)], probabilities


def tfidf_logistic(
    train_documents: Sequence[str], train_labels: Sequence[str], test_documents: Sequence[str], labels: Sequence[str]
) -> tuple[list[str], NDArray[np.float64]]:
    """Train `TfidfLogistic` on some documents and classify others."""
    return TfidfLogistic(train_documents, train_labels, labels).predict(test_documents)


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
            self._frequency.update(_candidates(document).keys())
        self.parameters = len(self._frequency)

    def predict(self, documents: Sequence[str], count: int = 5) -> list[list[str]]:
        """Extract keywords from documents.

        Args:
            documents: Texts, length rows.
            count: Maximum number of keywords of a text.

        Returns:
            Keywords of each document, in lower case, the best first, length rows.
        """
        return [_best(_candidates(document), self._frequency, self._documents, count) for document in documents]


def tfidf_keywords(train_documents: Sequence[str], test_documents: Sequence[str], count: int = 5) -> list[list[str]]:
    """Train `TfidfKeywords` on some documents and extract keywords from others."""
    return TfidfKeywords(train_documents).predict(test_documents, count)


def logistic_regression() -> Any:
    """Return an untrained classifier for the features of `fit_tfidf`."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, max_iter=1000)


def fit_tfidf(documents: Sequence[str]) -> tuple[Any, Any] | None:
    """Fit scikit-learn's tf-idf of words and word pairs, or of 1 to 3 characters for Chinese, Japanese and Korean.

    Terms must occur in two documents, or in one if none occurs in two. Counts are damped to 1 + ln(count).

    Args:
        documents: Texts, length rows.

    Returns:
        The fitted vectorizer and the sparse matrix (rows, terms) of the documents, its rows of length 1; None if the
        documents have no terms.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    units: dict[str, Any] = {"ngram_range": (1, 2)}
    if is_mostly_cjk(documents):
        units = {"ngram_range": (1, 3), "analyzer": "char"}
    for min_df in (2, 1):
        vectorizer = TfidfVectorizer(min_df=min_df, sublinear_tf=True, **units)
        try:
            return vectorizer, vectorizer.fit_transform(documents)
        except ValueError:  # scikit-learn raises it for an empty vocabulary
            continue
    return None


@dataclass
class _Candidate:
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


def _candidates(document: str) -> dict[str, _Candidate]:
    """Return the candidates of a document by their stems."""
    found: dict[str, _Candidate] = {}
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
                found[stems] = _Candidate(text, before + start, end - start)
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


def _best(candidates: dict[str, _Candidate], document_frequency: Counter[str], documents: int, count: int) -> list[str]:
    """Return the texts of the best candidates of one document, without those inside a better one."""
    last_place = max((candidate.place for candidate in candidates.values()), default=0) + 1

    def score(stems: str) -> float:
        candidate = candidates[stems]
        rareness = math.log((documents + 1) / max(1, document_frequency[stems]))
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
