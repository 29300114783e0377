"""Systems of other packages: YAKE itself, and fakes of the two that download from the hub."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import sklearn

from papertune.evaluation.systems.other_tools import SETFIT_ROWS_A_LABEL, package_versions
from papertune.evaluation.systems.outputs import NotMeasured, TrainingRows
from papertune.kinds.keywords.cells import split_keywords
from papertune.recipe import load_recipe

RECIPE = load_recipe(
    {
        "table": {"document": "{text}"},
        "columns": {
            "label": {"kind": "label", "question": "Medical?", "labels": ["z", "never", "a"]},
            "Keywords": {"kind": "keywords", "question": "Keywords?"},
        },
    }
)
TEXTS = ["Deep learning for heart disease: a trial of deep learning in mice.", "", "12 . ,", "肿瘤患者的临床治疗"]
NOTHING = TrainingRows([], [])


def fill(system, train=NOTHING, texts=TEXTS):
    column = next(c for c in RECIPE.columns.values() if system in c.other_tools())
    return column.other_tools()[system](train, texts)


@pytest.fixture
def fake_package(monkeypatch):
    """Return a function that replaces a package by a module with some members."""

    def replace(name, **members):
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return replace


def test_yake_extracts_phrases_of_each_text():
    pytest.importorskip("yake")
    output = fill("YAKE")
    first, *others = (split_keywords(cell) for cell in output.predictions.cells)
    assert 1 <= len(first) <= 5
    assert all(keyword.casefold() in TEXTS[0].casefold() for keyword in first)
    assert others[:2] == [[], []]
    assert (output.training_s, output.trained_weights) == (0, 0)


@pytest.mark.parametrize(("system", "package"), [("YAKE", "yake"), ("KeyBERT", "keybert"), ("SetFit", "setfit")])
def test_a_missing_package_is_reported_with_its_install_command(system, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotMeasured, match=f"not installed: pip install {package}"):
        fill(system)


def test_a_package_that_cannot_be_imported_is_reported(tmp_path, monkeypatch):
    (tmp_path / "keybert.py").write_text("from json import no_such_thing")
    (tmp_path / "setfit.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("keybert", "setfit"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(NotMeasured, match="keybert cannot be imported: cannot import name 'no_such_thing'"):
        fill("KeyBERT")
    with pytest.raises(NotMeasured, match="setfit needs no_such_package: pip install no_such_package"):
        fill("SetFit")


def test_an_encoder_that_cannot_be_downloaded_is_reported(fake_package):
    def fail(*_):
        raise OSError("\nno network\nat all")

    fake_package("keybert", KeyBERT=fail)
    with pytest.raises(NotMeasured, match=r"its encoder all-MiniLM-L6-v2 could not be downloaded: no network$"):
        fill("KeyBERT")


def test_keybert_extracts_keywords_of_each_text(fake_package):
    asked = []

    class KeyBERT:
        def __init__(self, encoder):
            asked.append(encoder)

        def extract_keywords(self, text, **options):
            asked.append(options["top_n"])
            return [(word, 0.5) for word in text.split()[:2]]

    fake_package("keybert", KeyBERT=KeyBERT)
    output = fill("KeyBERT", texts=["a b c", ""])
    assert output.predictions.cells == ["a; b", ""]
    assert asked == ["all-MiniLM-L6-v2", 5, 5]
    assert output.note == "encoder all-MiniLM-L6-v2"


def test_setfit_is_trained_on_a_few_rows_of_each_label(fake_package):
    used = {}
    head = SimpleNamespace(classes_=np.array([0, 2]), coef_=np.zeros((1, 4)), intercept_=np.zeros(1))
    body = SimpleNamespace(parameters=lambda: iter([SimpleNamespace(numel=lambda: 10)]))

    class Model(SimpleNamespace):
        def predict_proba(self, texts, as_numpy):
            return np.array([[0.9, 0.1], [0.2, 0.8]])[: len(texts)]

    class Trainer:
        def __init__(self, model, args, train_dataset):
            used.update(train_dataset)

        def train(self):
            if "no" in used["text"]:
                raise ValueError("no such text")
            used["done"] = True

    model = Model(model_head=head, model_body=body)
    fake_package(
        "setfit",
        SetFitModel=SimpleNamespace(from_pretrained=lambda encoder: model),
        TrainingArguments=lambda **options: options,
        Trainer=Trainer,
    )
    fake_package("datasets", Dataset=SimpleNamespace(from_dict=dict))
    rows = TrainingRows([f"text {n}" for n in range(40)], ["z"] * 30 + ["a"] * 10)
    output = fill("SetFit", rows, ["x", "y"])
    assert used["done"]
    assert sorted(used["label"]) == [0] * SETFIT_ROWS_A_LABEL + [2] * 10
    assert all(
        (int(text.split()[1]) < 30) == (label == 0) for text, label in zip(used["text"], used["label"], strict=True)
    )
    assert output.predictions.cells == ["z", "a"]
    assert output.predictions.probabilities == [[0.9, 0, 0.1], [0.2, 0, 0.8]]
    assert output.trained_weights == 10 + 4 + 1
    assert output.note.startswith("trained on 26 rows, at most 16 of each label; encoder ")
    with pytest.raises(NotMeasured, match="its training failed: no such text"):
        fill("SetFit", TrainingRows(["no", "yes"], ["z", "a"]))
    with pytest.raises(NotMeasured, match="it needs training rows of at least two labels"):
        fill("SetFit", TrainingRows(["no", "yes"], ["z", "z"]))


def test_versions_of_installed_packages_are_known():
    versions = package_versions()
    assert versions["scikit-learn"] == sklearn.__version__
    assert list(versions) == ["scikit-learn", "yake", "keybert", "setfit", "sentence-transformers"]
