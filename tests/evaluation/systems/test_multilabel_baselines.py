import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from papertune.evaluation.systems.baselines import fit_tfidf
from papertune.evaluation.systems.contestants import LearntRows, plain_baselines
from papertune.evaluation.systems.multilabel_baselines import TfidfOneVsRest
from papertune.kinds import LabelsColumn

COLUMN = LabelsColumn(kind="labels", question="About {label}?", labels=["heart", "graph", "tax"])
DOCUMENTS = [
    f"{'the heart of patients ' * (n % 2)}paper {n} {'graphs and edges' if n % 3 == 0 else ''}" for n in range(24)
]
HAS = np.array([[n % 2 == 1, n % 3 == 0, False] for n in range(24)])


def test_each_label_has_a_classifier_of_its_own():
    model = TfidfOneVsRest(DOCUMENTS, HAS)
    given, probabilities = model.predict(DOCUMENTS)
    assert given.tolist() == HAS.tolist()
    vectorizer, terms = fit_tfidf(DOCUMENTS)
    for n in (0, 1):
        alone = LogisticRegression(C=10, max_iter=1000).fit(terms, HAS[:, n])
        assert probabilities[:, n] == pytest.approx(alone.predict_proba(vectorizer.transform(DOCUMENTS))[:, 1])
    assert not probabilities[:, 2].any()  # no row has it
    assert model.parameters == 2 * (terms.shape[1] + 1)


def test_a_rare_label_is_found_at_a_threshold_of_its_own():
    documents = [f"the {'aspirin' if n < 4 else 'study'} of {'mice' if n % 2 else 'men'} {n}" for n in range(60)]
    has = np.array([[n < 4] for n in range(60)])
    given, probabilities = TfidfOneVsRest(documents, has).predict(["the aspirin of mice", "the study of mice"])
    assert given.tolist() == [[True], [False]]
    assert probabilities[0, 0] > probabilities[1, 0]


def test_without_anything_to_learn_from_labels_are_as_likely_as_in_the_rows():
    model = TfidfOneVsRest(["", ""], np.array([[True, False, True], [True, False, False]]))
    given, probabilities = model.predict(["the heart"])
    assert probabilities.tolist() == [[1.0, 0.0, 0.5]]
    assert given.tolist() == [[True, False, True]]
    assert model.parameters == 0


def test_what_it_cannot_learn_from_is_refused():
    with pytest.raises(ValueError, match="there are no training rows"):
        TfidfOneVsRest([], np.zeros((0, 3), dtype=np.bool_))
    with pytest.raises(ValueError, match="1 training documents, but the labels of 2"):
        TfidfOneVsRest(["a"], np.zeros((2, 3), dtype=np.bool_))


def test_as_a_contestant_it_writes_cells():
    cells = ["; ".join(label for label, has in zip(COLUMN.labels, row, strict=True) if has) for row in HAS]
    fills = plain_baselines(COLUMN)
    attempt = fills["TF-IDF + one-vs-rest logistic regression"](LearntRows(DOCUMENTS, cells), DOCUMENTS[:4])
    assert attempt.answers.cells == cells[:4]
    assert np.shape(attempt.answers.probabilities) == (4, 3)
    assert attempt.trained_weights > 0
    assert (
        fills["majority"](LearntRows(DOCUMENTS, cells), DOCUMENTS[:2]).answers.cells
        == [max(cells, key=cells.count)] * 2
    )
