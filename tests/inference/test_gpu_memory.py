from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, LlamaConfig

from papertune.inference.gpu_memory import (
    LEAST_TOKENS,
    MOST_TOKENS,
    bytes_a_token,
    is_sharded,
    tokens_in,
    tokens_on_gpu,
)
from papertune.inference.plan import batch_tokens
from papertune.models.chatglm2 import ChatGLMConfig

GB = 2**30
LLAMA_7B = LlamaConfig()  # no grouped heads


def test_what_a_token_takes():
    layer = 2 * (4 * 13696 + 8 * 4096) + 8 * 4096
    cache = 2 * (2 * 28 * 2 * 128 * 2)  # a copy beside it; keys and values, layers, heads, their numbers, bytes
    logits = 65024 * (2 + 4 + 4) / 8
    assert bytes_a_token(ChatGLMConfig(), 2) == layer + cache + logits
    # Without grouped heads keys and values are the most of it.
    assert bytes_a_token(LLAMA_7B, 2) == 2 * (4 * 11008 + 8 * 4096) + 8 * 4096 + 2 * 2 * 32 * 4096 * 2 + 32000 * 10 / 8
    # A configuration that names neither the inner size nor key-value heads.
    small = GPT2Config(n_embd=64, n_layer=3, n_head=4, vocab_size=80)
    assert bytes_a_token(small, 4) == 4 * (16 * 64 + 8 * 64) + 8 * 64 + 2 * 2 * 3 * 64 * 4 + 80 * 12 / 8


@pytest.mark.parametrize(
    ("card", "weights", "config", "tokens"),
    [
        (8, 4, ChatGLMConfig(), 8192),  # 4 bits
        (16, 11.63, ChatGLMConfig(), 8192),
        (22, 11.63, ChatGLMConfig(), 16384),
        (24, 11.63, ChatGLMConfig(), 32768),
        (8, 4, LLAMA_7B, 2048),
        (24, 13, LLAMA_7B, 8192),
        (4, 4, LLAMA_7B, 1024),  # too much: then in halves
    ],
)
def test_tokens_fit_the_card(card, weights, config, tokens):
    assert tokens_in(int((card - weights) * GB), config, 2) == tokens


@given(st.integers(-GB, 200 * GB), st.integers(0, 8 * GB))
def test_more_memory_never_means_fewer_tokens(room, more):
    tokens = tokens_in(room, LLAMA_7B, 2)
    assert LEAST_TOKENS <= tokens <= MOST_TOKENS
    assert tokens.bit_count() == 1
    assert tokens <= tokens_in(room + more, LLAMA_7B, 2)
    if tokens > LEAST_TOKENS:
        assert GB + tokens * bytes_a_token(LLAMA_7B, 2) <= room


class OnGpu:
    """What is asked of a model on a GPU; `mark` is DeepSpeed's on weights that it has divided."""

    config, dtype = LLAMA_7B, torch.bfloat16

    def __init__(self, device, **mark):
        self.weight = SimpleNamespace(device=torch.device(device), **mark)

    def parameters(self):
        return iter([self.weight])


def test_the_card_of_the_model_counts_without_what_is_held(monkeypatch):
    cards = {torch.device("cuda", 1): (24 * GB, 13 * GB)}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda at: SimpleNamespace(total_memory=cards[at][0]))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda at: cards[at][1])
    assert tokens_on_gpu(OnGpu("cuda:1")) == tokens_in(11 * GB, LLAMA_7B, 2) == 8192
    assert tokens_on_gpu(OnGpu("cpu")) is None
    # Processes that share the weights out must all cut alike, whatever each one holds.
    sharded = OnGpu("cuda:1", ds_id=0)
    assert is_sharded(sharded)
    assert is_sharded(OnGpu("cuda:1", _fsdp_flattened=True))
    assert not is_sharded(OnGpu("cuda:1"))
    before = tokens_on_gpu(sharded)
    cards[torch.device("cuda", 1)] = (24 * GB, 23 * GB)
    assert tokens_on_gpu(sharded) == before == tokens_in(12 * GB, LLAMA_7B, 2)


def test_all_gpus_have_the_same_plan():
    assert (batch_tokens("cpu"), batch_tokens("cuda"), batch_tokens("cuda:1")) == (4096, MOST_TOKENS, MOST_TOKENS)
