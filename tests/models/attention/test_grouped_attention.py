from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.llama.modeling_llama import eager_attention_forward

from papertune.models import use_grouped_attention
from papertune.models.attention.grouped import grouped_attention

SIZES = {
    "vocab_size": 101,
    "hidden_size": 24,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "one head a group": lambda: LlamaForCausalLM(LlamaConfig(**SIZES | {"num_key_value_heads": 6})),
    "window": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=8)),
    "window in one layer": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=8, max_window_layers=1)
    ),
    "norms of queries": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
}
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def slow_attention(query, key, value, scaling):
    """Compute attention head by head in float64, with an explicit mask."""
    group_size, seq, keys = query.shape[1] // key.shape[1], query.shape[2], key.shape[2]
    hidden = torch.ones(seq, keys, dtype=torch.bool).triu(keys - seq + 1)
    heads = []
    for head in range(query.shape[1]):
        group = head // group_size
        q, k, v = query[:, head].double(), key[:, group].double(), value[:, group].double()
        scores = (q @ k.transpose(1, 2) * scaling).masked_fill(hidden, -torch.inf)
        heads.append(scores.softmax(-1) @ v)
    return torch.stack(heads, dim=2)


@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    group_size=st.integers(1, 3),
    seq=st.integers(2, 200),
    cached=st.sampled_from([0, 1, 40]),
    sizes=st.sampled_from([(8, 8), (4, 6)]),
    scaling=st.sampled_from([None, 0.1]),
    seed=st.integers(0, 2**31),
)
def test_grouped_attention_equals_attention_head_by_head(batch, groups, group_size, seq, cached, sizes, scaling, seed):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, groups * group_size, seq, sizes[0], generator=generator)
    key = torch.randn(batch, groups, cached + seq, sizes[0], generator=generator)
    value = torch.randn(batch, groups, cached + seq, sizes[1], generator=generator)
    attended, weights = grouped_attention(SimpleNamespace(), query, key, value, None, scaling=scaling)
    assert weights is None
    expected = slow_attention(query, key, value, sizes[0] ** -0.5 if scaling is None else scaling)
    torch.testing.assert_close(attended.double(), expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_attention_head_by_head():
    generator = torch.Generator().manual_seed(0)
    sizes = ((1, 4, 130, 8), (1, 2, 150, 8), (1, 2, 150, 6))
    tensors = [torch.randn(*size, generator=generator, requires_grad=True) for size in sizes]
    wanted = torch.randn(1, 130, 4, 6, generator=generator)
    with torch.inference_mode():  # what is kept from a prediction does no harm
        grouped_attention(SimpleNamespace(), *tensors, None)
    attended, _ = grouped_attention(SimpleNamespace(), *tensors, None)
    found = torch.autograd.grad((attended * wanted).sum(), tensors)
    expected = torch.autograd.grad((slow_attention(*tensors, 8**-0.5) * wanted).sum(), tensors)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


def test_bfloat16_errors_are_not_larger_than_those_of_eager_attention():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 6, 150, 64, generator=generator).bfloat16()
    key, value = (torch.randn(2, 2, 190, 64, generator=generator).bfloat16() for _ in range(2))
    grouped, _ = grouped_attention(SimpleNamespace(), query, key, value, None)
    assert grouped.dtype == torch.bfloat16
    module = SimpleNamespace(num_key_value_groups=3, training=False)
    hidden = torch.full((150, 190), -torch.inf, dtype=torch.bfloat16).triu(41)
    eager, _ = eager_attention_forward(module, query, key, value, hidden, 64**-0.5)
    exact = slow_attention(query, key, value, 64**-0.5)
    torch.testing.assert_close(grouped.double(), exact, rtol=0.02, atol=0.02)
    assert (grouped - exact).abs().mean() < 1.1 * (eager - exact).abs().mean()


