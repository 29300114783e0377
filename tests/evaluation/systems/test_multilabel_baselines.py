import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from papertune.evaluation.systems.baselines import fit_tfidf
from papertune.evaluation.systems.multilabel_baselines import TfidfOneVsRest
from papertune.evaluation.systems.outputs import TrainingRows
from papertune.kinds import LabelsColumn

COLUMN = LabelsColumn(kind="labels", question="About {label}?", labels=["heart", "graph", "tax"])
DOCUMENTS = [
    f"{'the heart of patients ' * (n % 2)}paper {n} {'graphs and edges' if n % 3 == 0 else ''}" for n in range(24)
]
HAS = np.array([[n % 2 == 1, n % 3 == 0, False] for n in range(24)])


def test_each_label_has_its_own_classifier():
    model = TfidfOneVsRest(DOCUMENTS, HAS)
    predicted, probabilities = model.predict(DOCUMENTS)
    assert predicted.tolist() == HAS.tolist()
    vectorizer, terms = fit_tfidf(DOCUMENTS)
    for n in (0, 1):
        alone = LogisticRegression(C=10, max_iter=1000).fit(terms, HAS[:, n])
        assert probabilities[:, n] == pytest.approx(alone.predict_proba(vectorizer.transform(DOCUMENTS))[:, 1])
    assert not probabilities[:, 2].any()  # no row has it
    assert model.parameters == 2 * (terms.shape[1] + 1)


def test_a_rare_label_has_its_own_threshold():
    documents = [f"the {'aspirin' if n < 4 else 'study'} of {'mice' if n % 2 else 'men'} {n}" for n in range(60)]
    has = np.array([[n < 4] for n in range(60)])
    predicted, probabilities = TfidfOneVsRest(documents, has).predict(["the aspirin of mice", "the study of mice"])
    assert predicted.tolist() == [[True], [False]]
    assert probabilities[0, 0] > probabilities[1, 0]


def test_without_words_the_probabilities_are_label_shares():
    model = TfidfOneVsRest(["", ""], np.array([[True, False, True], [True, False, False]]))
    predicted, probabilities = model.predict(["the heart"])
    assert probabilities.tolist() == [[1.0, 0.0, 0.5]]
    assert predicted.tolist() == [[True, False, True]]
    assert model.parameters == 0


def test_invalid_training_rows_are_refused():
    with pytest.raises(ValueError, match="there are no training rows"):
        TfidfOneVsRest([], np.zeros((0, 3), dtype=np.bool_))
    with pytest.raises(ValueError, match="1 training documents, but the labels of 2"):
        TfidfOneVsRest(["a"], np.zeros((2, 3), dtype=np.bool_))


def test_one_vs_rest_is_a_system_that_writes_cells():
    cells = ["; ".join(label for label, has in zip(COLUMN.labels, row, strict=True) if has) for row in HAS]
    fills = COLUMN.baselines()
    output = fills["TF-IDF + one-vs-rest logistic regression"](TrainingRows(DOCUMENTS, cells), DOCUMENTS[:4])
    assert output.predictions.cells == cells[:4]
    assert np.shape(output.predictions.probabilities) == (4, 3)
    assert output.trained_weights > 0
    assert (
        fills["majority"](TrainingRows(DOCUMENTS, cells), DOCUMENTS[:2]).predictions.cells
        == [max(cells, key=cells.count)] * 2
    )
