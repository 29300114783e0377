import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds import KeywordsColumn, RankedKeywordsColumn
from papertune.kinds.keywords.ranked.candidates import find_candidates
from papertune.kinds.keywords.ranked.ranking import (
    FEATURES,
    FoundKeyword,
    KeywordChoice,
    distinct,
    features,
    longer_forms,
    ranked_as_text,
    read_ranked,
)
from papertune.kinds.keywords.ranked.record import Ranking
from papertune.metrics.phrases import normalise_keyword


def found(text, log_probability=-1.0, tokens=2, *, generated=False, document=""):
    form = normalise_keyword(text)
    phrase = next((each for each in find_candidates(document) if each.form == form), None)
    return FoundKeyword(text, form, log_probability, tokens, generated, phrase)


def described(keywords):
    longer = longer_forms([keyword.form for keyword in keywords])
    return [replace(keyword, longer=longer[keyword.form]) for keyword in keywords]


def only(**weights):
    return np.array([weights.get(feature, 0.0) for feature in FEATURES])


def test_the_most_probable_of_keywords_with_the_same_form_is_kept():
    keywords = [
        found("Solar cells", -3.0),
        found("graph", -2.5),
        found("solar cell", -2.0),
        found("solar-cell", -4.0, generated=True),
    ]
    assert [(each.text, each.generated) for each in distinct(keywords)] == [("solar cell", True), ("graph", False)]
    assert distinct([]) == []


def test_features_by_hand():
    document = "Deep neural networks. A neural network and neural networks with many layers"
    keywords = [
        found("neural networks", -1.5, 3, document=document),
        found("Deep neural networks", -2.0, 4, document=document),
        found("deep", -6.0, 2, document=document),
        found("deep learning", -4.0, 2, generated=True, document=document),
    ]
    table = [dict(zip(FEATURES, row, strict=True)) for row in features(described(keywords)).tolist()]
    assert table[0] == {
        "log_probability": -1.5,
        "log_probability_per_token": -0.5,
        "in_document": 1,
        "log_occurrences": pytest.approx(math.log(3)),
        "log_place": pytest.approx(math.log(2)),  # one word comes before it
        "one_word": 0,
        "two_words": 1,
        "three_words": 0,
        "longer_keywords": pytest.approx(math.log(2)),
    }
    assert [row["three_words"] for row in table] == [0, 1, 0, 0]
    # "deep" is part of "Deep neural networks", and of a keyword that does not occur in the document.
    assert table[2]["longer_keywords"] == pytest.approx(math.log(3))
    assert [table[3][name] for name in ("in_document", "log_occurrences", "log_place")] == [0, 0, 0]
    assert features([]).shape == (0, len(FEATURES))


def test_without_a_ranking_the_most_probable_come_first():
    keywords = [found("a b", -1.0, 2), found("c", -1.2, 4), found("d", -3.0, 1)]
    ranked = KeywordChoice().rank(keywords)
    assert ranked == [("a b", math.exp(-0.5)), ("c", math.exp(-0.3)), ("d", math.exp(-3.0))]
    assert KeywordChoice().choose(keywords, 2) == ranked[:2]
    assert KeywordChoice(min_confidence=0.7).choose(keywords, 3) == [ranked[1]]
    assert KeywordChoice().choose([], 3) == []


def test_a_ranking_orders_keywords_and_gives_their_confidences():
    keywords = [found("a b", -1.0), found("cc", -2.0), found("dd", -3.0, document="dd")]
    choice = KeywordChoice(only(log_probability=0.5, in_document=2.0), intercept=-1.0)
    ranked = choice.rank(keywords)
    confidences = [1 / (1 + math.exp(-score)) for score in (-0.5, -1.5, -2.0)]
    assert ranked == [
        (text, pytest.approx(confidence)) for text, confidence in zip(["dd", "a b", "cc"], confidences, strict=True)
    ]
    assert choice.choose(keywords, 2) == ranked[:2]
    assert KeywordChoice(choice.weights, -1.0, min_confidence=0.2).choose(keywords, 3) == ranked[:1]
    assert choice.rank([]) == []


@given(st.lists(st.tuples(st.text(), st.floats(0, 1))))
def test_ranked_keywords_are_read_as_they_were_written(keywords):
    assert read_ranked(ranked_as_text(keywords)) == keywords


def make_column(**keys):
    return RankedKeywordsColumn(kind="ranked_keywords", question="Keyword?", **keys)


@pytest.mark.parametrize(
    ("keys", "fitted", "expected"),
    [
        ({}, None, 0.0),
        ({"min_confidence": 0.3}, None, 0.3),
        ({"min_confidence": 0.3}, 0.2, 0.3),
        ({"min_confidence": "f1"}, 0.2, 0.2),
        ({"min_confidence": "f1"}, None, 0.0),
    ],
)
def test_the_decision_of_a_run(keys, fitted, expected):
    ranking = Ranking(40, {feature: float(place) for place, feature in enumerate(reversed(FEATURES))}, 0.5, fitted)
    choice = make_column(**keys).decision("Keywords", ranking)
    assert choice.weights.tolist() == list(reversed(range(len(FEATURES))))
    assert (choice.intercept, choice.min_confidence) == (0.5, expected)
    bare = make_column(**keys).decision("Keywords", None)
    assert (bare.weights, bare.intercept) == (None, 0.0)


def test_other_kinds_of_keywords_have_no_decision():
    assert KeywordsColumn(kind="keywords", question="Keywords?").decision("Keywords", None) is None


def test_a_ranking_of_unknown_features_is_an_error():
    with pytest.raises(ValueError, match="the ranking of Keywords has the features luck"):
        make_column().decision("Keywords", Ranking(40, {"luck": 1.0}))


def test_features_of_chinese_keywords():
    keywords = [found(text, document="机器学习方法。学习") for text in ("机器学习", "学习")]
    table = [dict(zip(FEATURES, row, strict=True)) for row in features(described(keywords)).tolist()]
    assert [row["two_words"] for row in table] == [0, 1]
    assert [row["longer_keywords"] for row in table] == [0, pytest.approx(math.log(2))]
