from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.keywords.by_words.tfidf import TfidfKeywords
from papertune.metrics.keyword_scores import SearchableDocument
from papertune.metrics.phrases import normalise_keyword


def test_keywords_are_rare_frequent_early_and_complete():
    train = ["the new results of the study show data"] * 9 + ["we show results for graphs"]
    document = (
        "X-ray scattering of thin films. We show the results of x-ray scattering; the data of 2019 (and thin film X) "
        "are new: results, results."
    )
    (keywords,) = TfidfKeywords(train).predict([document], 5)
    assert keywords[:2] == ["ray scattering", "thin films"]  # no single letter at an end
    # One form of `thin film(s)`, no part of a better keyword, no stop word, number or punctuation.
    assert keywords[2:] == ["results", "data", "new"]
    assert TfidfKeywords(train).predict([document], 1) == [["ray scattering"]]
    assert TfidfKeywords([]).predict(["", "of the"], 5) == [[], []]


def test_chinese_keywords_end_at_punctuation_and_function_words():
    train = ["研究的方法", "方法与研究", "系统研究"]
    (keywords,) = TfidfKeywords(train).predict(["国家主权与一国两制。本文研究国家主权,使用LoRA方法,国家主权"], 5)
    assert keywords[0] == "国家主权"
    assert "一国两制" in keywords
    assert all("与" not in keyword and "," not in keyword for keyword in keywords)


@given(st.text(alphabet="abcXYZ12 .,;-'()_国家主权的é\n", max_size=80), st.integers(0, 7))
def test_keywords_are_distinct_phrases_of_the_document(document, count):
    (keywords,) = TfidfKeywords(["abc 国家"]).predict([document], count)
    stems = [normalise_keyword(keyword) for keyword in keywords]
    assert len(set(stems)) == len(stems) <= count
    searchable = SearchableDocument(document)
    assert all(stem and searchable.contains(stem) for stem in stems)
