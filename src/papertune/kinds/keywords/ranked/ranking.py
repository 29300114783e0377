"""The choice among the keywords that were found for a paper: their ranking and confidence."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.keywords.ranked.candidates import Candidate
from papertune.kinds.keywords.ranked.record import Ranking
from papertune.metrics.phrases import CJK_CHARACTER

if TYPE_CHECKING:
    from papertune.kinds.keywords.by_words.words import Words
    from papertune.kinds.keywords.ranked.column import RankedKeywordsColumn

# The features of a ranking, in the order of `features`.
FEATURES = (
    "log_probability",
    "log_probability_per_token",
    "in_document",
    "log_occurrences",
    "log_place",
    "one_word",
    "two_words",
    "three_words",
    "longer_keywords",
)
# The features of a ranking by words and the model together.
JOINED_FEATURES = (*FEATURES, "word_log_odds", "log_times_keyword")


@dataclass(frozen=True, slots=True)
class FoundKeyword:
    """A keyword that beam search has found, or a phrase of the document.

    Attributes:
        text: The keyword as it is written.
        form: The form in which keywords are compared, see `normalise_keyword`.
        log_probability: Log-probability of its tokens and the end token, in nats.
        tokens: Number of these tokens.
        generated: Whether beam search has found it.
        phrase: The candidate phrase of the document with this form; None if there is none.
        word_log_odds: Log-odds that it is a keyword, by its words; 0 if it does not occur in the document.
        times_keyword: Number of training rows with this keyword; 0 if it occurs in the document.
        longer: Number of other forms among all candidates that contain this one.
    """

    text: str
    form: str
    log_probability: float
    tokens: int
    generated: bool
    phrase: Candidate | None = None
    word_log_odds: float = 0.0
    times_keyword: int = 0
    longer: int = 0

    @property
    def confidence(self) -> float:
        """The geometric mean of its tokens' probabilities, from 0 to 1."""
        return math.exp(self.log_probability / self.tokens)


@dataclass(frozen=True)
class KeywordChoice:
    """The ranking and the minimum confidence of keywords.

    Attributes:
        weights: Coefficients of a logistic regression of the probability that a keyword is a gold keyword, float64,
            shape (features,), for `FEATURES` or `JOINED_FEATURES`; None: `words` ranks, or without it keywords are
            ranked by log-probability, and the confidence is the geometric mean of the token probabilities.
        intercept: Intercept of the regression.
        min_confidence: Minimum confidence of written keywords.
        words: What the training rows say about words; None: the run has learned nothing of the kind.
    """

    weights: NDArray[np.float64] | None = None
    intercept: float = 0.0
    min_confidence: float = 0.0
    words: "Words | None" = None

    @property
    def is_by_words(self) -> bool:
        """Whether the words alone rank, without the model."""
        return self.weights is None and self.words is not None

    @classmethod
    def of(cls, name: str, column: "RankedKeywordsColumn", record: Ranking | None) -> "KeywordChoice":
        """Return the choice for a column, given its calibration.

        Raises:
            ValueError: If the ranking has other features than this version.
        """
        found = record or Ranking(rows=0)
        weights = None
        if found.weights is not None:
            names = next((each for each in (FEATURES, JOINED_FEATURES) if set(each) == set(found.weights)), None)
            if names is None:
                raise ValueError(f"the ranking of {name} has the features {', '.join(sorted(found.weights))}")
            weights = np.array([found.weights[feature] for feature in names])
        wanted = column.min_confidence
        return cls(weights, found.intercept, wanted if isinstance(wanted, float) else found.min_confidence or 0.0)

    def rank(self, found: Sequence[FoundKeyword]) -> list[tuple[str, float]]:
        """Return all keywords with their confidences, the best first.

        Args:
            found: Keywords of one paper, the most probable first.
        """
        if self.weights is None or not found:
            return [(keyword.text, keyword.confidence) for keyword in found]
        scores = self.scores(found)
        confidences = 1 / (1 + np.exp(-scores))
        return [(found[index].text, float(confidences[index])) for index in np.argsort(-scores, kind="stable")]

    def scores(self, found: Sequence[FoundKeyword]) -> NDArray[np.float64]:
        """Return the log-odds of each keyword, float64, shape (keywords,); the choice has weights."""
        assert self.weights is not None
        table = features(found) if len(self.weights) == len(FEATURES) else joined_features(found)
        # Not a product of matrices, whose last bit may depend on the number of keywords.
        total: NDArray[np.float64] = (table * self.weights).sum(axis=1) + self.intercept
        return total

    def highest_scores(self, found: Sequence[FoundKeyword]) -> NDArray[np.float64]:
        """Return the scores that keywords cannot exceed if their log-probabilities are at most the given ones."""
        assert self.weights is not None
        by_total, by_mean = (self.weights[FEATURES.index(name)] for name in FEATURES[:2])
        slopes = by_total + by_mean / np.array([keyword.tokens for keyword in found], dtype=np.float64)
        return np.where(slopes >= 0, self.scores(found), np.inf)

    def least_chosen(self, found: Sequence[FoundKeyword], count: int) -> float:
        """Return the score of the last of `count` chosen keywords; minus infinity with fewer."""
        return float(np.sort(self.scores(found))[-count]) if len(found) >= count else -math.inf

    def choose(self, found: Sequence[FoundKeyword], count: int) -> list[tuple[str, float]]:
        """Return at most `count` keywords with the minimum confidence, with their confidences."""
        return self.cut_off(self.rank(found), count)

    def cut_off(self, ranked: Sequence[tuple[str, float]], count: int) -> list[tuple[str, float]]:
        """Return at most `count` of ranked keywords, those with the minimum confidence."""
        return [(text, each) for text, each in ranked if each >= self.min_confidence][:count]


