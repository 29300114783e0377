"""A reward model: a language model whose output layer is one number.

The new layer stands where the model had its output layer, so whatever runs a language model (`answer_positions`, the
engine with its cache, adapters, quantized weights, ChatGLM2) runs a reward model too. The reward of an answer is the
output at its end token, found by its position: a tokenizer whose padding token is its end token does no harm.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papertune.errors import RunError
from papertune.models.selected_positions import output_layer

FILE = "reward_head.safetensors"


class RewardHead(nn.Linear):
    """One number from a hidden state, computed in float32: in bfloat16, rewards of 1.00 and 1.003 would be equal.

    The weights begin at zero, so all answers are equal before training.

    Args:
        width: Size of the hidden state.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, 1, bias=False, dtype=torch.float32)

    def reset_parameters(self) -> None:
        """Set the weights to zero."""
        nn.init.zeros_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Return the rewards, float32, shape (..., 1)."""
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(input.float(), self.weight)


def add_reward_head(model: Any) -> RewardHead:
    """Put a new head in the place of a model's output layer.

    Args:
        model: A causal language model, with or without an adapter.
    """
    old = output_layer(model)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = RewardHead(int(old.in_features)).to(old.weight.device)  # type: ignore[arg-type]
    base.set_output_embeddings(head)
    return head


def save_reward_head(model: Any, folder: Path) -> None:
    """Write the head of a reward model into a folder."""
    from safetensors.torch import save_file

    save_file({"weight": output_layer(model).weight.detach().contiguous()}, folder / FILE)  # type: ignore[operator]


def load_reward_head(model: Any, folder: Path) -> None:
    """Read a head that `save_reward_head` has written into a reward model.

    Raises:
        RunError: If the file is missing, damaged or of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    head = output_layer(model)
    try:
        head.load_state_dict(load_file(folder / FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise RunError(
            f"{folder / FILE}: the head of the reward model cannot be read: {error}. Train again, or restore the file."
        ) from error
