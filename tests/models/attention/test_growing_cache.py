import copy
from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache, LlamaConfig
from transformers.cache_utils import DynamicLayer

from papertune.models.attention import growing_cache as module
from papertune.models.attention.growing_cache import GrowingLayer, growing_cache

steps = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.integers(1, 70)),
        st.tuples(st.just("crop"), st.integers(1, 5)),
        st.tuples(st.just("select"), st.integers(0, 3)),
        st.tuples(st.just("fork"), st.just(0)),
    ),
    max_size=12,
)


@given(steps, st.integers(0, 2**31))
def test_content_equals_that_of_a_dynamic_cache(steps, seed):
    generator = torch.Generator().manual_seed(seed)
    caches = [growing_cache(), DynamicCache()]
    forks = []
    for step, size in [("update", 3), *steps]:
        batch = caches[1].layers[0].keys.shape[0] if caches[1].layers else 4
        length = caches[1].get_seq_length()
        if step == "update":
            keys, values = torch.randn(2, batch, 2, size, 4, generator=generator)
            returned = [cache.update(keys, values, 0) for cache in caches]
            for one, other in zip(*returned, strict=True):
                assert torch.equal(one, other)
        elif step == "crop" and size < length:
            for cache in caches:
                cache.crop(-size)
        elif step == "select":
            rows = torch.arange(batch)[size % batch :]
            for cache in caches:
                cache.batch_select_indices(rows)
        elif step == "fork":
            forks.append([copy.deepcopy(cache) for cache in caches])
    for one, other in [caches, *forks]:
        assert one.get_seq_length() == other.get_seq_length()
        assert torch.equal(one.layers[0].keys, other.layers[0].keys)
        assert torch.equal(one.layers[0].values, other.layers[0].values)


def test_tokens_are_copied_only_when_the_room_is_full(monkeypatch):
    monkeypatch.setattr(module, "_ROOM", 3)
    layer, addresses = GrowingLayer(), []
    for _ in range(8):
        layer.update(torch.randn(2, 2, 1, 4), torch.randn(2, 2, 1, 4))
        addresses.append(layer.keys.data_ptr())
    # There is room for the first token and three more; then again.
    assert [a == b for a, b in pairwise(addresses)] == [True, True, True, False, True, True, True]


def test_first_tokens_are_copied_out_of_a_larger_tensor():
    fused, layer = torch.randn(2, 3, 5, 40), GrowingLayer()
    layer.update(fused[..., :4], fused[..., 4:8])
    for held in (layer.keys, layer.values):
        assert held.untyped_storage().nbytes() == 2 * 3 * (5 + module._ROOM) * 4 * 4


def test_sliding_window_layers_are_not_replaced():
    config = LlamaConfig(num_hidden_layers=2)
    assert [type(layer) for layer in growing_cache(config).layers] == [GrowingLayer] * 2
    config.layer_types, config.sliding_window = ["full_attention", "sliding_attention"], 4
    kinds = [type(layer) for layer in growing_cache(config).layers]
    assert kinds[0] is GrowingLayer
    assert kinds[1] not in (GrowingLayer, DynamicLayer)
