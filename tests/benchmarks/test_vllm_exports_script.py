"""The comparison with vLLM, whose place a module of the test takes: transformers, asked as vLLM is."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import vllm_exports

import papertune

COLUMN = {"kind": "label", "question": "Which?", "labels": ["1", "0", "one two"], "sources": ["model"]}


class Model:
    """As much of vLLM's `LLM` as the script uses."""

    def __init__(self, folder, *, logprobs_mode, max_logprobs, max_model_len, **settings):
        from transformers import AutoModelForCausalLM

        assert logprobs_mode == "processed_logprobs"
        self.max_logprobs, self.max_model_len, self.with_lora = max_logprobs, max_model_len, "enable_lora" in settings
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def generate(self, prompts, settings, *, use_tqdm, lora_request):
        from papertune.methods import load_adapter, merge_adapter

        assert self.with_lora == (lora_request is not None)
        model = merge_adapter(load_adapter(self.model, Path(lora_request.path))) if lora_request else self.model
        return [self.answer(model, *each) for each in zip(prompts, settings, strict=True)]

    def answer(self, model, prompt, asked):
        ids, allowed = prompt["prompt_token_ids"], asked.allowed_token_ids
        assert len(ids) < self.max_model_len
        assert asked.logprobs == len(allowed) <= self.max_logprobs
        with torch.inference_mode():
            logs = model(input_ids=torch.tensor([ids])).logits[0, -1, allowed].log_softmax(-1)
        found = {token: SimpleNamespace(logprob=log) for token, log in zip(allowed, logs.tolist(), strict=True)}
        return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[found])])


@pytest.fixture
def vllm(monkeypatch):
    """Put the module in vLLM's place, in this process."""
    module, lora = ModuleType("vllm"), ModuleType("vllm.lora.request")
    module.LLM, module.SamplingParams = Model, lambda **settings: SimpleNamespace(**settings)
    lora.LoRARequest = lambda name, number, path: SimpleNamespace(path=path)
    for each in (module, ModuleType("vllm.lora"), lora):
        monkeypatch.setitem(sys.modules, each.__name__, each)

    def run(command, *, input, **_):
        answers = vllm_exports.ask_vllm(json.loads(input))
        return SimpleNamespace(returncode=0, stdout=f"a word of vLLM\n{json.dumps(answers)}\n", stderr="")

    monkeypatch.setattr(vllm_exports.subprocess, "run", run)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_folder):
    rows = [{"title": f"paper {number}", "label": COLUMN["labels"][number % 3]} for number in range(6)]
    training = {"max_steps": 1, "precision": "fp32"}
    recipe = {"model": str(tiny_folder), "columns": {"label": COLUMN}, "training": training}
    folder = tmp_path_factory.mktemp("run") / "run"
    papertune.train(rows, {**recipe, "table": {"document": "{title}"}}, folder)
    return folder


@pytest.mark.once
@pytest.mark.parametrize("adapter", [False, True])
def test_an_export_is_compared_with_its_own_numbers(vllm, run, tmp_path, adapter):
    papertune.export(run, tmp_path / "out", to="vllm", weights="f32", adapter=adapter)
    check = json.loads((tmp_path / "out" / "check.json").read_text())
    places = len(vllm_exports.questions(check["prompts"]))
    assert places >= 20
    row = vllm_exports.measure(tmp_path / "out", "float32", "python")
    assert row.startswith(f"| out | float32 | 20 | {places} | {places} | 0.0000")
    # Other numbers are noticed.
    logs = check["prompts"][0]["next"][0]["log_probabilities"]
    logs[max(logs, key=logs.get)] -= 9
    (tmp_path / "out" / "check.json").write_text(json.dumps(check))
    row = vllm_exports.measure(tmp_path / "out", "float32", "python")
    assert row.startswith(f"| out | float32 | 20 | {places} | {places - 1} | 0.")


def test_a_failure_has_the_end_of_what_vllm_printed(tmp_path, monkeypatch):
    (tmp_path / "check.json").write_text('{"prompts": []}')
    ended = SimpleNamespace(returncode=1, stdout="", stderr="RuntimeError: no such CPU")
    monkeypatch.setattr(vllm_exports.subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(RuntimeError, match="vLLM failed:\nRuntimeError: no such CPU"):
        vllm_exports.measure(tmp_path, "auto", "python")
