"""check.json and the slow way: a pass over the whole prompt for each of its numbers."""

import json

import pytest
import torch

from papertune import load_run
from papertune.exports.export import export
from papertune.inference.merge import merged_model

LABELS = ["heart attack", "heart failure", "heart", "graph network", "one two three", "one two four", "7", "基于"]


@pytest.mark.parametrize("loss", ["labels", "answer"])
def test_all_places_of_many_labels_have_the_numbers_of_single_passes(make_run, tiny_folder, tmp_path, loss):
    column = {"kind": "label", "question": "Which one?", "labels": LABELS, "loss": loss}
    path = make_run(tiny_folder, changes={"columns": {"label": column}})
    export(path, tmp_path / "out", to="hub", weights="f32")
    model, _ = merged_model(load_run(path, device="cpu"), "fp32")
    prompts = json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))["prompts"]
    assert len(prompts) == 20
    for prompt in prompts[:3]:
        assert len(prompt["next"]) >= 3
        for place in prompt["next"]:
            ids = torch.tensor([[*prompt["prompt_ids"], *place["after_ids"]]])
            with torch.inference_mode():
                logs = model(input_ids=ids).logits[0, -1].double().log_softmax(-1)
            tokens = [int(token) for token in place["log_probabilities"]]
            assert list(place["log_probabilities"].values()) == pytest.approx(logs[tokens].tolist(), abs=1e-4)
        assert sum(prompt["probabilities"].values()) == pytest.approx(1)
        assert list(prompt["probabilities"]) == LABELS


def test_the_places_of_all_labels_take_one_pass(make_run, tiny_folder, tmp_path, monkeypatch):
    from transformers import LlamaForCausalLM

    passes = []
    forward = LlamaForCausalLM.forward
    monkeypatch.setattr(LlamaForCausalLM, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    column = {"kind": "label", "question": "Which one?", "labels": LABELS}
    export(make_run(tiny_folder, changes={"columns": {"label": column}}), tmp_path / "out", to="hub")
    assert len(passes) == 2 * 20  # a prompt and its places
