"""Losses and gradients of a batch of answers through the passes of `training.layers`, a part in each thread.

Gradients are added in the order of the parts, so it does not matter which part is done first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from papertune.decoding.threads import map_in_threads
from papertune.training.answers.batch import VOCABULARY, split_batch
from papertune.training.answers.label_sets import LabelSet
from papertune.training.answers.loss import answer_losses
from papertune.training.answers.lower_states import LowerStates
from papertune.training.layers.decoder import Decoder
from papertune.training.layers.products import Gradients

# Maximum of padded tokens in one pass, of which several run side by side; and what is too little for two passes.
PASS_TOKENS = 512
_FEW_TOKENS = 128


@dataclass(frozen=True)
class _Learned:
    """What a pass over a part of a batch gives.

    Attributes:
        losses: As from `answer_losses`.
        gradients: Of the sum of the losses over `examples`.
    """

    losses: Tensor
    gradients: Gradients


class OwnPasses:
    """Learns from batches.

    Args:
        decoder: The model's decoder.
        label_sets: The label sets that the loss runs over.
        kept: States of lower layers from earlier epochs; None: they are not kept.
    """

    def __init__(self, decoder: Decoder, label_sets: Sequence[LabelSet], kept: LowerStates | None) -> None:
        self._decoder = decoder
        self._label_sets = label_sets
        self._kept = kept
        # The logits of a few tokens cost next to nothing; those of all cost as much as a layer and a half.
        read = [each.trie.read_tokens for each in label_sets]
        self._label_tokens = None if None in read else sorted({token for tokens in read for token in tokens or ()})
        self._among_tokens = [
            replace(each, trie=each.trie.among(self._label_tokens)) for each in label_sets if self._label_tokens
        ]

    def learn(self, batch: Mapping[str, Tensor], examples: Tensor) -> list[tuple[Mapping[str, Tensor], Tensor]]:
        """Add the gradients of a batch to those of the parameters.

        Args:
            batch: From `collate`, with "numbers" of the rows.
            examples: By which the loss is divided, shape ().

        Returns:
            The parts of the batch with their losses, which are not divided.
        """
        self._decoder.read_adapters()
        parts = split_batch(batch, _part_tokens(int(batch["lengths"].sum())))
        learned = map_in_threads(lambda part: self._pass(part, examples), parts)
        self._decoder.add_gradients([each.gradients for each in learned])
        return [(part, each.losses) for part, each in zip(parts, learned, strict=True)]

    def _pass(self, part: Mapping[str, Tensor], examples: Tensor) -> _Learned:
        positions = part.get("position_ids", torch.arange(part["input_ids"].shape[1])[None])
        visible = part.get("visible")
        first = int(part["columns"].min())
        states, done = self._decoder.forward(self._states_below(part, positions), positions, visible, first)
        with torch.enable_grad():
            wanted = states[part["rows"], part["columns"] - first].requires_grad_()
            losses = self._losses(wanted, part)
            (above,) = torch.autograd.grad(losses.sum() / examples, wanted)
        gradient = torch.zeros_like(states).index_put_((part["rows"], part["columns"] - first), above, accumulate=True)
        return _Learned(losses.detach(), self._decoder.backward(gradient, done))

    def _losses(self, states: Tensor, part: Mapping[str, Tensor]) -> Tensor:
        """Return the losses of `answer_losses`, from logits of the labels' tokens where only labels are learned."""
        tokens, label_sets = None, self._label_sets
        if self._label_tokens and bool((part["label_sets"] != VOCABULARY).all()):
            tokens, label_sets = torch.tensor(self._label_tokens), self._among_tokens
        logits = self._decoder.logits(states, tokens)
        return answer_losses(logits, part["targets"], part["label_sets"], part["weights"], label_sets)

    def _states_below(self, part: Mapping[str, Tensor], positions: Tensor) -> Tensor:
        """Return the states before the first trained layer, from memory where they are kept."""
        if self._kept is not None:
            return self._kept.padded(part["numbers"], part["input_ids"].shape[1])
        return self._decoder.states_below(part["input_ids"], positions, part.get("visible"))


def _part_tokens(tokens: int) -> int:
    """Return the maximum of tokens in a part, for a batch of so many.

    An even number of equal parts, for two threads, or four.
    """
    if tokens <= _FEW_TOKENS:
        return min(tokens, PASS_TOKENS)
    count = 2 * -(-tokens // (2 * PASS_TOKENS))
    return -(-tokens // count)
