"""ChatGLM2 compared with an independent naive computation in float64, for configurations without goldens."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_chatglm2 import naive_logits

from papertune.methods import build_trainable
from papertune.recipe import PtuningV2Method

IDS = [7, 300, 0, 2, 415, 7, 7, 90, 1, 33]
# float32, relative to the largest logit
TOLERANCE = 2e-5

CONFIGS = {
    "as published": {},
    "one group": {"multi_query_group_num": 1},
    "as many groups as heads": {"multi_query_group_num": 4},
    "three heads a group": {"num_attention_heads": 6, "multi_query_group_num": 2},
    "no multi-query attention": {"multi_query_attention": False},
    "no multi-query attention, odd heads": {"multi_query_attention": False, "num_attention_heads": 3},
    "one head": {"num_attention_heads": 1, "multi_query_group_num": 1},
    "hidden size unlike heads x kv_channels": {"hidden_size": 20, "kv_channels": 12},
    "hidden size larger than heads x kv_channels": {"hidden_size": 52, "num_attention_heads": 2, "kv_channels": 4},
    "large epsilon": {"layernorm_epsilon": 0.5},
    "tiny epsilon": {"layernorm_epsilon": 1e-12},
    "adds to the normed": {"apply_residual_connection_post_layernorm": True},
    "all biases": {"add_bias_linear": True},
    "all biases although add_qkv_bias is false": {"add_bias_linear": True, "add_qkv_bias": False},
    "no bias": {"add_qkv_bias": False},
    "no final norm": {"post_layer_norm": False},
    "one layer": {"num_layers": 1},
    "four layers": {"num_layers": 4},
    "narrow MLP": {"ffn_hidden_size": 5},
    "all at once": {
        "multi_query_attention": False,
        "hidden_size": 22,
        "num_attention_heads": 3,
        "kv_channels": 12,
        "layernorm_epsilon": 1e-3,
        "apply_residual_connection_post_layernorm": True,
        "add_bias_linear": True,
        "post_layer_norm": False,
    },
}


def weights_of(model):
    return {name: weight.detach().double().numpy() for name, weight in model.state_dict().items()}


def assert_same(found, expected):
    scale = np.abs(expected).max()
    assert np.abs(found.detach().double().numpy() - expected).max() <= TOLERANCE * scale


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_hidden_states(make_chatglm2, name, attention):
    model = make_chatglm2(attention=attention, **CONFIGS[name])
    biases = {key.rsplit(".", 2)[-2] for key in model.state_dict() if key.endswith("bias")}
    if CONFIGS[name].get("add_bias_linear"):
        assert biases == {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}
    else:
        assert biases == ({"query_key_value"} if CONFIGS[name].get("add_qkv_bias", True) else set())
    has_norm = "transformer.encoder.final_layernorm.weight" in model.state_dict()
    assert has_norm is CONFIGS[name].get("post_layer_norm", True)
    expected, states = naive_logits(weights_of(model), model.config, IDS)
    output = model(input_ids=torch.tensor([IDS]), output_hidden_states=True)
    assert_same(output.logits[0], expected)
    assert len(output.hidden_states) == len(states)
    for found, state in zip(output.hidden_states, states, strict=True):
        assert_same(found[0], state)


@settings(max_examples=20)
@given(st.data())
def test_random_configurations(make_chatglm2, data):
    groups = data.draw(st.integers(1, 3), "groups")
    config = {
        "multi_query_attention": data.draw(st.booleans(), "multi-query attention"),
        "multi_query_group_num": groups,
        "num_attention_heads": groups * data.draw(st.integers(1, 3), "heads a group"),
        "hidden_size": data.draw(st.integers(4, 40), "hidden size"),
        "kv_channels": 4 * data.draw(st.integers(1, 4), "kv_channels / 4"),
        "layernorm_epsilon": data.draw(st.sampled_from([1e-8, 1e-5, 1e-2]), "epsilon"),
        "num_layers": data.draw(st.integers(1, 3), "layers"),
        "add_bias_linear": data.draw(st.booleans(), "biases"),
        "post_layer_norm": data.draw(st.booleans(), "final norm"),
        "apply_residual_connection_post_layernorm": data.draw(st.booleans(), "adds to the normed"),
    }
    ids = data.draw(st.lists(st.integers(0, 415), min_size=1, max_size=8), "ids")
    positions = data.draw(st.lists(st.integers(0, 200), min_size=len(ids), max_size=len(ids)), "positions")
    model = make_chatglm2(seed=data.draw(st.integers(0, 99), "seed"), **config)
    expected, _ = naive_logits(weights_of(model), model.config, ids, positions=positions)
    found = model(input_ids=torch.tensor([ids]), position_ids=torch.tensor([positions])).logits[0]
    assert_same(found, expected)


def test_large_positions(make_chatglm2):
    """At 30,000 float32 angles are off by 1e-3."""
    model = make_chatglm2()
    positions = [30_000 + index for index in range(len(IDS))]
    expected, _ = naive_logits(weights_of(model), model.config, IDS, positions=positions)
    found = model(input_ids=torch.tensor([IDS]), position_ids=torch.tensor([positions])).logits[0]
    assert np.abs(found.detach().numpy() - expected).max() < 2e-2 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["as published", "no multi-query attention", "all at once"])
def test_logits_after_a_prefix(make_chatglm2, name):
    model = make_chatglm2(**CONFIGS[name])
    weights = weights_of(model)
    tuned = build_trainable(model, PtuningV2Method(kind="ptuning_v2", prefix_length=3), seed=0).eval()
    prefix = tuned.prefix()
    both = torch.stack([prefix.keys, prefix.values], dim=1).double().numpy()
    expected, _ = naive_logits(weights, model.config, IDS, prefix=both)
    assert_same(tuned(input_ids=torch.tensor([IDS])).logits[0], expected)


def test_naive_computation_agrees_with_the_goldens(golden_model, goldens):
    ids = goldens["a.input_ids"][0].tolist()
    logits, states = naive_logits(weights_of(golden_model), golden_model.config, ids)
    assert np.abs(logits - goldens["a.logits"][0].numpy()).max() < 5e-5
    for index, state in enumerate(states):
        assert np.abs(state - goldens[f"a.hidden.{index}"][0].numpy()).max() < 5e-5
