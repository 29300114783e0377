import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from papertune import RunError
from papertune.sources.words import Words

DOCUMENTS = ["heart surgery in mice", "heart surgery in men", "graph theory", "graph theory of hearts", ""]


def dense(features):
    return np.asarray(features.todense())


def test_words_and_pairs_are_those_of_scikit_learn():
    _, features = Words.fit(DOCUMENTS, None)
    twin = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    expected = dense(twin.fit_transform(DOCUMENTS))
    assert np.allclose(dense(features)[:, : expected.shape[1]], expected, atol=1e-6)
    assert features.shape[1] > expected.shape[1]  # parts of words beside them


def test_parts_of_words_find_another_form_of_a_word():
    words, _ = Words.fit(["cardiology"] * 3 + ["graphs"] * 3, None)
    vectors = dense(words.features(["cardiological", "graphical", "xyz"]))
    assert vectors[0].sum() > 0
    assert vectors[2].sum() == 0


def test_chinese_documents_are_read_by_characters():
    words, features = Words.fit(["心脏外科手术", "心脏手术", "图论方法", "图论"], None)
    assert len(words.vectorizers) == 1
    assert "心脏" in words.vectorizers[0][1].get_feature_names_out()
    assert features.shape[0] == 4


@pytest.mark.parametrize("documents", [DOCUMENTS, ["心脏外科手术", "心脏手术", "图论"], ["a b"], ["", " "]])
def test_saved_words_give_the_same_features(documents, tmp_path):
    words, features = Words.fit(documents, None)
    words.save(tmp_path)
    loaded = Words.load(tmp_path, None)
    new = [*documents, "never seen", "heart"]
    assert (words.features(new) != loaded.features(new)).nnz == 0
    assert (features != loaded.features(documents)).nnz == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frequencies.npz", "terms.json"]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_any_text_can_be_read_and_saved(tmp_path_factory, documents):
    folder = tmp_path_factory.mktemp("words")
    words, features = Words.fit(documents, None)
    words.save(folder)
    again = Words.load(folder, None).features(documents)
    assert features.shape == again.shape
    assert np.allclose(dense(features), dense(again), atol=1e-6)


def test_a_row_does_not_depend_on_the_others_of_its_batch():
    words, _ = Words.fit(DOCUMENTS, None)
    together = words.features(DOCUMENTS)
    for place, document in enumerate(DOCUMENTS):
        assert (words.features([document]) != together[place]).nnz == 0


def test_damaged_files_are_an_error(tmp_path):
    words, _ = Words.fit(DOCUMENTS, None)
    words.save(tmp_path)
    (tmp_path / "terms.json").write_text(json.dumps([{"settings": {}}]))
    with pytest.raises(RunError, match=r"cannot be read: .* Copy the run again, or train again"):
        Words.load(tmp_path, None)
