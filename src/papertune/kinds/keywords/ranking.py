"""Which of the keywords that were found for a paper are written, in which order, and how sure each is."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.keywords.candidates import Candidate
from papertune.kinds.keywords.record import Ranking
from papertune.metrics.phrases import CJK_CHARACTER

if TYPE_CHECKING:
    from papertune.kinds.keywords.ranked import RankedKeywordsColumn

# What a ranking looks at, in the order of `features`.
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


@dataclass(frozen=True, slots=True)
class FoundKeyword:
    """A keyword that beam search has found, or a phrase of the document.

    Attributes:
        text: As it is written.
        form: What it is compared by, see `normalise_keyword`.
        log_probability: Of all its tokens and the end of the answer, in nats.
        tokens: How many these are.
        generated: Whether beam search has found it.
        phrase: Where it stands in the document; None where it does not, or may not be a keyword there.
    """

    text: str
    form: str
    log_probability: float
    tokens: int
    generated: bool
    phrase: Candidate | None = None

    @property
    def confidence(self) -> float:
        """The geometric mean of its tokens' probabilities, from 0 to 1."""
        return math.exp(self.log_probability / self.tokens)


@dataclass(frozen=True)
class KeywordChoice:
    """How keywords are chosen among those that were found.

    Attributes:
        weights: Of a logistic regression of the probability that a keyword is one of the paper's, float64, shape
            (features,); None: keywords are ordered by their log-probability, and each is as sure as the geometric mean
            of its tokens' probabilities.
        intercept: Of the regression.
        min_confidence: A keyword that is less sure is not written.
    """

    weights: NDArray[np.float64] | None = None
    intercept: float = 0.0
    min_confidence: float = 0.0

    @classmethod
    def of(cls, name: str, column: "RankedKeywordsColumn", record: Ranking | None) -> "KeywordChoice":
        """Return how the keywords of a column are chosen, given what calibration has found.

        Raises:
            ValueError: If the ranking has other features than this version knows.
        """
        found = record or Ranking(rows=0)
        weights = None
        if found.weights is not None:
            if set(found.weights) != set(FEATURES):
                raise ValueError(f"the ranking of {name} has the features {', '.join(sorted(found.weights))}")
            weights = np.array([found.weights[feature] for feature in FEATURES])
        given = column.min_confidence
        return cls(weights, found.intercept, given if isinstance(given, float) else found.min_confidence or 0.0)

    def rank(self, found: Sequence[FoundKeyword]) -> list[tuple[str, float]]:
        """Give all keywords, the best first, and how sure each is.

        Args:
            found: Keywords of one paper, the likeliest first.
        """
        if self.weights is None or not found:
            return [(keyword.text, keyword.confidence) for keyword in found]
        scores = features(found) @ self.weights + self.intercept
        sure = 1 / (1 + np.exp(-scores))
        return [(found[index].text, float(sure[index])) for index in np.argsort(-scores, kind="stable")]

    def choose(self, found: Sequence[FoundKeyword], count: int) -> list[tuple[str, float]]:
        """Give the first so many keywords that are sure enough, and how sure each is."""
        return [(text, sure) for text, sure in self.rank(found) if sure >= self.min_confidence][:count]


def features(found: Sequence[FoundKeyword]) -> NDArray[np.float64]:
    """Give what a ranking looks at.

    Beside its probability it is what KEA (Witten et al. 1999, arXiv:cs/9902007) and C-value (Frantzi et al. 2000,
    doi:10.1007/s007999900023) look at: how often a phrase occurs, where first, and in how many longer ones it stands.

    Args:
        found: Keywords of one paper.

    Returns:
        Float64, shape (keywords, features); the features are `FEATURES`.
    """
    # A Chinese form has no blanks, so it may stand anywhere in a longer one.
    cjk = [CJK_CHARACTER.search(keyword.form) is not None for keyword in found]
    padded = [k.form if is_cjk else f" {k.form} " for k, is_cjk in zip(found, cjk, strict=True)]
    table = np.zeros((len(found), len(FEATURES)))
    for keyword, own, is_cjk, row in zip(found, padded, cjk, table, strict=True):
        longer = sum(own in form for form in padded) - 1
        phrase = keyword.phrase
        words = len(keyword.form) if is_cjk else keyword.form.count(" ") + 1
        row[:] = (
            keyword.log_probability,
            keyword.log_probability / keyword.tokens,
            phrase is not None,
            math.log(phrase.occurrences) if phrase else 0.0,
            math.log1p(phrase.place) if phrase else 0.0,
            words == 1,
            words == 2,
            words == 3,
            math.log1p(longer),
        )
    return table


def distinct(found: Iterable[FoundKeyword]) -> list[FoundKeyword]:
    """Give the likeliest of those keywords that differ in case, signs or endings only, the likeliest first.

    What is left of them has been generated if any of them has.
    """
    kept: dict[str, FoundKeyword] = {}
    for keyword in sorted(found, key=lambda keyword: -keyword.log_probability):
        best = kept.setdefault(keyword.form, keyword)
        if keyword.generated and not best.generated:
            kept[keyword.form] = replace(best, generated=True)
    return list(kept.values())


def ranked_as_text(keywords: Sequence[tuple[str, float]]) -> str:
    """Write keywords and how sure each is as one text, in their order."""
    return json.dumps(keywords, ensure_ascii=False)


def read_ranked(text: str) -> list[tuple[str, float]]:
    """Give the keywords that `ranked_as_text` has written, and how sure each is."""
    return [(keyword, confidence) for keyword, confidence in json.loads(text)]
