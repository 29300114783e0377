import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.keywords.by_words.counts import LAST, NGRAM, PHRASE, WORD, Counts
from papertune.kinds.keywords.by_words.features import WORD_FEATURES, document_counts, word_features
from papertune.kinds.keywords.by_words.fit import fit_words, words_in_words
from papertune.kinds.keywords.by_words.tfidf import TfidfKeywords, ngrams
from papertune.kinds.keywords.by_words.words import WordsRecord, load_words
from papertune.kinds.keywords.ranked.candidates import find_candidates
from papertune.metrics.keyword_scores import unique_keywords

TOPICS = ("graph learning", "solar cells", "protein folding", "market design", "speech synthesis", "glacier melt")


def make_rows(count, seed=0):
    """Return documents and keywords: what is studied, and how; other topics come earlier and more often."""
    random = np.random.default_rng(seed)
    documents, keywords = [], []
    for _ in range(count):
        topic, *others = random.permutation(TOPICS).tolist()
        method = f"{random.choice(['bayesian', 'neural', 'linear'])} {random.choice(['models', 'networks'])}"
        noise = "".join(f"The {other} is old. Look at {other} again. " for other in others)
        documents.append(f"title: A workshop\nabstract: {noise}We study {topic} with {method}.")
        keywords.append([topic, method])
    return documents, keywords


def counts_of(document, keywords):
    return document_counts(find_candidates(document), list(ngrams(document)), unique_keywords(keywords))


def features_of(document, counts, own=None):
    candidates = find_candidates(document)
    rows = word_features(candidates, counts, own).tolist()
    return {c.form: dict(zip(WORD_FEATURES, row, strict=True)) for c, row in zip(candidates, rows, strict=True)}


names = st.text(alphabet="abc词", min_size=1, max_size=2)
tallies = st.dictionaries(names, st.integers(1, 3), max_size=6)


@given(st.lists(st.tuples(tallies, tallies), max_size=5), st.lists(names, max_size=6), st.data())
def test_counts_are_those_of_plain_counters(parts, asked, data):
    counts = [Counts.of(seen, right) for seen, right in parts]
    total = Counts.total(counts)
    left_out = data.draw(st.sampled_from([None, *range(len(parts))]))
    seen, right = Counter(), Counter()
    for number, (one, other) in enumerate(parts):
        if number != left_out:
            seen.update(one)
            right.update(other)
    expected = {key: (0, 0) if seen[key] <= 1 and not right[key] else (seen[key], right[key]) for key in asked}
    own = None if left_out is None else counts[left_out]
    assert total.lookup(asked, own) == expected
    assert total.documents == len(parts)
    if own is None:
        assert total.without_rare().lookup(asked) == expected


def test_what_a_training_row_counts():
    counts = counts_of("solar cells of thin films. solar cells", ["thin film", "Energy"])
    keys = [PHRASE + "solar cell", PHRASE + "energi", NGRAM + "solar cell", WORD + "film", LAST + "film", LAST + "thin"]
    table = Counts.total([counts, counts]).lookup(keys)
    assert table[PHRASE + "solar cell"] == (2, 0)
    assert table[PHRASE + "energi"] == (0, 2)
    assert table[NGRAM + "solar cell"] == (2, 0)
    assert table[WORD + "film"] == (2, 2)
    assert table[LAST + "film"] == (2, 2)
    assert table[LAST + "thin"] == (2, 0)


def test_word_features_by_hand():
    training = [counts_of("thin films of silver", ["thin films"])] * 3
    found = features_of("We grow Thin films fast\nfilms", Counts.total(training))
    row = found["thin film"]
    assert row["log_occurrences"] == 0
    assert row["log_place"] == pytest.approx(math.log(3))
    assert row["relative_place"] == pytest.approx(2 / 5)
    assert [row[name] for name in ("in_first_line", "one_word", "two_words", "three_words")] == [1, 0, 1, 0]
    assert row["log_longer"] == pytest.approx(math.log(4))  # grow thin films, grow thin films fast, thin films fast
    assert [row[name] for name in ("begins_at_boundary", "ends_at_boundary", "is_new")] == [0, 0, 0]
    assert row["rareness"] == pytest.approx(math.log(4 / 3))
    assert row["log_times_keyword"] == pytest.approx(math.log(4))
    assert row["keyword_rate"] == pytest.approx(math.log(3.1 / 4))
    assert row["first_word_rate"] == row["lowest_word_rate"] == pytest.approx(math.log(3.1 / 4))
    assert row["sum_word_rate"] == pytest.approx(2 * math.log(3.1 / 4))
    assert found["film"]["log_occurrences"] == pytest.approx(math.log(2))
    assert row["most_word_occurrences"] == pytest.approx(math.log(2))
    assert [row["fewest_word_occurrences"], row["share_of_rarest_word"]] == [0, 0]
    assert row["share_of_most_frequent_word"] == pytest.approx(-math.log(2))
    assert [row["words_in_first_line"], row["last_word_in_first_line"], row["has_several_spellings"]] == [1, 1, 0]
    assert row["log_first_place_of_words"] == pytest.approx(math.log(3))
    assert found["film"]["in_first_line"] == 1
    assert found["film"]["ends_at_boundary"] == 0.5
    assert found["film fast"]["first_word_rate"] == pytest.approx(
        math.log(0.1 / 4)
    )  # never the first word of a keyword
    assert found["fast"]["is_new"] == 1