def features(found: Sequence[FoundKeyword]) -> NDArray[np.float64]:
    """Return the features of a ranking.

    Beside the probability they are those of KEA (Witten et al. 1999, arXiv:cs/9902007) and C-value (Frantzi et al.
    2000, doi:10.1007/s007999900023): the occurrences of a phrase, its first place, and the longer phrases that contain
    it.

    Args:
        found: Keywords of one paper.

    Returns:
        Float64, shape (keywords, features); the features are `FEATURES`.
    """
    table = np.zeros((len(found), len(FEATURES)))
    for keyword, row in zip(found, table, strict=True):
        phrase = keyword.phrase
        words = len(keyword.form) if _is_cjk(keyword.form) else keyword.form.count(" ") + 1
        row[:] = (
            keyword.log_probability,
            keyword.log_probability / keyword.tokens,
            phrase is not None,
            math.log(phrase.occurrences) if phrase else 0.0,
            math.log1p(phrase.place) if phrase else 0.0,
            words == 1,
            words == 2,
            words == 3,
            math.log1p(keyword.longer),
        )
    return table


def joined_features(found: Sequence[FoundKeyword]) -> NDArray[np.float64]:
    """Return the features of a ranking by words and the model together, those of `JOINED_FEATURES`."""
    words = [(keyword.word_log_odds, math.log1p(keyword.times_keyword)) for keyword in found]
    return np.concatenate([features(found), np.array(words).reshape(-1, 2)], axis=1)


def longer_forms(forms: Iterable[str]) -> dict[str, int]:
    """Return for each of several forms how many others contain it, as whole words."""
    # A Chinese form has no blanks, so a longer one may contain it anywhere.
    padded = {form: form if _is_cjk(form) else f" {form} " for form in forms}
    return {form: sum(own in other for other in padded.values()) - 1 for form, own in padded.items()}


def _is_cjk(form: str) -> bool:
    return CJK_CHARACTER.search(form) is not None


def distinct(found: Iterable[FoundKeyword]) -> list[FoundKeyword]:
    """Keep the most probable of the keywords with the same form; return them with the most probable first.

    A keyword counts as generated if any keyword with its form is.
    """
    kept: dict[str, FoundKeyword] = {}
    for keyword in sorted(found, key=lambda keyword: -keyword.log_probability):
        best = kept.setdefault(keyword.form, keyword)
        if keyword.generated and not best.generated:
            kept[keyword.form] = replace(best, generated=True)
    return list(kept.values())


def ranked_as_text(keywords: Sequence[tuple[str, float]]) -> str:
    """Write keywords with their confidences as one text."""
    return json.dumps(keywords, ensure_ascii=False)


def read_ranked(text: str) -> list[tuple[str, float]]:
    """Read the result of `ranked_as_text`."""
    return [(keyword, confidence) for keyword, confidence in json.loads(text)]
