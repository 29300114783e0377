import numpy as np
import pytest

from papertune.evaluation.systems.baselines import TfidfLogistic, majority

MEDICAL = [f"patients with tumour {n} were treated in a clinical trial" for n in range(6)]
PHYSICS = [f"a quantum lattice {n} shows an energy gap of electrons" for n in range(5)]


def test_majority_prefers_the_first_of_equally_frequent_labels():
    assert majority(["b", "a", "a", "b", "c"], 3) == ["b", "b", "b"]
    with pytest.raises(ValueError, match="empty table"):
        majority([], 1)


def test_logistic_regression_learns_words_and_keeps_the_label_order():
    train = [*MEDICAL, *PHYSICS]
    test = ["clinical trial of patients", "electrons on a quantum lattice"]
    # Labels are not sorted, and one has no training rows.
    predicted, probabilities = TfidfLogistic(train, ["z"] * 6 + ["a"] * 5, ["z", "never", "a"]).predict(test)
    assert predicted == ["z", "a"]
    assert probabilities.shape == (2, 3)
    assert probabilities[:, 1].tolist() == [0, 0]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities[0, 0] > 0.7
    assert probabilities[1, 2] > 0.7


def test_logistic_regression_reads_chinese_in_characters():
    train = ["肿瘤患者的临床治疗", "患者肿瘤治疗研究", "宪法与法律制度", "法律制度的历史"]
    model = TfidfLogistic(train, ["医学", "医学", "法学", "法学"], ["医学", "法学"])
    predicted, _ = model.predict(["肿瘤治疗", "制度与法律"])
    assert predicted == ["医学", "法学"]


@pytest.mark.parametrize(
    ("documents", "labels"),
    [(["the", "a", "of"], ["a", "a", "b"]), (["", "", ""], ["a", "a", "b"]), (["x y", "y z", "z"], ["a"] * 3)],
)
def test_without_words_or_with_one_label_the_probabilities_are_label_shares(documents, labels):
    predicted, probabilities = TfidfLogistic(documents, labels, ["b", "a"]).predict(["new text"])
    share = labels.count("a") / 3
    assert predicted == ["a"]
    np.testing.assert_allclose(probabilities, [[1 - share, share]], atol=0.35 if documents[0] == "the" else 1e-12)


def test_documents_without_a_common_word_can_be_trained_on():
    model = TfidfLogistic(["heart surgery", "lattice energy"], ["m", "p"], ["m", "p"])
    predicted, _ = model.predict(["energy", "heart"])
    assert predicted == ["p", "m"]
    assert model.predict([])[1].shape == (0, 2)


def test_invalid_training_labels_are_refused():
    with pytest.raises(ValueError, match="1 training documents, but 2 labels"):
        TfidfLogistic(["x"], ["a", "b"], ["a", "b"])
    with pytest.raises(ValueError, match="no training rows"):
        TfidfLogistic([], [], ["a"])
    with pytest.raises(ValueError, match="'c' is not in the label set"):
        TfidfLogistic(["x"], ["c"], ["a", "b"])
