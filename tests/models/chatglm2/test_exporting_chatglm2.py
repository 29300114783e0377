"""ChatGLM2 taken to llama.cpp and vLLM."""

import json
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import papertune
from papertune.exports.export import export

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))


@pytest.fixture(scope="module")
def exported(chatglm2_folder, tmp_path_factory):
    """Return a run's exports to llama.cpp and vLLM."""
    from peft import LoraConfig, get_peft_model

    from papertune.models import load_model

    place = tmp_path_factory.mktemp("chatglm2")
    base, _ = load_model(chatglm2_folder, precision="fp32", device="cpu")
    torch.manual_seed(1)
    names = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]
    config = LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False, target_modules=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks by names that transformers is renaming
        adapted = get_peft_model(base, config)
    adapted.save_pretrained(place / "adapter", save_embedding_layers=False)
    recipe = {
        "model": str(chatglm2_folder),
        "table": {"document": "{title}\n{abstract}"},
        "columns": {"label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}},
    }
    papertune.adopt(place / "adapter", recipe, place / "run")
    export(place / "run", place / "gguf", to="gguf")
    export(place / "run", place / "vllm", to="vllm", weights="f32")
    return place


def test_llama_cpp_gives_the_runs_probabilities(exported):
    if find_spec("xllamacpp") is None:
        pytest.skip("llama.cpp is not installed: pip install xllamacpp")
    from llama_cpp import ask_llama_cpp

    prompts = json.loads((exported / "gguf" / "check.json").read_text("utf-8"))["prompts"]
    tokens = [list(map(int, each["next"][0]["log_probabilities"])) for each in prompts]
    asked = [{"prompt": each["prompt_ids"], "tokens": own} for each, own in zip(prompts, tokens, strict=True)]
    shares = ask_llama_cpp(exported / "gguf" / "model.gguf", asked)
    for each, found in zip(prompts, shares, strict=True):
        assert sorted(found) == pytest.approx(sorted(each["probabilities"].values()), abs=0.01)


def test_the_keys_that_vllm_reads(exported):
    config = json.loads((exported / "vllm" / "config.json").read_text())
    assert {key: config[key] for key in ("original_rope", "multi_query_attention", "add_qkv_bias", "seq_length")} == {
        "original_rope": True,
        "multi_query_attention": True,
        "add_qkv_bias": True,
        "seq_length": 4096,
    }
    assert config["architectures"] == ["ChatGLMForConditionalGeneration"]
    page = (exported / "vllm" / "ANSWERS.md").read_text("utf-8")
    assert 'LLM("vllm", skip_tokenizer_init=True' in page
    assert "The token ids begin with [" in page


def test_ollama_is_refused(exported, tmp_path):
    with pytest.raises(papertune.ModelError) as caught:
        export(exported / "run", tmp_path / "out", to="ollama")
    assert str(caught.value) == (
        f'{exported / "run"}: Ollama cannot ask a ChatGLM2: it gets text, in which it takes each "sop" for a special '
        "token. Take --to gguf, and send token ids to llama-server."
    )
