"""A llama-like model for prediction, called like a model of transformers."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papertune.models.fused.choice import MAX_FUSED_THREADS, best_steps
from papertune.models.llama.layers import Layer, MakeProduct
from papertune.models.llama.rotation import Rotary
from papertune.models.llama.steps import Steps, normed
from papertune.models.llama.weights import LlamaWeights
from papertune.models.selected_positions import SelectsAnswers


@dataclass(frozen=True)
class Wanted:
    """Which logits are wanted.

    Attributes:
        rows: Batch index of each position, int64, shape (positions,).
        columns: Sequence index of each position, int64, shape (positions,).
        tokens: Token ids, int64; None: all.
    """

    rows: Tensor
    columns: Tensor
    tokens: Tensor | None


# A variable of the thread, so that several can use one model.
_wanted: ContextVar[Wanted | None] = ContextVar("_wanted", default=None)


class OwnLlama(nn.Module, SelectsAnswers):
    """Runs tokens through the layers; several threads may do so at the same time.

    Args:
        weights: The weights. Each layer's are released when they are packed.
        config: The model's configuration.
        dtype: Of attention, caches and logits.
        states_dtype: Of the states between products.
        product: Makes the products of the layers.
        precision_name: The name of the products' precision.
        ends: Tokens that end an answer.

    Attributes:
        config: The configuration.
        generation_config: Has `eos_token_id`.
        precision_name: As above.
        dtype: As above.
    """

    def __init__(
        self,
        weights: LlamaWeights,
        config: Any,
        dtype: torch.dtype,
        states_dtype: torch.dtype,
        product: MakeProduct,
        *,
        precision_name: str,
        ends: list[int],
    ) -> None:
        super().__init__()
        self.config = config
        self.dtype = dtype
        self._states_dtype = states_dtype
        self.precision_name = precision_name
        self.generation_config = SimpleNamespace(eos_token_id=ends)
        decoder: Any = weights.model
        tied = weights.lm_head.weight.data_ptr() == decoder.embed_tokens.weight.data_ptr()
        self.embed_tokens: nn.Embedding = decoder.embed_tokens.to(dtype)
        self.lm_head = weights.lm_head
        if tied:
            self.lm_head.weight = self.embed_tokens.weight
        self.lm_head.to(dtype)
        self._norm: Tensor = decoder.norm.weight.float()
        self._layers: list[Layer] = []
        layers = decoder.layers
        for number in range(len(layers)):
            self._layers.append(Layer(number, layers[number], config, dtype, product))
            layers[number] = nn.Identity()
        self._steps = best_steps(dtype, states_dtype, to_integers=self._layers[0].of_integers)
        self._rotary = Rotary(config, weights.head_dim, config.num_attention_heads + config.num_key_value_heads)
        self.eval()

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return self.lm_head.weight.device

    def get_output_embeddings(self) -> nn.Module:
        """Return the output layer, by the name that transformers has for it."""
        return self.lm_head

    @contextmanager
    def answering(self, rows: Tensor, columns: Tensor, tokens: Tensor | None) -> Iterator[None]:
        """Compute some logits only, inside this context and in this thread; see `Wanted`."""
        before = _wanted.set(Wanted(rows, columns, tokens))
        try:
            yield
        finally:
            _wanted.reset(before)

    @torch.inference_mode()
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> Any:
        """Run tokens through the model.

        Args:
            input_ids: int64, shape (batch, seq).
            attention_mask: As `mask` in `Layer`.
            position_ids: int64, shape (batch or 1, seq); None: they continue those of the cache.
            past_key_values: A transformers cache, which is extended, or None.
            use_cache: Make a cache if there is none.

        Returns:
            An object with `logits`, shape (batch, seq, vocab), inside `answering` (positions, tokens), and
            `past_key_values`.
        """
        if use_cache and past_key_values is None:
            from papertune.models.attention.growing_cache import growing_cache

            past_key_values = growing_cache(self.config)
        if position_ids is None:
            seen = 0 if past_key_values is None else past_key_values.get_seq_length()
            position_ids = (torch.arange(input_ids.shape[1]) + seen)[None]
        states: Tensor = self.embed_tokens(input_ids).to(self._states_dtype)
        rotation = self._rotary.at(position_ids, self._states_dtype)
        steps = self._steps if torch.get_num_threads() <= MAX_FUSED_THREADS else Steps()
        *layers, last = self._layers
        for layer in layers:
            states = layer(states, rotation, attention_mask, past_key_values, steps)
        wanted = _wanted.get()
        if wanted is None:
            states = last(states, rotation, attention_mask, past_key_values, steps)
        else:
            at = (wanted.rows, wanted.columns)
            states = last.only_at(states, rotation, attention_mask, past_key_values, steps, at)
        states = normed(states, self._norm, self.config.rms_norm_eps).to(self.dtype)
        head = self.lm_head.weight
        if wanted is not None and wanted.tokens is not None:
            head = head[wanted.tokens]
        return SimpleNamespace(logits=F.linear(states, head), past_key_values=past_key_values)
