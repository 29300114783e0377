import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds import RankedKeywordsColumn
from papertune.kinds.keywords.ranked.candidates import Candidate
from papertune.kinds.keywords.ranked.fit import f1_confidence, fit_ranking, ranking_in_words, ranking_shortage
from papertune.kinds.keywords.ranked.ranking import FEATURES, JOINED_FEATURES, FoundKeyword, KeywordChoice
from papertune.kinds.keywords.ranked.record import Ranking
from papertune.metrics.keyword_scores import score_keywords

COLUMN = RankedKeywordsColumn(kind="ranked_keywords", question="Keyword?", count=3)


def make_papers(count, seed=0):
    """Return found and gold keywords; more probable keywords, and those in the document, are more often gold."""
    random = np.random.default_rng(seed)
    found, gold = [], []
    for _ in range(count):
        logs = np.sort(random.uniform(-8, -1, 6))[::-1]
        words = [f"word{place}" for place in range(6)]
        phrases = [Candidate(word, 0, 1) if random.random() < 0.5 else None for word in words]
        rows = zip(words, logs, phrases, strict=True)
        found.append([FoundKeyword(word, word, float(log), 2, False, phrase) for word, log, phrase in rows])
        chances = 1 / (1 + np.exp(-(logs + 2 + 3 * np.array([phrase is not None for phrase in phrases]))))
        own = [word for word, chance in zip(words, chances, strict=True) if random.random() < chance]
        gold.append([*own, "another"])
    return found, gold


def test_the_features_that_matter_get_the_weights():
    ranking = fit_ranking(COLUMN, *make_papers(400))
    weights = dict(zip(FEATURES, KeywordChoice(np.array(list(ranking.weights.values()))).weights, strict=True))
    # Of two tokens the log-probability per token is half the log-probability, so the two share the weight.
    assert weights["log_probability"] + weights["log_probability_per_token"] / 2 == pytest.approx(1, abs=0.25)
    assert weights["in_document"] == pytest.approx(3, abs=0.5)
    assert {weights[name] for name in ("two_words", "log_occurrences", "log_place", "longer_keywords")} == {0}
    assert (ranking.rows, ranking.min_confidence) == (400, None)


def test_confidences_of_the_ranking_are_calibrated():
    ranking = fit_ranking(COLUMN, *make_papers(400))
    choice = KeywordChoice(np.array([ranking.weights[name] for name in FEATURES]), ranking.intercept)
    found, gold = make_papers(400, seed=1)
    pairs = [
        (confidence, word in own) for row, own in zip(found, gold, strict=True) for word, confidence in choice.rank(row)
    ]
    for low, high in ((0.1, 0.4), (0.4, 0.7), (0.7, 0.95)):
        inside = [(confidence, hit) for confidence, hit in pairs if low <= confidence < high]
        confidence, share = np.mean(inside, axis=0)
        assert share == pytest.approx(confidence, abs=0.06)


def test_the_fitted_min_confidence_has_the_highest_f1():
    found, gold = make_papers(60)
    ranking = fit_ranking(COLUMN.model_copy(update={"min_confidence": "f1"}), found, gold)

    def f1(min_confidence):
        choice = KeywordChoice(
            np.array([ranking.weights[name] for name in FEATURES]), ranking.intercept, min_confidence
        )
        written = [[word for word, _ in choice.choose(row, COLUMN.count)] for row in found]
        return score_keywords(gold, written, [""] * len(gold)).f1_at_m

    tried = {each: f1(each) for each in np.linspace(0, 1, 101)}
    assert f1(ranking.min_confidence) >= max(tried.values())
    assert f1(ranking.min_confidence) > tried[0.0] + 0.02


lists = st.lists(
    st.tuples(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=4), st.integers(1, 4)), min_size=1
)