def test_a_training_row_does_not_see_its_own_keywords():
    documents, keywords = make_rows(6)
    counts = [counts_of(*row) for row in zip(documents, keywords, strict=True)]
    others = Counts.total(counts[1:])
    assert features_of(documents[0], Counts.total(counts), counts[0]) == features_of(documents[0], others)


def test_features_of_a_document_without_candidates():
    assert word_features([], Counts.total([])).shape == (0, len(WORD_FEATURES))


@given(st.text(alphabet="abAB1 .,;-国家的主权é\n", max_size=60))
def test_features_are_finite(document):
    candidates = find_candidates(document)
    table = word_features(candidates, Counts.total([counts_of(document, ["a b", "国家"])] * 2))
    assert table.shape == (len(candidates), len(WORD_FEATURES))
    assert np.isfinite(table).all()


def test_the_learned_order_is_used_where_it_is_better():
    words = fit_words(*make_rows(60))
    assert words.record.order == "learned"
    documents, keywords = make_rows(20, seed=1)
    for document, own in zip(documents, keywords, strict=True):
        ranked = words.rank(document, 5)
        assert {text for text, _ in ranked[:2]} == set(own)
        confidences = [confidence for _, confidence in ranked]
        assert confidences == sorted(confidences, reverse=True)
        assert confidences[1] > 0.5 > confidences[2]


def test_the_order_by_tfidf_is_used_where_it_is_as_good():
    documents, _ = make_rows(40)
    keywords = TfidfKeywords(documents).predict(documents, count=1)
    words = fit_words(documents, keywords)
    assert words.record.order == "tfidf"
    others, _ = make_rows(10, seed=1)
    expected = TfidfKeywords(documents).predict(others, count=7)
    assert [[text for text, _ in words.rank(document, 7)] for document in others] == expected
    confidences = [confidence for _, confidence in words.rank(others[0], 7)]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 < confidence < 1 for confidence in confidences)


@pytest.mark.parametrize("count", [1, 9])
def test_few_rows_are_ranked_by_tfidf(count):
    documents, keywords = make_rows(count)
    words = fit_words(documents, keywords)
    assert (words.record.order, words.record.f1_at_5) == ("tfidf", None)
    ranked = [text for text, _ in words.rank(documents[0], 5)]
    assert ranked == TfidfKeywords(documents).predict(documents[:1])[0]


def test_keywords_that_never_occur_teach_nothing():
    documents, _ = make_rows(12)
    words = fit_words(documents, [["absent thing"]] * 12)
    assert words.record.order == "tfidf"
    assert set(words.record.weights.values()) == {0}
    assert words.times_keyword(["absent thing", "other"]) == [12, 0]


def test_chinese_keywords_are_learned():
    sentences = [f"题目研究{name}的作用。结果表明方法有效" for name in ("国家主权", "太阳电池", "神经网络", "市场设计")]
    documents = [f"{sentence}" for sentence in sentences * 5]
    keywords = [[sentence.split("研究")[1].split("的")[0]] for sentence in sentences * 5]
    words = fit_words(documents, keywords)
    assert words.record.order == "learned"
    assert words.rank("题目研究语音合成的作用。结果表明方法有效", 1)[0][0] == "语音合成"


def test_the_source_is_read_as_it_was_written(tmp_path):
    words = fit_words(*make_rows(30))
    words.save(tmp_path / "a")
    words.save(tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["words.json", "words.npz"]
    again = load_words(tmp_path / "a")
    assert again.record == words.record
    document = make_rows(1, seed=5)[0][0]
    assert again.rank(document, 5) == words.rank(document, 5)
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in ("words.json",))
    assert load_words(tmp_path / "missing") is None


def test_a_damaged_source_is_an_error(tmp_path):
    words = fit_words(*make_rows(12))
    words.save(tmp_path)
    (tmp_path / "words.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="cannot be read"):
        load_words(tmp_path)
    dataclasses.replace(words, record=dataclasses.replace(words.record, weights={"luck": 1.0})).save(tmp_path)
    with pytest.raises(ValueError, match=r"the ranking in .*words\.json has other features: luck"):
        load_words(tmp_path)


@pytest.mark.parametrize(
    ("order", "evidence", "expected"),
    [
        ("tfidf", None, "phrases are ranked by tf-idf: 9 training rows are too few to learn from"),
        (
            "learned",
            {"tfidf": 0.2, "learned": 0.3},
            "phrases are ranked by their words, as learned from 9 training rows: cross-validated F1@5 0.300, by tf-idf "
            "0.200",
        ),
        (
            "tfidf",
            {"tfidf": 0.2, "learned": 0.21},
            "phrases are ranked by tf-idf: the ranking that was learned from 9 training rows is not better by more "
            "than the standard error of 0.020 (cross-validated F1@5 0.210, by tf-idf 0.200)",
        ),
    ],
)
def test_the_source_in_words(order, evidence, expected):
    error = None if evidence is None else 0.02
    assert words_in_words(WordsRecord(order, 9, evidence, error, {}, 0.0, [])) == expected
