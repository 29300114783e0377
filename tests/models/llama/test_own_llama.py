"""The own forward pass against transformers' models with the same weights."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from papertune.decoding.engine import Engine
from papertune.models import load_own_llama
from papertune.models.finding import Base
from papertune.models.fused.choice import MAX_FUSED_THREADS
from papertune.models.llama.steps import Steps, normed

SIZES = {
    "vocab_size": 101,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "pad_token_id": 0,
}
SCALED = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "tied, wide heads": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES | {"head_dim": 8}, tie_word_embeddings=True, rope_parameters=SCALED)
    ),
    "biases, scaled positions": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SIZES,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0},
        )
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**{k: v for k, v in SIZES.items() if k != "head_dim"})),
}
PROMPTS = [[5, 6, 7], list(range(1, 90)) * 2, [9] * 40, list(range(30, 60)), [4, 3], list(range(3, 99)) * 4]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    """Return a model of transformers in float32, and its folder."""
    torch.manual_seed(0)
    model = MODELS[request.param]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3) if parameter.ndim > 1 else parameter.uniform_(0.5, 1.5)
    folder = tmp_path_factory.mktemp("own")
    model.save_pretrained(folder)
    return model, folder


def own(folder, precision="fp32", adapt=None):
    return load_own_llama(Base("tiny", str(folder), "0"), precision, adapt)


def test_all_logits_are_those_of_transformers(pair):
    model, folder = pair
    ids = torch.randint(1, 100, (3, 150), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(ids).logits
    torch.testing.assert_close(own(folder)(ids).logits, expected, **TOLERANCE)


def test_an_engine_answers_as_with_transformers(pair):
    model, folder = pair
    slow, fast = Engine(model), Engine(own(folder))
    for one, other in ((slow, fast), (slow.after([7, 8, 9]), fast.after([7, 8, 9]))):
        expected = one.last_logits(PROMPTS)
        torch.testing.assert_close(other.last_logits(PROMPTS), expected, **TOLERANCE)
        torch.testing.assert_close(other.last_logits(PROMPTS, [3, 70]), expected[:, [3, 70]], **TOLERANCE)
        torch.testing.assert_close(one.last_logits(PROMPTS, [3, 70]), expected[:, [3, 70]], **TOLERANCE)
        states = [each.prefill(PROMPTS) for each in (one, other)]
        sees, depths = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool), [1, 2, 1]
        for nodes in (None, [1]):
            trees = [
                each.tree_logits(state, [5, 6, 7], sees, depths, nodes)
                for each, state in zip((one, other), states, strict=True)
            ]
            torch.testing.assert_close(trees[1], trees[0], **TOLERANCE)
        for each, state in zip((one, other), states, strict=True):
            each.extend(state, [[4, 5], [7], [9, 9, 9], [1], [2], [3]])
        torch.testing.assert_close(states[1].last_logits, states[0].last_logits, **TOLERANCE)


@pytest.mark.parametrize(("precision", "share"), [("bf16", 0.04), ("int8", 0.15)])
def test_rounding_changes_logits_little(pair, precision, share):
    model, folder = pair
    expected = Engine(model).last_logits(PROMPTS)
    found = Engine(own(folder, precision)).last_logits(PROMPTS).float()
    assert not torch.equal(found, expected)
    assert (found - expected).abs().mean() < share * expected.abs().mean()


@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-5), ("bf16", 0.04), ("int8", 0.1)])
def test_fused_steps_give_the_logits_of_plain_ones(pair, precision, share):
    pytest.importorskip("numba", reason="the extra speed is not installed")
    from papertune.models.fused import kernels

    model = own(pair[1], precision)
    assert type(model._steps) is not Steps
    functions = [each for each in vars(kernels).values() if hasattr(each, "signatures")]
    compiled = [each.signatures for each in functions]
    found = logits_of(model)
    assert compiled == [each.signatures for each in functions]  # nothing was missing
    model._steps = Steps()
    expected = logits_of(model)
    assert (found - expected).abs().mean() <= share * expected.abs().mean()


def logits_of(model):
    """Return logits after prompts, after one token more, and in a tree behind them."""
    engine = Engine(model).after([7, 8, 9])
    state = engine.prefill(PROMPTS)
    sees = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    tree = engine.tree_logits(state, [5, 6, 7], sees, [1, 2, 1])
    found = [engine.last_logits(PROMPTS), state.last_logits, tree.flatten(0, 1)]
    engine.extend(state, [[4]] * len(PROMPTS))
    return torch.cat([*found, state.last_logits]).float()


def test_with_many_threads_steps_are_pytorchs(pair, monkeypatch):
    model = own(pair[1])
    model._steps = None  # would fail
    monkeypatch.setattr(torch, "get_num_threads", lambda: MAX_FUSED_THREADS + 1)
    assert model(torch.tensor([[1, 2]])).logits.isfinite().all()


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_norms_are_the_exact_ones(dtype, close, size):
    states = (size * torch.randn(2, 5, 576, generator=torch.Generator().manual_seed(0))).to(dtype)
    before = states.clone()
    weight = torch.linspace(-2, 2, 576)
    exact = F.rms_norm(states.double(), (576,), weight.double(), 1e-5)
    torch.testing.assert_close(normed(states, weight, 1e-5).double(), exact, rtol=close, atol=close * 1e-3)
    assert states.equal(before)


def test_threads_change_nothing(pair):
    engine = Engine(own(pair[1]))
    alone = engine.last_logits(PROMPTS)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together = engine.last_logits(PROMPTS)
        state = engine.prefill(PROMPTS)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state.last_logits, alone, **TOLERANCE)


def test_end_tokens_are_those_of_the_folder(pair, tmp_path):
    shutil.copytree(pair[1], tmp_path / "model")
    file = tmp_path / "model" / "generation_config.json"
    file.write_text(json.dumps({"eos_token_id": [3, 4]}))
    assert own(tmp_path / "model").generation_config.eos_token_id == [3, 4]
    file.write_text(json.dumps({"eos_token_id": 2.5}))
    assert own(tmp_path / "model").generation_config.eos_token_id == []
    file.write_text("{")
    assert own(tmp_path / "model").generation_config.eos_token_id == [2] * (pair[0].config.eos_token_id == 2)


class TestWhatIsLeftToTransformers:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
            lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=8)),
            lambda: LlamaForCausalLM(LlamaConfig(**SIZES, hidden_act="gelu")),
            lambda: LlamaForCausalLM(
                LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
            ),
        ],
        ids=["other layers", "window", "other activation", "positions that depend on the length"],
    )
    def test_other_models(self, make, tmp_path):
        make().save_pretrained(tmp_path)
        assert own(tmp_path) is None

    @pytest.fixture
    def folder(self, tmp_path):
        LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(tmp_path)
        return tmp_path

    def test_an_adapter_that_does_not_fit(self, folder):
        assert own(folder, adapt=lambda _: False) is None
        assert own(folder, adapt=lambda _: True) is not None

    @pytest.mark.parametrize("content", [b"", b"damaged"])
    def test_damaged_weights(self, folder, content):
        (folder / "model.safetensors").write_bytes(content)
        assert own(folder) is None

    def test_weights_that_do_not_fit(self, folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 41}))
        assert own(folder) is None

    def test_missing_weights(self, folder):
        (folder / "model.safetensors").unlink()
        assert own(folder) is None

    def test_a_hub_id(self):
        assert own("someone/model") is None
