from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, LlamaConfig

from papertune.inference.gpu_memory import (
    MAX_TOKENS,
    MIN_TOKENS,
    bytes_per_token,
    is_sharded,
    tokens_on_gpu,
    tokens_that_fit,
)
from papertune.inference.plan import batch_tokens
from papertune.models.chatglm2 import ChatGLMConfig

GB = 2**30
LLAMA_7B = LlamaConfig()  # no grouped heads


def test_memory_per_token():
    layer = 2 * (4 * 13696 + 8 * 4096) + 8 * 4096
    cache = 2 * (2 * 28 * 2 * 128 * 2)  # a copy beside it; keys and values, layers, heads, their numbers, bytes
    logits = 65024 * (2 + 4 + 4) / 8
    assert bytes_per_token(ChatGLMConfig(), 2) == layer + cache + logits
    # Without grouped heads keys and values are the largest part.
    assert (
        bytes_per_token(LLAMA_7B, 2) == 2 * (4 * 11008 + 8 * 4096) + 8 * 4096 + 2 * 2 * 32 * 4096 * 2 + 32000 * 10 / 8
    )
    # A configuration that names neither the inner size nor key-value heads.
    small = GPT2Config(n_embd=64, n_layer=3, n_head=4, vocab_size=80)
    assert bytes_per_token(small, 4) == 4 * (16 * 64 + 8 * 64) + 8 * 64 + 2 * 2 * 3 * 64 * 4 + 80 * 12 / 8


@pytest.mark.parametrize(
    ("card", "weights", "config", "tokens"),
    [
        (8, 4, ChatGLMConfig(), 8192),  # 4 bits
        (16, 11.63, ChatGLMConfig(), 8192),
        (22, 11.63, ChatGLMConfig(), 16384),
        (24, 11.63, ChatGLMConfig(), 32768),
        (8, 4, LLAMA_7B, 2048),
        (24, 13, LLAMA_7B, 8192),
        (4, 4, LLAMA_7B, 1024),  # does not fit, so batches are halved
    ],
)
def test_tokens_fit_the_gpu(card, weights, config, tokens):
    assert tokens_that_fit(int((card - weights) * GB), config, 2) == tokens


@given(st.integers(-GB, 200 * GB), st.integers(0, 8 * GB))
def test_more_memory_never_means_fewer_tokens(free_bytes, more):
    tokens = tokens_that_fit(free_bytes, LLAMA_7B, 2)
    assert MIN_TOKENS <= tokens <= MAX_TOKENS
    assert tokens.bit_count() == 1
    assert tokens <= tokens_that_fit(free_bytes + more, LLAMA_7B, 2)
    if tokens > MIN_TOKENS:
        assert GB + tokens * bytes_per_token(LLAMA_7B, 2) <= free_bytes


class OnGpu:
    """The attributes of a model on a GPU that are used; `mark` is an attribute of divided weights."""

    config, dtype = LLAMA_7B, torch.bfloat16

    def __init__(self, device, **mark):
        self.weight = SimpleNamespace(device=torch.device(device), **mark)

    def parameters(self):
        return iter([self.weight])


def test_the_free_memory_is_that_of_the_gpu_of_the_model(monkeypatch):
    cards = {torch.device("cuda", 1): (24 * GB, 13 * GB)}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda at: SimpleNamespace(total_memory=cards[at][0]))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda at: cards[at][1])
    assert tokens_on_gpu(OnGpu("cuda:1")) == tokens_that_fit(11 * GB, LLAMA_7B, 2) == 8192
    assert tokens_on_gpu(OnGpu("cpu")) is None
    # Processes with sharded weights must all split batches alike, whatever memory each one uses.
    sharded = OnGpu("cuda:1", ds_id=0)
    assert is_sharded(sharded)
    assert is_sharded(OnGpu("cuda:1", _fsdp_flattened=True))
    assert not is_sharded(OnGpu("cuda:1"))
    before = tokens_on_gpu(sharded)
    cards[torch.device("cuda", 1)] = (24 * GB, 23 * GB)
    assert tokens_on_gpu(sharded) == before == tokens_that_fit(12 * GB, LLAMA_7B, 2)


def test_all_gpus_have_the_same_batch_size():
    assert (batch_tokens("cpu"), batch_tokens("cuda"), batch_tokens("cuda:1")) == (4096, MAX_TOKENS, MAX_TOKENS)
