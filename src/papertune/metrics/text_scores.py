r"""Scores of a text column: exact match and token F1 as SQuAD has them, ROUGE-L and chrF.

- Exact match and token F1 are those of SQuAD's script (Rajpurkar et al. 2016, arXiv:1606.05250): lower case, without
  punctuation and the articles a, an, the; F1 counts the words that both texts have. Where one of the two texts is
  empty, both are 1 if the other is empty too, else 0 (SQuAD 2.0, arXiv:1806.03822).
- ROUGE-L is the F1 of the longest common subsequence of words (Lin 2004, ACL W04-1013), without stemming. For ASCII
  text it is what the package rouge-score computes; that package drops all other letters and needs nltk.
- chrF is the F2 of character n-grams of 1 to 6 characters without blanks (Popović 2015, ACL W15-3049), computed as
  sacrebleu does for one sentence, from 0 to 1. It is the score for Chinese, which has no words to count.

A Chinese, Japanese or Korean character counts as a word (as in MLQA's script, arXiv:1910.07475), all punctuation counts
as punctuation, and letters are compared in the form NFKC. Each score is the mean over rows. ROUGE-L is the main one: it
suits short and long answers, and it looks at their order.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import Interval, mean_interval
from papertune.metrics.phrases import CJK_CHARACTER, fold, keep_letters_and_digits
from papertune.metrics.scores import Measure, Scores

# Popović's choices.
_CHRF_ORDER = 6
_CHRF_BETA = 2.0

_ARTICLE = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class TextScores(Scores):
    """Scores of the predictions of a text column, as the module's docstring defines them.

    Attributes:
        rows: Number of rows with a gold answer; the scores are means over these.
        rouge_l: ROUGE-L, F1.
        rouge_l_interval: Its 95 percent bootstrap interval.
        token_f1: SQuAD's F1.
        token_f1_interval: Its interval.
        exact_match: Share of rows whose answer is the gold answer after SQuAD's normalisation.
        exact_match_interval: Its interval.
        chrf: chrF, from 0 to 1.
        chrf_interval: Its interval.
    """

    rows: int
    rouge_l: float
    rouge_l_interval: Interval
    token_f1: float
    token_f1_interval: Interval
    exact_match: float
    exact_match_interval: Interval
    chrf: float
    chrf_interval: Interval

    @property
    def main(self) -> float:
        """ROUGE-L."""
        return self.rouge_l

    def measures(self) -> list[Measure]:
        """Return the scores that tables show; ROUGE-L first."""
        return [
            Measure("rouge_l", "ROUGE-L", self.rouge_l, self.rouge_l_interval),
            Measure("token_f1", "Token F1", self.token_f1, self.token_f1_interval),
            Measure("exact_match", "Exact match", self.exact_match, self.exact_match_interval),
            Measure("chrf", "chrF", self.chrf, self.chrf_interval),
        ]

    def dev_measures(self) -> dict[str, float]:
        """Return all four."""
        return {measure.key: measure.score for measure in self.measures() if measure.score is not None}


def score_texts(gold: Sequence[str], predicted: Sequence[str]) -> TextScores:
    """Compare predicted texts with the gold ones.

    Args:
        gold: The gold text of each row; "" if the right answer is none.
        predicted: The predicted text of each row.

    Raises:
        ValueError: If the lengths differ, or there are no rows.
    """
    pairs = list(zip(gold, predicted, strict=True))
    if not pairs:
        raise ValueError("there are no texts to score")
    columns = {
        "rouge_l": rouge_l_by_row(gold, predicted),
        "token_f1": np.array([token_f1(*pair) for pair in pairs]),
        "exact_match": np.array([exact_match(*pair) for pair in pairs]),
        "chrf": np.array([chrf(*pair) for pair in pairs]),
    }
    means = {key: float(values.mean()) for key, values in columns.items()}
    intervals = {f"{key}_interval": mean_interval(values) for key, values in columns.items()}
    return TextScores(rows=len(pairs), **means, **intervals)  # type: ignore[arg-type]


def rouge_l_by_row(gold: Sequence[str], predicted: Sequence[str]) -> NDArray[np.float64]:
    """Return the ROUGE-L of each row, shape (rows,); its mean is the `rouge_l` of `score_texts`."""
    return np.array([rouge_l(*pair) for pair in zip(gold, predicted, strict=True)], dtype=np.float64)


def exact_match(gold: str, predicted: str) -> float:
    """Return 1 if two texts are the same after SQuAD's normalisation, else 0."""
    return float(_squad_tokens(gold) == _squad_tokens(predicted))


def token_f1(gold: str, predicted: str) -> float:
    """Return SQuAD's F1 of the words of two texts, from 0 to 1."""
    ours, theirs = _squad_tokens(predicted), _squad_tokens(gold)
    return _f1(sum((Counter(ours) & Counter(theirs)).values()), len(ours), len(theirs))


def rouge_l(gold: str, predicted: str) -> float:
    """Return the F1 of the longest common subsequence of the words of two texts, from 0 to 1."""
    ours, theirs = words_of(predicted), words_of(gold)
    return _f1(_common_subsequence(ours, theirs), len(ours), len(theirs))


def words_of(text: str) -> list[str]:
    """Return the words of a text as ROUGE-L compares them: lower case, letters and digits only."""
    return _words(keep_letters_and_digits(fold(text)))


def chrf(gold: str, predicted: str) -> float:
    """Return the mean precision and recall of character n-grams as F2, from 0 to 1.

    As in sacrebleu, an order for which one of the texts is too short does not count.
    """
    ours, theirs = ("".join(text.split()) for text in (predicted, gold))
    if not ours or not theirs:
        return float(ours == theirs)
    precisions, recalls = [], []
    for order in range(1, min(_CHRF_ORDER, len(ours), len(theirs)) + 1):
        found, wanted = (Counter(text[i : i + order] for i in range(len(text) - order + 1)) for text in (ours, theirs))
        hits = sum((found & wanted).values())
        precisions.append(hits / found.total())
        recalls.append(hits / wanted.total())
    precision, recall = float(np.mean(precisions)), float(np.mean(recalls))
    if not precision + recall:
        return 0.0
    return (1 + _CHRF_BETA**2) * precision * recall / (_CHRF_BETA**2 * precision + recall)


def _f1(hits: int, predicted: int, gold: int) -> float:
    """Return F1 from counts of tokens; without any on one side, whether there are none on the other."""
    return 2 * hits / (predicted + gold) if predicted and gold else float(predicted == gold)


def _squad_tokens(text: str) -> list[str]:
    # As SQuAD's script: punctuation is deleted, so "3.5" becomes "35" and "well-known" one word.
    bare = "".join(each for each in fold(text) if not _is_punctuation(each))
    return _words(_ARTICLE.sub(" ", bare))


def _is_punctuation(character: str) -> bool:
    # Python's string.punctuation has the ASCII symbols too, such as $ and +.
    category = unicodedata.category(character)
    return category.startswith("P") or (character.isascii() and category.startswith("S"))


def _words(text: str) -> list[str]:
    return CJK_CHARACTER.sub(r" \g<0> ", text).split()


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]