@given(lists)
def test_no_other_confidence_has_a_higher_f1(papers):
    confidence, right = np.zeros((len(papers), 4)), np.zeros((len(papers), 4), dtype=bool)
    for row, (keywords, _) in enumerate(papers):
        for place, (fifths, hit) in enumerate(sorted(keywords, key=lambda pair: -pair[0])):
            confidence[row, place], right[row, place] = fifths / 5, hit
    counts = [count for _, count in papers]

    def f1(min_confidence):
        total = 0.0
        for (keywords, _), count in zip(papers, counts, strict=True):
            written = [hit for fifths, hit in keywords if fifths / 5 >= min_confidence]
            total += 2 * sum(written) / (len(written) + count)
        return total / len(papers)

    best = f1_confidence(confidence, right, counts)
    tried = [each / 5 for each in range(1, 6) if (confidence == each / 5).any()]
    assert all(f1(best) >= f1(each) - 1e-12 for each in tried)
    assert best in tried or not tried


@pytest.mark.parametrize(
    ("papers", "why"),
    [
        (make_papers(29), "29 rows are in its calibration set, and at least 30 are needed"),
        (make_papers(1), "1 row is in its calibration set, and at least 30 are needed"),
        ((make_papers(30)[0], [["x"]] * 30), "none of the keywords that were found on 30 dev rows are gold keywords"),
        (([[]] * 30, [["x"]] * 30), "none of the keywords that were found on 30 dev rows are gold keywords"),
        (
            (make_papers(30)[0], [[f"word{place}" for place in range(6)]] * 30),
            "all of the keywords that were found on 30 dev rows are gold keywords",
        ),
    ],
)
def test_nothing_is_fitted_on_too_few_rows_or_keywords(papers, why):
    assert ranking_shortage(*papers) == why
    assert fit_ranking(COLUMN, *papers) == Ranking(len(papers[1]))


def test_a_ranking_in_words():
    assert ranking_in_words(Ranking(1200, {}, 0.0)) == "the ranking of keywords is fitted on 1,200 dev rows"
    cut = Ranking(40, {}, 0.0, min_confidence=0.2137)
    assert ranking_in_words(cut) == "the ranking of keywords is fitted on 40 dev rows; minimum confidence 0.214"
    assert math.isfinite(fit_ranking(COLUMN, *make_papers(30)).intercept)


def shuffled(count, seed=0):
    """Return papers as `make_papers` does, and their keywords in an order that says nothing."""
    random = np.random.default_rng(seed)
    found, gold = make_papers(count, seed)
    return found, gold, [[(keyword.text, 0.5) for keyword in random.permutation(row)[:3]] for row in found]


def test_the_model_joins_words_that_know_less():
    ranking = fit_ranking(COLUMN, *shuffled(100))
    assert set(ranking.weights) == set(JOINED_FEATURES)
    assert ranking.weights["in_document"] > 1
    evidence = ranking.evidence
    assert evidence["joined"] - evidence["words"] > evidence["standard_error"]
    assert ranking_in_words(ranking) == (
        f"words and the model rank keywords together, fitted on 100 dev rows: F1@5 {evidence['joined']:.3f} together, "
        f"{evidence['words']:.3f} by the words alone"
    )


def test_words_that_know_everything_rank_alone():
    found, gold = make_papers(100)
    by_words = [[(word, 0.9) for word in own] + [("wrong", 0.1)] for own in gold]
    column = COLUMN.model_copy(update={"min_confidence": "f1", "count": 9})
    ranking = fit_ranking(column, found, gold, by_words)
    assert (ranking.weights, ranking.min_confidence) == (None, 0.9)
    assert ranking.evidence["words"] > ranking.evidence["joined"]
    assert ranking_in_words(ranking) == (
        "keywords are ranked by the words of the training rows alone: on 100 dev rows the model adds less than the "
        f"standard error of {ranking.evidence['standard_error']:.3f} (F1@5 {ranking.evidence['joined']:.3f} together, "
        f"{ranking.evidence['words']:.3f} by the words alone); minimum confidence 0.900; prediction does not ask it"
    )


def test_too_few_dev_rows_leave_the_ranking_to_the_words():
    assert fit_ranking(COLUMN, *shuffled(29)) == Ranking(29)
