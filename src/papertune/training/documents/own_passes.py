"""Losses and gradients of a batch of blocks through the passes of `training.layers`, some blocks in each thread."""

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.decoding.threads import map_in_threads
from papertune.training.documents.blocks import PADDING, split_blocks, visible_tokens
from papertune.training.layers.decoder import Decoder
from papertune.training.layers.products import Gradients

# Maximum of padded tokens in one pass, of which several run side by side; and of positions with logits at a time.
_PASS_TOKENS = 512
_LOGIT_POSITIONS = 256


class OwnBlockPasses:
    """Learns from batches of blocks.

    Args:
        decoder: The model's decoder.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def learn(self, batch: dict[str, Tensor], examples: Tensor) -> Tensor:
        """Add the gradients of a batch to those of the parameters.

        Args:
            batch: From `collate_blocks`.
            examples: By which the loss is divided, shape ().

        Returns:
            The loss, shape ().
        """
        self._decoder.read_adapters()
        parts = split_blocks(batch, _PASS_TOKENS)
        learned = map_in_threads(lambda part: self._pass(part, examples), parts)
        self._decoder.add_gradients([gradients for _, gradients in learned])
        return torch.stack([loss for loss, _ in learned]).sum()

    def _pass(self, part: dict[str, Tensor], examples: Tensor) -> tuple[Tensor, Gradients]:
        positions, visible = part["position_ids"], visible_tokens(part["pieces"])
        below = self._decoder.states_below(part["input_ids"], positions, visible)
        states, done = self._decoder.forward(below, positions, visible, 0)
        places = part["targets"] != PADDING
        loss = torch.zeros(())
        above: list[Tensor] = []
        chunks = (torch.split(each[places], _LOGIT_POSITIONS) for each in (states, part["targets"]))
        for some, targets in zip(*chunks, strict=True):
            with torch.enable_grad():
                wanted = some.detach().requires_grad_()
                logits = self._decoder.logits(wanted).float()
                share = F.cross_entropy(logits, targets, reduction="sum") / examples
                above += torch.autograd.grad(share, wanted)
            loss += share.detach()
        gradient = torch.zeros_like(states)
        gradient[places] = torch.cat(above)
        return loss, self._decoder.backward(gradient, done)
