"""The comparison with vLLM, whose place a module of the test takes: made-up numbers for each sequence of tokens."""

import json
import math
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import vllm_exports


def log_probability(ids, token):
    return -((sum(ids) * 7 + token * 3) % 11) / 2


class Model:
    """As much of vLLM's `LLM` as the script uses."""

    made: ClassVar = []

    def __init__(self, folder, *, logprobs_mode, max_logprobs, max_model_len, **settings):
        assert logprobs_mode == "processed_logprobs"
        self.max_logprobs, self.max_model_len = max_logprobs, max_model_len
        Model.made.append((folder, settings.get("enable_lora", False), settings.get("max_lora_rank")))

    def generate(self, prompts, settings, *, use_tqdm, lora_request):
        assert (lora_request is not None) == Model.made[-1][1]
        return [self.answer(*each) for each in zip(prompts, settings, strict=True)]

    def answer(self, prompt, asked):
        ids, allowed = prompt["prompt_token_ids"], asked.allowed_token_ids
        assert len(ids) < self.max_model_len
        assert asked.logprobs == len(allowed) <= self.max_logprobs
        # What is left after all other tokens are forbidden.
        total = math.log(sum(math.exp(log_probability(ids, token)) for token in allowed))
        found = {token: SimpleNamespace(logprob=log_probability(ids, token) - total) for token in allowed}
        return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[found])])


@pytest.fixture
def vllm(monkeypatch):
    """Put the module in vLLM's place, in this process."""
    module, lora = ModuleType("vllm"), ModuleType("vllm.lora.request")
    module.LLM, module.SamplingParams = Model, lambda **settings: SimpleNamespace(**settings)
    lora.LoRARequest = lambda name, number, path: SimpleNamespace(path=path)
    for each in (module, ModuleType("vllm.lora"), lora):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    for name in ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_CPU_KVCACHE_SPACE", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(name, "1")

    def run(command, *, input, **_):
        answers = vllm_exports.ask_vllm(json.loads(input))
        return SimpleNamespace(returncode=0, stdout=f"a word of vLLM\n{json.dumps(answers)}\n", stderr="")

    monkeypatch.setattr(vllm_exports.subprocess, "run", run)


def place(prompt, after, tokens):
    """Return a place of check.json: log-probabilities over all tokens, of which others have a half."""
    logs = {str(token): log_probability([*prompt, *after], token) - math.log(2) for token in tokens}
    return {"after_ids": after, "log_probabilities": logs}


@pytest.fixture
def prompts():
    """Return two prompts: labels of one token, and labels that part after their first token."""
    return [
        {"prompt_ids": [5, 6], "next": [place([5, 6], [], [1, 2, 3])]},
        {"prompt_ids": [7], "next": [place([7], [], [4]), place([7], [4], [8, 9])]},
    ]


def measure(folder, prompts):
    (folder / "check.json").write_text(json.dumps({"prompts": prompts}))
    return vllm_exports.measure(folder, "float32", "python").split("|")[3:8]


def test_the_shares_of_each_place_are_compared(vllm, prompts, tmp_path):
    assert measure(tmp_path, prompts) == [" 2 ", " 2 ", " 2 ", " 0.00000 ", " 0.00000 "]
    logs = prompts[1]["next"][1]["log_probabilities"]
    shares = [math.exp(value) for value in logs.values()]
    logs["8"], logs["9"] = logs["9"], logs["8"]
    difference = abs(shares[0] - shares[1]) / sum(shares)
    assert measure(tmp_path, prompts) == [" 2 ", " 2 ", " 1 ", f" {difference:.5f} ", f" {difference / 2:.5f} "]


def test_an_adapter_is_asked_beside_its_base_model(vllm, prompts, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"r": 12}')
    assert measure(tmp_path, prompts)[3] == " 0.00000 "
    assert Model.made[-1] == (str(tmp_path / "base"), True, 16)


def test_a_failure_has_the_end_of_what_vllm_printed(tmp_path, monkeypatch, prompts):
    ended = SimpleNamespace(returncode=1, stdout="", stderr="RuntimeError: no such CPU")
    monkeypatch.setattr(vllm_exports.subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(RuntimeError, match="vLLM failed:\nRuntimeError: no such CPU"):
        measure(tmp_path, prompts)
