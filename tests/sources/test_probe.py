import numpy as np
import pytest
import torch

from papertune import RunError
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Prompt
from papertune.recipe import load_recipe
from papertune.sources.probe import Probe
from papertune.sources.source import Surroundings

DOCUMENTS = ["the heart", "graphs of networks and their trials", "aspirin", "we study the heart " * 9, ""]


@pytest.fixture
def surroundings(make_model, tiny_tokenizer, tmp_path):
    recipe = load_recipe(
        {
            "table": {"document": "{text}"},
            "columns": {"label": {"kind": "label", "question": "?", "labels": ["1", "0"]}},
            "method": {"kind": "probe"},
        }
    )
    model = make_model(layers=6)
    return Surroundings(recipe, lambda: (model, tiny_tokenizer), "cpu", tmp_path)


def test_states_are_the_means_over_each_document(surroundings):
    """The plain twin reads one document at a time, through all layers."""
    probe, features = Probe.fit(DOCUMENTS, surroundings)
    model, tokenizer = surroundings.load_base()
    encoder = PromptEncoder(tokenizer, surroundings.recipe.encoding)
    assert probe.layers == (1, 2, 3)
    expected = []
    for document in DOCUMENTS:
        ids = torch.tensor([encoder.encode(Prompt("", document, "")).ids])
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
        read = [states[layer + 1][0].detach().numpy() for layer in probe.layers]
        sizes = [np.sqrt((each**2).mean(axis=1, keepdims=True)) for each in read]
        expected.append(np.concatenate([(each / size).mean(axis=0) for each, size in zip(read, sizes, strict=True)]))
    expected = np.stack(expected)
    standard = (expected - expected.mean(axis=0)) / (expected.std(axis=0) + 1e-6)
    assert np.allclose(features, standard, atol=2e-3)
    assert np.allclose(probe.features(DOCUMENTS), features, atol=2e-3)


def test_a_pass_ends_after_the_last_layer_that_is_read(surroundings):
    model, _ = surroundings.load_base()
    ran = []
    for number, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    Probe.fit(DOCUMENTS[:2], surroundings)
    assert max(ran) == 3


def test_a_saved_probe_gives_the_same_features(surroundings, tmp_path):
    probe, _ = Probe.fit(DOCUMENTS, surroundings)
    folder = tmp_path / "probe"
    folder.mkdir()
    probe.save(folder)
    loaded = Probe.load(folder, surroundings)
    assert np.array_equal(loaded.features(DOCUMENTS), probe.features(DOCUMENTS))
    (folder / "standard.npz").write_bytes(b"")
    with pytest.raises(RunError, match="cannot be read"):
        Probe.load(folder, surroundings)
