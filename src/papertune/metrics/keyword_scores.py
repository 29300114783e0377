"""Scores of a keywords column by the usual protocol: exact match of stemmed phrases, F1 at 5, at M and at O.

The protocol is that of OpenNMT-kpg (https://github.com/memray/OpenNMT-kpg-release, `onmt/keyphrase/eval.py`), after
Meng et al. 2017 (arXiv:1704.06879), Chan et al. 2019 (arXiv:1906.04106) and Yuan et al. 2020 (arXiv:1810.05241):

- Lower case, letters and digits only, Porter stems (Porter 1980), repeats dropped after stemming, exact match.
- At 5: the first five predictions. Precision always divides by 5, so missing keywords count as wrong ones
  (OpenNMT-kpg's `precision_hard`, Chan et al.'s F1@5) and fewer predictions do not raise it.
- At M: all predictions.
- At O: as many predictions as the paper has gold keywords. Precision divides by that number even if there are fewer
  predictions, so precision, recall and F1 at O of a paper are equal.
- Recall divides by the number of the paper's gold keywords. Each score is the mean over the papers that have any.
- Present keywords occur in the document as consecutive stemmed words, absent ones do not. The two are scored
  separately, predictions against gold keywords of the same part, over the papers with a gold keyword of that part.

Chinese, Japanese and Korean text has no words to stem: a keyword with such a character is the string of its letters and
digits, and it is present if the string of the document's letters and digits contains it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from papertune.metrics.intervals import Interval, mean_interval
from papertune.metrics.phrases import CJK_CHARACTER, fold, keep_letters_and_digits, normalise_keyword, stem
from papertune.metrics.scores import Measure, Scores


@dataclass(frozen=True)
class PartScores:
    """Scores of only the present or only the absent keywords.

    Attributes:
        papers: Number of papers with a gold keyword of this part; the scores are means over them.
        f1_at_5: F1 of the first five predictions of this part; precision divides by 5.
        f1_at_m: F1 of all predictions of this part.
        recall: Share of the paper's gold keywords of this part that were predicted.
    """

    papers: int
    f1_at_5: float
    f1_at_m: float
    recall: float


@dataclass(frozen=True)
class KeywordScores(Scores):
    """Scores of the predictions of a keywords column, as the module's docstring defines them.

    Attributes:
        rows: Number of papers.
        scored: Number of papers with a gold keyword; the scores are means over these.
        left_out: Number of papers without one.
        precision_at_5: Number of right keywords among the first five, divided by 5.
        recall_at_5: Share of the gold keywords among the first five.
        f1_at_5: Mean over papers of the harmonic mean of the two.
        f1_at_5_interval: Its 95 percent bootstrap interval.
        precision_at_m: Share of all predictions that are right.
        recall_at_m: Share of the gold keywords that were predicted.
        f1_at_m: Mean over papers of the harmonic mean of the two.
        precision_at_o: Right keywords among the first n predictions, divided by n, the number of gold keywords.
        recall_at_o: The same number.
        f1_at_o: The same number.
        f1_at_o_interval: Its 95 percent bootstrap interval.
        present: Scores of the keywords that occur in the document; None if no paper has one.
        absent: Scores of those that do not; None if no paper has one.
    """

    rows: int
    scored: int
    left_out: int
    precision_at_5: float
    recall_at_5: float
    f1_at_5: float
    f1_at_5_interval: Interval
    precision_at_m: float
    recall_at_m: float
    f1_at_m: float
    precision_at_o: float
    recall_at_o: float
    f1_at_o: float
    f1_at_o_interval: Interval
    present: PartScores | None
    absent: PartScores | None

    template: ClassVar[str] = "keywords"

    @property
    def main(self) -> float:
        """F1@5."""
        return self.f1_at_5

    def measures(self) -> list[Measure]:
        """Return the scores that tables show; F1@5 first."""
        return [
            Measure("f1_at_5", "F1@5", self.f1_at_5, self.f1_at_5_interval),
            Measure("f1_at_o", "F1@O", self.f1_at_o, self.f1_at_o_interval),
            Measure("f1_at_m", "F1@M", self.f1_at_m),
            Measure("present_recall", "Recall, present", None if self.present is None else self.present.recall),
        ]

    def dev_measures(self) -> dict[str, float]:
        """Return F1@5."""
        return {"f1_at_5": self.f1_at_5}

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain dicts and numbers, ready for JSON."""
        return asdict(self)


