from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.keywords.ranked import shortlist
from papertune.kinds.keywords.ranked.ranking import FEATURES, FoundKeyword, KeywordChoice, distinct
from papertune.kinds.keywords.ranked.shortlist import score_possible_keywords

logs = st.floats(-20, 0).map(lambda number: round(number, 3))
weights = st.floats(-2, 2).map(lambda number: round(number, 3))


@st.composite
def papers(draw):
    """Phrases as (keyword, token ids, first log-probability), and generated keywords; forms repeat."""

    def keyword(text, generated):
        tokens = draw(st.integers(2, 5))
        log, longer = draw(logs), draw(st.integers(0, 3))
        return FoundKeyword(text, draw(st.sampled_from("abcdefgh")), log, tokens, generated, longer=longer)

    phrases = []
    for place in range(draw(st.integers(0, 12))):
        phrase = keyword(f"phrase {place}", generated=False)
        first = draw(st.floats(phrase.log_probability, 0))
        phrases.append((phrase, [place] * (phrase.tokens - 1), first))
    return phrases, [keyword(f"found {place}", generated=True) for place in range(draw(st.integers(0, 6)))]


def possible(choice, count, phrases, generated, round_tokens):
    """Return the keywords that are scored, and the phrases among them."""
    scored = []

    def score(answers):
        scored.extend(ids[0] for ids in answers)
        return [phrases[ids[0]][0].log_probability for ids in answers]

    bounded = [(replace(phrase, log_probability=first), ids) for phrase, ids, first in phrases]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortlist, "ROUND_TOKENS", round_tokens)
        found = score_possible_keywords(choice, count, generated, bounded, score)
    assert len(scored) == len(set(scored))
    return found, scored


@given(papers(), st.lists(weights, min_size=len(FEATURES), max_size=len(FEATURES)), st.integers(1, 4))
def test_the_chosen_keywords_are_those_of_all_phrases(paper, numbers, count):
    phrases, generated = paper
    choice = KeywordChoice(np.array(numbers), intercept=0.5)
    expected = choice.choose(distinct([*(phrase for phrase, *_ in phrases), *generated]), count)
    for round_tokens in (1, 4, 96):
        found, _ = possible(choice, count, phrases, generated, round_tokens)
        assert choice.choose(distinct(found), count) == expected


def test_a_phrase_that_cannot_be_chosen_is_not_scored():
    choice = KeywordChoice(np.array([1.0, *[0.0] * (len(FEATURES) - 1)]))
    phrases = [
        (FoundKeyword(form, form, log, 2, False), [place], first)
        for place, (form, log, first) in enumerate([("a", -9.0, -3.0), ("b", -4.0, -1.0), ("c", -6.0, -5.0)])
    ]
    found, scored = possible(choice, 1, phrases, [FoundKeyword("d", "d", -4.5, 2, True)], 1)
    # "b" has the highest bound; after it only "a" has a higher one than -4, the best score so far.
    assert scored == [1, 0]
    assert [keyword.text for keyword in found] == ["a", "b", "d"]
