"""The weights of a llama-like model under the names of transformers, so that an adapter can be added to them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from papertune.models.llama.rotation import KNOWN_ROPES, rope_type

_MODEL_TYPES = ("llama", "mistral", "qwen2")
_ONE_FILE, _INDEX = "model.safetensors", "model.safetensors.index.json"
# Some folders have these tables, which are computed.
_COMPUTED = "rotary_emb.inv_freq"


def is_known(config: Any) -> bool:
    """Whether the layers here compute what a model of this configuration does."""
    windows = getattr(config, "layer_types", None)
    return (
        config.model_type in _MODEL_TYPES
        and getattr(config, "hidden_act", None) == "silu"
        and getattr(config, "quantization_config", None) is None
        and rope_type(config) in KNOWN_ROPES
        and (set(windows) == {"full_attention"} if windows else not getattr(config, "sliding_window", None))
    )


class LlamaWeights(nn.Module):
    """The weights; without a forward pass.

    Attributes:
        head_dim: Numbers of a head.
        model: Embedding, layers and last norm.
        lm_head: The output layer.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        size = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
        heads, groups = config.num_attention_heads * size, config.num_key_value_heads * size
        qwen = config.model_type == "qwen2"
        qkv_bias = qwen or getattr(config, "attention_bias", False)
        out_bias = not qwen and getattr(config, "attention_bias", False)
        mlp_bias = getattr(config, "mlp_bias", False)
        self.head_dim: int = size
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(1, hidden)
        self.model.embed_tokens.weight = _unread(config.vocab_size, hidden)
        self.model.layers = nn.ModuleList()
        for _ in range(config.num_hidden_layers):
            layer = nn.Module()
            layer.self_attn, layer.mlp = nn.Module(), nn.Module()
            layer.self_attn.q_proj = _linear(hidden, heads, bias=qkv_bias)
            layer.self_attn.k_proj = _linear(hidden, groups, bias=qkv_bias)
            layer.self_attn.v_proj = _linear(hidden, groups, bias=qkv_bias)
            layer.self_attn.o_proj = _linear(heads, hidden, bias=out_bias)
            layer.mlp.gate_proj = _linear(hidden, inner, bias=mlp_bias)
            layer.mlp.up_proj = _linear(hidden, inner, bias=mlp_bias)
            layer.mlp.down_proj = _linear(inner, hidden, bias=mlp_bias)
            layer.input_layernorm = nn.RMSNorm(hidden)
            layer.post_attention_layernorm = nn.RMSNorm(hidden)
            self.model.layers.append(layer)
        self.model.norm = nn.RMSNorm(hidden)
        self.lm_head = _linear(hidden, config.vocab_size, bias=False)


def _linear(inputs: int, outputs: int, *, bias: bool) -> nn.Linear:
    """Return a layer without numbers; PyTorch's own would draw some, and import its compiler to draw none."""
    layer = nn.Linear(1, 1, bias=bias)
    layer.in_features, layer.out_features = inputs, outputs
    layer.weight = _unread(outputs, inputs)
    if bias:
        layer.bias = _unread(outputs)
    return layer


def _unread(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, device="meta"))


def read_weights(folder: Path, config: Any, dtype: torch.dtype) -> LlamaWeights | None:
    """Read the weights of a model folder.

    Args:
        folder: With weights in the safetensors format.
        config: The model's configuration, which `is_known`.
        dtype: Of the weights in memory.

    Returns:
        The weights; None if the files are of another format, damaged, or do not fit the configuration.
    """
    try:
        weights = LlamaWeights(config)
        # A copy where the dtype is the same: an adapter must not be added to the file's pages.
        read = {name: each.to(dtype, copy=True) for name, each in _tensors(folder)}
        if config.tie_word_embeddings:
            read["lm_head.weight"] = read["model.embed_tokens.weight"]
        weights.load_state_dict(read, assign=True)
    except (OSError, TypeError, ValueError, KeyError, RuntimeError, SafetensorError):
        return None
    return weights.requires_grad_(False)


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    names = [_ONE_FILE]
    if not (folder / _ONE_FILE).is_file():
        names = sorted(set(json.loads((folder / _INDEX).read_text("utf-8"))["weight_map"].values()))
    for name in names:
        with safe_open(folder / name, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - it is no dict
                if _COMPUTED not in key:
                    yield key, file.get_tensor(key)