def score_keywords(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], documents: Sequence[str]
) -> KeywordScores:
    """Compare predicted keywords with the gold ones.

    Args:
        gold: The gold keywords of each paper, length rows; a paper without any is left out.
        predicted: The predicted keywords of each paper, best first, length rows.
        documents: The text of each paper (usually title and abstract), length rows; decides what is present.

    Raises:
        ValueError: If the lengths differ, or no paper has a gold keyword.
    """
    if not len(gold) == len(predicted) == len(documents):
        raise ValueError(
            f"{len(gold)} lists of gold keywords, {len(predicted)} of predicted ones and {len(documents)} documents"
        )
    whole: list[tuple[float, ...]] = []
    parts: dict[bool, list[tuple[float, ...]]] = {True: [], False: []}
    for gold_keywords, predicted_keywords, document in zip(gold, predicted, documents, strict=True):
        gold_phrases = unique_keywords(gold_keywords)
        if not gold_phrases:
            continue
        predicted_phrases = unique_keywords(predicted_keywords)
        hits = [phrase in gold_phrases for phrase in predicted_phrases]
        whole.append(_score_paper(hits, len(gold_phrases)))
        searchable = SearchableDocument(document)
        gold_present = {phrase: searchable.contains(phrase) for phrase in gold_phrases}
        predicted_present = [searchable.contains(phrase) for phrase in predicted_phrases]
        for is_present, rows in parts.items():
            part_count = sum(found is is_present for found in gold_present.values())
            if part_count == 0:
                continue
            part_hits = [hit for hit, found in zip(hits, predicted_present, strict=True) if found is is_present]
            _, _, f1_at_5 = _precision_recall_f1(part_hits[:5], part_count, divisor=5)
            _, recall, f1_at_m = _precision_recall_f1(part_hits, part_count, divisor=len(part_hits))
            rows.append((f1_at_5, f1_at_m, recall))
    if not whole:
        raise ValueError("no paper has a gold keyword, so there is nothing to score")
    scores = np.array(whole)  # (papers, 9): precision, recall and F1 at 5, at M and at O
    means = [float(mean) for mean in scores.mean(axis=0)]
    return KeywordScores(
        rows=len(gold),
        scored=len(whole),
        left_out=len(gold) - len(whole),
        precision_at_5=means[0],
        recall_at_5=means[1],
        f1_at_5=means[2],
        f1_at_5_interval=mean_interval(scores[:, 2]),
        precision_at_m=means[3],
        recall_at_m=means[4],
        f1_at_m=means[5],
        precision_at_o=means[6],
        recall_at_o=means[7],
        f1_at_o=means[8],
        f1_at_o_interval=mean_interval(scores[:, 8]),
        present=_part(parts[True]),
        absent=_part(parts[False]),
    )


def f1_at_5_by_paper(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return the F1 at 5 of each paper with a gold keyword; its mean is the `f1_at_5` of `score_keywords`.

    Args:
        gold: The gold keywords of each paper, length rows.
        predicted: The predicted keywords of each paper, best first, length rows.

    Returns:
        Shape (papers with a gold keyword,), in the order of the rows.
    """
    scores: list[float] = []
    for gold_keywords, predicted_keywords in zip(gold, predicted, strict=True):
        if phrases := unique_keywords(gold_keywords):
            hits = [phrase in phrases for phrase in unique_keywords(predicted_keywords)[:5]]
            scores.append(_precision_recall_f1(hits, len(phrases), divisor=5)[2])
    return np.array(scores, dtype=np.float64)


def f1_at_m(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the F1 of all predictions of a paper with gold keywords; its mean is the `f1_at_m` of `score_keywords`."""
    phrases = unique_keywords(gold)
    hits = [phrase in phrases for phrase in unique_keywords(predicted)]
    return _precision_recall_f1(hits, len(phrases), divisor=len(hits))[2]


def unique_keywords(keywords: Sequence[str]) -> list[str]:
    """Normalise keywords, then drop empty ones and repeats; the first of each stays in its place."""
    return [phrase for phrase in dict.fromkeys(normalise_keyword(keyword) for keyword in keywords) if phrase]


class SearchableDocument:
    """A document that can be searched for keywords.

    Args:
        text: The text of the document.
    """

    def __init__(self, text: str) -> None:
        words = keep_letters_and_digits(fold(text))
        self._characters = words.replace(" ", "")
        # Chinese text has no blank beside an English word; the word LoRA must be found in `用LoRA微调`.
        spaced = CJK_CHARACTER.sub(" ", words)
        # Blanks around each word, so that a phrase between blanks matches whole words only.
        self._stems = " ".join(["", *(stem(word) for word in spaced.split()), ""])

    def contains(self, phrase: str) -> bool:
        """Check whether a keyword occurs in the document.

        Args:
            phrase: A keyword as `normalise_keyword` returns it, not empty.

        Returns:
            Whether its words, or its Chinese, Japanese or Korean characters, are consecutive in the document.
        """
        if CJK_CHARACTER.search(phrase):
            return phrase in self._characters
        return f" {phrase} " in self._stems


def _score_paper(hits: Sequence[bool], gold_count: int) -> tuple[float, ...]:
    """Return precision, recall and F1 of a paper at 5, at M and at O."""
    return (
        *_precision_recall_f1(hits[:5], gold_count, divisor=5),
        *_precision_recall_f1(hits, gold_count, divisor=len(hits)),
        *_precision_recall_f1(hits[:gold_count], gold_count, divisor=gold_count),
    )


def _precision_recall_f1(hits: Sequence[bool], gold_count: int, divisor: int) -> tuple[float, float, float]:
    """Score one paper.

    Args:
        hits: Whether each counted prediction is right.
        gold_count: Number of gold keywords of the paper, at least 1.
        divisor: The divisor of precision; with 0 precision is 0.

    Returns:
        Precision, recall and their harmonic mean, each from 0 to 1.
    """
    right = sum(hits)
    if right == 0:
        return 0.0, 0.0, 0.0
    return right / divisor, right / gold_count, 2 * right / (divisor + gold_count)


def _part(rows: Sequence[tuple[float, ...]]) -> PartScores | None:
    """Average (F1 at 5, F1 at M, recall) over papers; None without papers."""
    if not rows:
        return None
    f1_at_5, f1_at_m, recall = (float(mean) for mean in np.mean(rows, axis=0))
    return PartScores(len(rows), f1_at_5, f1_at_m, recall)
