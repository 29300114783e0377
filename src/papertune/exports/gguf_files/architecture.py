"""The architectures that can be written as .gguf files: what llama.cpp calls their settings and tensors.

The names and rules are those of llama.cpp (`src/llama-arch.cpp`, `conversion/llama.py`, `conversion/qwen.py`,
`conversion/chatglm.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from papertune.errors import ModelError

# The ways round it, for messages.
ELSEWHERE = "Export it with --to vllm or --to hub instead"


class Architecture(ABC):
    """One architecture of llama.cpp.

    Args:
        config: The model's configuration.

    Attributes:
        name: Its name in llama.cpp.
    """

    name: str

    def __init__(self, config: Any) -> None:
        self._config = config

    @property
    def blocks(self) -> int:
        """Number of decoder layers."""
        return int(self._config.num_hidden_layers)

    @property
    def head_size(self) -> int:
        """Size of an attention head."""
        config = self._config
        return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)

    @abstractmethod
    def problem(self) -> str:
        """Return which setting llama.cpp does not compute; "" if there is none."""

    def check(self) -> None:
        """Raise a ModelError if llama.cpp would compute something else."""
        if problem := self.problem():
            raise ModelError(f"the model has {problem}, which llama.cpp's {self.name} does not compute. {ELSEWHERE}.")

    def settings(self) -> dict[str, int | float]:
        """Return the settings that follow the architecture's name, such as "block_count"."""
        config = self._config
        return {
            "context_length": int(config.max_position_embeddings),
            "embedding_length": int(config.hidden_size),
            "block_count": self.blocks,
            "feed_forward_length": int(config.intermediate_size),
            "attention.head_count": int(config.num_attention_heads),
            "attention.head_count_kv": int(config.num_key_value_heads),
            "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
            "vocab_size": int(config.vocab_size),
        }

    def tensor_name(self, name: str) -> str:
        """Return llama.cpp's name of a tensor of the model, without ".weight" or ".bias".

        Args:
            name: The module's name with its path, such as "model.layers.3.mlp.up_proj".

        Raises:
            ModelError: If llama.cpp has no such tensor.
        """
        from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

        (number,) = (arch for arch, known in MODEL_ARCH_NAMES.items() if known == self.name)
        found = get_tensor_name_map(number, self.blocks).get_name(name.removeprefix("transformer."))
        if found is None:
            raise ModelError(f"llama.cpp's {self.name} has no place for the model's {name}. {ELSEWHERE}.")
        return str(found)

    def arranged(self, name: str, rows: Tensor) -> Tensor:
        """Return the rows of a weight, a bias or a LoRA matrix B in llama.cpp's order.

        Args:
            name: As in `tensor_name`.
            rows: The tensor; its first dimension is the module's output.
        """
        return rows

    def more_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that the model computes and llama.cpp reads."""
        return {}


class _Rotary(Architecture):
    """Llama and what descends from it: rotary positions, three matrices in an MLP."""

    def problem(self) -> str:
        config = self._config
        if config.hidden_act != "silu":
            return f'hidden_act = "{config.hidden_act}"'
        if (kind := self._rope().get("rope_type", "default")) not in ("default", "linear", *self._own_ropes):
            return f'rope_type = "{kind}"'
        return "a sliding window" if getattr(config, "use_sliding_window", False) else ""

    _own_ropes: tuple[str, ...] = ()

    def _rope(self) -> Mapping[str, Any]:
        return getattr(self._config, "rope_parameters", None) or {}

    def settings(self) -> dict[str, int | float]:
        """Return the settings, those of rotary positions included."""
        rope = self._rope()
        theta = rope.get("rope_theta") or getattr(self._config, "rope_theta", None) or 10_000.0
        return super().settings() | {
            "rope.freq_base": float(theta),
            "rope.dimension_count": self.head_size,
            "attention.key_length": self.head_size,
            "attention.value_length": self.head_size,
            **({"rope.scaling.factor": float(rope["factor"])} if rope.get("rope_type") == "linear" else {}),
        }


class Llama(_Rotary):
    """Llama. transformers rotates the halves of a head, llama.cpp neighbouring pairs, so rows of q and k are moved."""

    name = "llama"
    _own_ropes = ("llama3",)

    def arranged(self, name: str, rows: Tensor) -> Tensor:
        """Return the rows; those of q and k are moved from halves of each head to pairs."""
        heads = {"q_proj": self._config.num_attention_heads, "k_proj": self._config.num_key_value_heads}
        count = heads.get(name.rsplit(".", 1)[-1])
        if count is None:
            return rows
        rest = rows.shape[1:]
        return rows.reshape(count, 2, len(rows) // count // 2, *rest).swapaxes(1, 2).reshape(rows.shape)

    def more_tensors(self) -> dict[str, Tensor]:
        """Return by how much Llama 3 divides the frequencies of rotary positions."""
        if self._rope().get("rope_type") != "llama3":
            return {}
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](self._config, device="cpu")
        powers = torch.arange(0, self.head_size, 2, dtype=torch.float32) / self.head_size
        return {"rope_freqs.weight": (self._rope()["rope_theta"] ** -powers) / scaled}


class Qwen2(_Rotary):
    """Qwen2 and Qwen2.5."""

    name = "qwen2"


class ChatGLM(Architecture):
    """ChatGLM2."""

    name = "chatglm"

    def problem(self) -> str:
        """Return which setting llama.cpp does not compute."""
        config = self._config
        refused = {
            "post_layer_norm = false": not config.post_layer_norm,
            "add_bias_linear = true": config.add_bias_linear,
            "apply_residual_connection_post_layernorm = true": config.apply_residual_connection_post_layernorm,
        }
        return next((setting for setting, is_set in refused.items() if is_set), "")

    def settings(self) -> dict[str, int | float]:
        """Return the settings; half of each head is rotated."""
        return super().settings() | {"rope.dimension_count": self.head_size // 2, "rope.freq_base": 10_000.0}


_BY_MODEL_TYPE: Mapping[str, type[Architecture]] = {"llama": Llama, "qwen2": Qwen2, "chatglm": ChatGLM}


def architecture_of(config: Any) -> Architecture:
    """Return the architecture of a model.

    Args:
        config: Its transformers configuration.

    Raises:
        ModelError: If it cannot be written as a .gguf file.
    """
    kind = str(config.model_type)
    if kind not in _BY_MODEL_TYPE:
        known = ", ".join(_BY_MODEL_TYPE)
        raise ModelError(f"a model of type {kind} cannot be written as a .gguf file, only {known}. {ELSEWHERE}.")
    found = _BY_MODEL_TYPE[kind](config)
    found.check()
    return found
