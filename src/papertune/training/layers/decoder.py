"""A whole decoder: the states of answers, and the gradients of all adapters from those of the states."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papertune.models.llama.weights import is_known
from papertune.training.layers.attention import Rotation
from papertune.training.layers.layer import Kept, Layer
from papertune.training.layers.products import Gradients

_DTYPES = (torch.float32, torch.bfloat16)
_ATTENTION = {"q_proj": "self_attn", "k_proj": "self_attn", "v_proj": "self_attn", "o_proj": "self_attn"}
_PROJECTIONS = {**_ATTENTION, "gate_proj": "mlp", "up_proj": "mlp", "down_proj": "mlp"}


class Decoder:
    """The decoder of a model with LoRA adapters, for training.

    Args:
        model: The causal language model without peft's wrapper; `is_covered` is true of it.
    """

    def __init__(self, model: Any) -> None:
        config, self._inner = model.config, model.model
        self._head: nn.Linear = model.lm_head
        heads, groups = config.num_attention_heads, config.num_key_value_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        self._scaling = width**-0.5
        self._layers = [Layer(layer, heads, groups, width) for layer in self._inner.layers]
        trained = [n for n, layer in enumerate(self._layers) if any(product.adapters for product in layer.products)]
        self.first_trained = trained[0]

    def restore(self) -> None:
        """Leave the model as it was."""
        for layer in self._layers:
            for product in layer.products:
                product.restore()

    def read_adapters(self) -> None:
        """Take the adapters as they are now, before the passes of a step."""
        for layer in self._layers[self.first_trained :]:
            for product in layer.products:
                product.read_adapters()

    @torch.no_grad()
    def states_below(self, input_ids: Tensor, position_ids: Tensor, visible: Tensor | None) -> Tensor:
        """Return the states before the first trained layer, shape (batch, seq, hidden).

        Args:
            input_ids: Shape (batch, seq).
            position_ids: Shape (batch or 1, seq).
            visible: Which tokens each token sees, never later ones, bool, shape (batch, seq, seq); None: all earlier
                ones.
        """
        states: Tensor = self._inner.embed_tokens(input_ids)
        rotation = self._rotation(states, position_ids)
        for layer in self._layers[: self.first_trained]:
            states, _ = layer.forward(states, rotation, visible, 0)
        return states

    @torch.no_grad()
    def forward(
        self, states: Tensor, position_ids: Tensor, visible: Tensor | None, first: int
    ) -> tuple[Tensor, "Pass"]:
        """Run the trained layers and those above.

        Args:
            states: From `states_below`.
            position_ids: As there.
            visible: As there.
            first: Column from which on the last states are needed.

        Returns:
            The states after the last layer, before the last norm, shape (batch, seq - first, hidden), and what
            `backward` needs.
        """
        rotation = self._rotation(states, position_ids)
        kept: list[Kept] = []
        for layer in self._layers[self.first_trained :]:
            is_last = layer is self._layers[-1]
            states, saved = layer.forward(states, rotation, visible, first if is_last else 0)
            kept.append(saved)
        return states, Pass(rotation, kept)

    def logits(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Return logits of last states; with autograd.

        Args:
            states: Shape (positions, hidden).
            tokens: Token ids, int64; None: all.

        Returns:
            Shape (positions, tokens or vocab).
        """
        normed = self._inner.norm(states)
        if tokens is None:
            logits: Tensor = self._head(normed)
            return logits
        bias = self._head.bias
        return F.linear(normed, self._head.weight[tokens], None if bias is None else bias[tokens])

    @torch.no_grad()
    def backward(self, gradient: Tensor, done: "Pass") -> Gradients:
        """Return the gradients of all products with adapters, for `add_gradients`.

        Args:
            gradient: Of the states that `forward` returned.
            done: From `forward`; used up.
        """
        gradients: Gradients = {}
        lowest = self._layers[self.first_trained]
        for layer in reversed(self._layers[self.first_trained :]):
            below = layer.backward(gradient, done.kept.pop(), done.rotation, gradients, to_input=layer is not lowest)
            if below is not None:
                gradient = below
        return gradients

    @torch.no_grad()
    def add_gradients(self, passes: Sequence[Gradients]) -> None:
        """Add the gradients of several passes, in their order, to those of the adapters, float32."""
        for product in passes[0]:
            product.add_gradients([each[product] for each in passes])

    def _rotation(self, states: Tensor, position_ids: Tensor) -> Rotation:
        cos, sin = self._inner.rotary_emb(states, position_ids=position_ids)
        return Rotation(cos, sin, self._scaling)


class Pass:
    """What a backward pass needs.

    Args:
        rotation: Of the tokens.
        kept: Of each layer, the lowest first.
    """

    def __init__(self, rotation: Rotation, kept: list[Kept]) -> None:
        self.rotation = rotation
        self.kept = kept


@contextmanager
def own_decoder(model: Any, dtype: torch.dtype) -> Iterator[Decoder | None]:
    """Train a model in own passes where these do the same as its own code; joined weights only inside the context.

    Args:
        model: A model in training, in peft's wrapper or not.
        dtype: The dtype of products.

    Yields:
        The decoder; None if the model is of another kind, or if more than plain LoRA adapters of its linear layers is
        trained.
    """
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    if not is_covered(inner, dtype):
        yield None
        return
    decoder = Decoder(inner)
    try:
        yield decoder
    finally:
        decoder.restore()


def is_covered(model: Any, dtype: torch.dtype) -> bool:
    """Whether a model, without peft's wrapper, is one that `Decoder` trains."""
    config = model.config
    inner = getattr(model, "model", None)
    if (
        not is_known(config)
        or dtype not in _DTYPES
        or model.device.type != "cpu"
        or any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        or getattr(config, "attention_dropout", 0)
        or type(getattr(model, "lm_head", None)) is not nn.Linear
        or inner is None
    ):
        return False
    parts = [getattr(getattr(layer, place), name) for layer in inner.layers for name, place in _PROJECTIONS.items()]
    if not all(_is_plain(part, dtype) for part in parts):
        return False
    known = {id(parameter) for part in parts for parameter in part.parameters() if parameter.requires_grad}
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    others = [p for p in model.parameters() if not p.requires_grad]
    return bool(trained) and trained == known and all(parameter.dtype == dtype for parameter in others)


def _is_plain(layer: Any, dtype: torch.dtype) -> bool:
    """Whether a layer is a frozen linear one, alone or with one plain LoRA adapter that is trained."""
    base = getattr(layer, "base_layer", layer)
    if type(base) is not nn.Linear or base.weight.dtype != dtype or any(p.requires_grad for p in base.parameters()):
        return False
    if layer is base:
        return True
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or len(layer.active_adapters) != 1 or layer.merged or layer.disable_adapters:
        return False
    (name,) = layer.active_adapters
    return (
        name in layer.lora_A
        and len(layer.lora_A) == 1
        and layer.lora_A[name].weight.requires_grad
        and layer.lora_B[name].weight.requires_grad
        and isinstance(layer.lora_dropout[name], nn.Identity)
        and not layer.use_dora[name]
        and not layer.lora_bias[name]
        and not layer.fan_in_fan_out
    )
