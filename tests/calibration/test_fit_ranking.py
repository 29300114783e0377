import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds import RankedKeywordsColumn
from papertune.kinds.keywords.candidates import Candidate
from papertune.kinds.keywords.fit import f1_confidence, fit_ranking, ranking_in_words, ranking_shortage
from papertune.kinds.keywords.ranking import FEATURES, FoundKeyword, KeywordChoice
from papertune.kinds.keywords.record import Ranking
from papertune.metrics.keyword_scores import score_keywords

COLUMN = RankedKeywordsColumn(kind="ranked_keywords", question="Keyword?", count=3)


def make_papers(count, seed=0):
    """Papers of which the likely keywords and those in the document are more often true."""
    random = np.random.default_rng(seed)
    found, true = [], []
    for _ in range(count):
        logs = np.sort(random.uniform(-8, -1, 6))[::-1]
        words = [f"word{place}" for place in range(6)]
        phrases = [Candidate(word, 0, 1) if random.random() < 0.5 else None for word in words]
        rows = zip(words, logs, phrases, strict=True)
        found.append([FoundKeyword(word, word, float(log), 2, False, phrase) for word, log, phrase in rows])
        chances = 1 / (1 + np.exp(-(logs + 2 + 3 * np.array([phrase is not None for phrase in phrases]))))
        own = [word for word, chance in zip(words, chances, strict=True) if random.random() < chance]
        true.append([*own, "another"])
    return found, true


def test_what_decides_is_found():
    ranking = fit_ranking(COLUMN, *make_papers(400))
    weights = dict(zip(FEATURES, KeywordChoice(np.array(list(ranking.weights.values()))).weights, strict=True))
    # The log-probability and the same for each of two tokens say the same, so they share its weight.
    assert weights["log_probability"] + weights["log_probability_per_token"] / 2 == pytest.approx(1, abs=0.25)
    assert weights["in_document"] == pytest.approx(3, abs=0.5)
    assert {weights[name] for name in ("two_words", "log_occurrences", "log_place", "longer_keywords")} == {0}
    assert (ranking.rows, ranking.min_confidence) == (400, None)


def test_its_probabilities_are_shares():
    ranking = fit_ranking(COLUMN, *make_papers(400))
    choice = KeywordChoice(np.array([ranking.weights[name] for name in FEATURES]), ranking.intercept)
    found, true = make_papers(400, seed=1)
    pairs = [(sure, word in own) for row, own in zip(found, true, strict=True) for word, sure in choice.rank(row)]
    for low, high in ((0.1, 0.4), (0.4, 0.7), (0.7, 0.95)):
        inside = [(sure, right) for sure, right in pairs if low <= sure < high]
        sure, right = np.mean(inside, axis=0)
        assert right == pytest.approx(sure, abs=0.06)


def test_the_cut_off_is_the_best_of_all():
    found, true = make_papers(60)
    ranking = fit_ranking(COLUMN.model_copy(update={"min_confidence": "f1"}), found, true)

    def f1(least):
        choice = KeywordChoice(np.array([ranking.weights[name] for name in FEATURES]), ranking.intercept, least)
        said = [[word for word, _ in choice.choose(row, COLUMN.count)] for row in found]
        return score_keywords(true, said, [""] * len(true)).f1_at_m

    tried = {least: f1(least) for least in np.linspace(0, 1, 101)}
    assert f1(ranking.min_confidence) >= max(tried.values())
    assert f1(ranking.min_confidence) > tried[0.0] + 0.02


lists = st.lists(
    st.tuples(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=4), st.integers(1, 4)), min_size=1
)


@given(lists)
def test_no_confidence_is_better_than_the_one_found(papers):
    confidence, right = np.zeros((len(papers), 4)), np.zeros((len(papers), 4), dtype=bool)
    for row, (keywords, _) in enumerate(papers):
        for place, (sure, hit) in enumerate(sorted(keywords, key=lambda pair: -pair[0])):
            confidence[row, place], right[row, place] = sure / 5, hit
    counts = [count for _, count in papers]

    def f1(least):
        total = 0.0
        for (keywords, _), count in zip(papers, counts, strict=True):
            written = [hit for sure, hit in keywords if sure / 5 >= least]
            total += 2 * sum(written) / (len(written) + count)
        return total / len(papers)

    best = f1_confidence(confidence, right, counts)
    tried = [each / 5 for each in range(1, 6) if (confidence == each / 5).any()]
    assert all(f1(best) >= f1(least) - 1e-12 for least in tried)
    assert best in tried or not tried


@pytest.mark.parametrize(
    ("papers", "why"),
    [
        (make_papers(29), "29 dev rows are kept apart for it, and at least 30 are needed"),
        (make_papers(1), "1 dev row is kept apart for it, and at least 30 are needed"),
        ((make_papers(30)[0], [["x"]] * 30), "none of the keywords that were found on 30 dev rows are the papers' own"),
        (([[]] * 30, [["x"]] * 30), "none of the keywords that were found on 30 dev rows are the papers' own"),
        (
            (make_papers(30)[0], [[f"word{place}" for place in range(6)]] * 30),
            "all of the keywords that were found on 30 dev rows are the papers' own",
        ),
    ],
)
def test_too_little_to_fit_anything(papers, why):
    assert ranking_shortage(*papers) == why
    assert fit_ranking(COLUMN, *papers) == Ranking(len(papers[1]))


def test_in_words():
    assert ranking_in_words(Ranking(1200, {}, 0.0)) == "keywords are ranked as 1,200 dev rows say"
    cut = Ranking(40, {}, 0.0, min_confidence=0.2137)
    assert ranking_in_words(cut) == "keywords are ranked as 40 dev rows say; written from 0.214 on"
    assert math.isfinite(fit_ranking(COLUMN, *make_papers(30)).intercept)