@pytest.mark.parametrize("far", [1e4, -1e4])
def test_scores_far_from_zero(far):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, 130, 8, generator=generator) for _ in range(3))
    # All scores are greater by the same number, which changes nothing.
    query[..., 0], key[..., 0] = far / 8, 8.0
    expected = slow_attention(query, key, value, 1.0)
    attended, _ = grouped_attention(SimpleNamespace(), query, key, value, None, scaling=1.0)
    torch.testing.assert_close(attended.double(), expected, rtol=0.01, atol=0.01)
    rounded, _ = grouped_attention(SimpleNamespace(), *(x.bfloat16() for x in (query, key, value)), None, scaling=1.0)
    assert rounded.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "seq"),
    [({"is_causal": False}, 5), ({"attention_mask": torch.rand(2, 1, 5, 5) > 0.3}, 5), ({}, 1)],
    ids=["not causal", "a mask", "one token"],
)
def test_other_cases_are_left_to_torch(settings, seq):
    settings = {"attention_mask": None} | settings
    query, key, value = torch.randn(2, 4, seq, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    module = SimpleNamespace(num_key_value_groups=2)
    attended, _ = grouped_attention(module, query, key, value, **settings)
    repeated = (part.repeat_interleave(2, dim=1) for part in (key, value))
    mask = settings["attention_mask"]
    expected = F.scaled_dot_product_attention(query, *repeated, attn_mask=mask).transpose(1, 2)
    torch.testing.assert_close(attended, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_window_without_a_mask_after_a_cache():
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8)
    module = SimpleNamespace(num_key_value_groups=2, is_causal=True)
    attended, _ = grouped_attention(module, query, key, value, None, sliding_window=100)
    expected = slow_attention(query, key, value, 8**-0.5)
    torch.testing.assert_close(attended.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(params=MODELS)
def models(request):
    """A model, and the same one with grouped attention."""
    torch.manual_seed(0)
    plain, grouped = MODELS[request.param]().eval(), MODELS[request.param]().eval()
    plain.set_attn_implementation("sdpa")
    grouped.load_state_dict(plain.state_dict())
    use_grouped_attention(grouped)
    assert grouped.config._attn_implementation == "papertune_grouped"
    return plain, grouped


@torch.no_grad()
def test_left_padding_is_not_visible(models):
    plain, grouped = models
    ids = torch.randint(1, 101, (3, 90))
    mask = torch.ones_like(ids)
    mask[1, :50] = mask[2, :89] = 0
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    inputs = {"attention_mask": mask, "position_ids": positions}
    first = grouped(input_ids=ids, **inputs).logits
    torch.testing.assert_close(first[mask == 1], plain(input_ids=ids, **inputs).logits[mask == 1], **TOLERANCE)
    ids[1, :50] = 7
    torch.testing.assert_close(grouped(input_ids=ids, **inputs).logits[1, 50:], first[1, 50:], rtol=0, atol=0)


@torch.no_grad()
def test_several_tokens_after_a_cache(models):
    plain, grouped = models
    ids = torch.randint(1, 101, (2, 150))
    whole = plain(input_ids=ids).logits
    torch.testing.assert_close(grouped(input_ids=ids).logits, whole, **TOLERANCE)
    cache, logits = DynamicCache(config=grouped.config), []
    for part in ids.split([70, 1, 75, 4], dim=1):
        logits.append(grouped(input_ids=part, past_key_values=cache).logits)
    torch.testing.assert_close(torch.cat(logits, dim=1), whole, **TOLERANCE)


@torch.no_grad()
def test_cache_after_left_padding(models):
    ids = torch.randint(1, 101, (2, 100))
    mask = torch.ones_like(ids)
    mask[0, :20] = 0
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    outcomes = []
    for model in models:
        cache = DynamicCache(config=model.config)
        model(input_ids=ids[:, :80], attention_mask=mask[:, :80], position_ids=positions[:, :80], past_key_values=cache)
        rest = {"attention_mask": mask, "position_ids": positions[:, 80:], "past_key_values": cache}
        outcomes.append(model(input_ids=ids[:, 80:], **rest).logits)
    torch.testing.assert_close(outcomes[1], outcomes[0], **TOLERANCE)


def test_other_attention_and_float16_are_not_changed(make_model):
    model = make_model()
    model.set_attn_implementation("eager")
    use_grouped_attention(model)
    assert model.config._attn_implementation == "eager"
    model = make_model().to(torch.float16)  # its scores might overflow
    use_grouped_attention(model)
    assert model.config._attn_implementation == "sdpa"
