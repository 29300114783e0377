"""A model with a trained prefix, in peft's PREFIX_TUNING."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftModelForCausalLM, PrefixTuningConfig, TaskType
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from papertune.errors import ModelError, RunError
from papertune.methods.prefix.cache import KeyValueShape, key_value_shape, prefix_cache
from papertune.methods.prefix.model import Prefix, PrefixModel
from papertune.methods.prefix.text_start import TextPrefixEncoder, text_prefix

# In the folder of a checkpoint.
ENCODER_FILE = "prefix_encoder.safetensors"


class PrefixTuned(PrefixModel, PeftModelForCausalLM):  # type: ignore[misc]
    """A frozen causal language model with a prefix that peft's prompt encoder computes.

    It is peft's own model with another forward pass, which keeps the prefix where activations are computed again, has
    dropout on it, and counts positions as the base model does. A base model whose class has
    `prefix_takes_positions = False` counts the text from 0; any other counts the prefix too, as in peft.

    Args:
        model: The base model; its parameters are frozen.
        config: peft's configuration with all numbers filled in.
        dropout: Dropout on the prefix in training.
    """

    def __init__(self, model: Any, config: PrefixTuningConfig, *, dropout: float = 0.0) -> None:
        model.requires_grad_(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks by names that transformers is renaming
            super().__init__(model, config)
        self.prompt_encoder.float()
        takes_positions = getattr(model, "prefix_takes_positions", True)
        self._first_position = config.num_virtual_tokens if takes_positions else 0
        self._dropout = dropout

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Any = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Any,
    ) -> Any:
        """Run tokens after the prefix.

        Args:
            input_ids: int64, shape (batch, seq).
            attention_mask: Which tokens are real, shape (batch, seq); or a mask as the base model's layers take it,
                shape (batch, 1, seq, virtual + seq), or a dict of such masks by kind of layer.
            position_ids: Positions of the tokens, 0 for the first of the text, int64, shape (batch, seq).
            inputs_embeds: Instead of `input_ids`, shape (batch, seq, hidden).
            use_cache: Keep the tokens' keys and values; the returned cache begins with the prefix.
            options: For the base model.

        Returns:
            The base model's output.
        """
        tokens = input_ids if inputs_embeds is None else inputs_embeds
        assert tokens is not None
        batch, seq = tokens.shape[:2]
        keys, values = (self._for_rows(part, batch) for part in self._keys_and_values())
        if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2:
            visible = attention_mask.new_ones(batch, keys.shape[3])
            attention_mask = torch.cat([visible, attention_mask], dim=1)
        if position_ids is None:
            position_ids = torch.arange(seq, device=tokens.device).expand(batch, -1)
        return self.base_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids + self._first_position,
            inputs_embeds=inputs_embeds,
            past_key_values=prefix_cache(keys, values, grows=bool(use_cache)),
            use_cache=bool(use_cache),
            **options,
        )

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the base model's inputs for one step of `generate`, with the prefix before the first step.

        peft's own method counts the prefix in the positions of every model.
        """
        inputs: dict[str, Any] = self.base_model_prepare_inputs_for_generation(*args, **kwargs)
        cache = inputs.get("past_key_values")
        if cache is None or not cache.get_seq_length():
            tokens = inputs["input_ids"] if inputs.get("input_ids") is not None else inputs["inputs_embeds"]
            keys, values = (self._for_rows(part, len(tokens)) for part in self._keys_and_values())
            inputs["past_key_values"] = prefix_cache(keys, values, grows=bool(inputs.get("use_cache")))
        if (mask := inputs.get("attention_mask")) is not None:
            inputs["attention_mask"] = torch.cat([mask.new_ones(len(mask), self.prefix_length), mask], dim=1)
        inputs["position_ids"] = inputs["position_ids"] + self._first_position
        return inputs

    def chat(self, *args: Any, **kwargs: Any) -> Any:
        """Answer as the base model's own `chat` does, with the prefix."""
        return type(self.get_base_model()).chat(self, *args, **kwargs)

    def stream_chat(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: peft removes the prefix before the first token is sampled.

        Raises:
            ModelError: Always.
        """
        raise ModelError("stream_chat does not see a trained prefix. Use chat, or `papertune chat RUN`, which streams.")

    @property
    def prefix_length(self) -> int:
        """Number of virtual tokens of the prefix."""
        length: int = self.active_peft_config.num_virtual_tokens
        return length

    def begin_as_text(self, ids: Sequence[int]) -> None:
        """Let the prefix begin as the base model's own keys and values of a text.

        Args:
            ids: Token ids of the text, repeated or cut to the length of the prefix; at least one.
        """
        base, config = self.get_base_model(), self.active_peft_config
        start = text_prefix(base, ids, self.prefix_length, self._first_position)
        self.prompt_encoder[self.active_adapter] = TextPrefixEncoder(config, start).to(start.device)

    def prefix(self) -> Prefix:
        """Return a copy of the prefix as it is now, without dropout."""
        with torch.no_grad():
            keys, values = (part.clone() for part in self._keys_and_values())
        return Prefix(keys, values, self._first_position)

    def prepare_checkpointing(self) -> None:
        """Keep the prefix in layers whose activations are computed again.

        With checkpointing, transformers takes the cache away from each layer in training, since an ordinary cache
        would be written to twice. The model would then silently lose its prefix.

        Raises:
            ModelError: If the layers, or the installed transformers, allow no exception from that.
        """
        layers = [module for module in self.base_model.modules() if isinstance(module, GradientCheckpointingLayer)]
        if not layers or not hasattr(GradientCheckpointingLayer, "_can_checkpoint_with_cache"):
            raise ModelError(
                f"{type(self.base_model).__name__}: this model, or this version of transformers, takes the prefix away "
                "where activations are computed again. Set training.gradient_checkpointing = false."
            )
        for layer in layers:
            layer._can_checkpoint_with_cache = True

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:
        """Write the adapter without embeddings, about which peft would ask the hub."""
        super().save_pretrained(save_directory, **{**options, "save_embedding_layers": False})

    def save_encoder(self, folder: Path) -> None:
        """Write the prompt encoder; an adapter has only its result, from which a training cannot be resumed."""
        save_file(self.prompt_encoder.state_dict(), folder / ENCODER_FILE)

    def load_encoder(self, folder: Path) -> None:
        """Read what `save_encoder` wrote."""
        self.prompt_encoder.load_state_dict(load_file(folder / ENCODER_FILE))

    def _keys_and_values(self) -> tuple[Tensor, Tensor]:
        """Return keys and values, float32, shape (layers, heads, virtual, head_dim) each."""
        config = self.active_peft_config
        encoder = self.prompt_encoder[self.active_adapter]
        tokens = torch.arange(config.num_virtual_tokens, device=encoder.embedding.weight.device)
        # Not in autocast's dtype: the saved adapter is computed in float32 as well. "meta" has no autocast.
        kind = tokens.device.type
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            numbers = encoder(tokens)  # (virtual, layers * 2 * heads * head_dim)
        shape = (config.num_virtual_tokens, config.num_layers * 2, config.num_attention_heads, -1)
        both = numbers.view(shape).permute(1, 2, 0, 3)  # (layers * 2, heads, virtual, head_dim)
        return both[0::2], both[1::2]

    def _for_rows(self, part: Tensor, batch: int) -> Tensor:
        """Repeat keys or values for each row, (layers, batch, heads, virtual, head_dim), with dropout in training."""
        rows = part[:, None].expand(-1, batch, -1, -1, -1)
        return F.dropout(rows, self._dropout) if self.training and self._dropout else rows


def build_prefix(model: Any, length: int, *, projection: bool, dropout: float) -> PrefixTuned:
    """Put a new prefix before a model.

    Args:
        model: The base model.
        length: Number of virtual tokens.
        projection: Whether two linear layers compute the prefix in training.
        dropout: Dropout on the prefix in training.

    Raises:
        ModelError: If no prefix fits its layers.
    """
    config = _config(
        key_value_shape(model),
        length,
        prefix_projection=projection,
        encoder_hidden_size=model.config.get_text_config().hidden_size,
    )
    return PrefixTuned(model, config, dropout=dropout)


def load_prefix(
    model: Any, folder: Path, config: Mapping[str, Any], saved: Mapping[str, Tensor], *, trainable: bool
) -> PrefixTuned:
    """Put a saved prefix before a base model.

    Args:
        model: The base model.
        folder: Where the adapter is, for messages.
        config: Content of its adapter_config.json.
        saved: Its weights.
        trainable: Whether it is trained further.

    Raises:
        ModelError: If the prefix does not fit the model's layers.
        RunError: If configuration and weights contradict each other.
    """
    shape = key_value_shape(model)
    length, weights = config.get("num_virtual_tokens"), saved.get("prompt_embeddings")
    if not isinstance(length, int) or weights is None:
        missing = "prompt_embeddings" if weights is None else "num_virtual_tokens"
        raise RunError(f"{folder}: the adapter has no {missing}, so it is not a prefix. Fetch it again.")
    # Where a number is left out, peft takes the model's.
    heads = config.get("num_attention_heads") or shape.heads
    size = config.get("token_dim") or heads * shape.head_dim
    made_for = KeyValueShape(config.get("num_layers") or shape.layers, heads, size // heads)
    if made_for != shape:
        raise ModelError(
            f"{folder}: the adapter does not fit the base model: the prefix is for {made_for}, but the model has "
            f"{shape}. Name the model that it was trained on."
        )
    expected = (length, shape.layers * 2 * shape.heads * shape.head_dim)
    if tuple(weights.shape) != expected:
        raise RunError(
            f"{folder}: the adapter's prompt_embeddings have the shape {tuple(weights.shape)}, but its "
            f"adapter_config.json describes {expected}. Fetch it again."
        )
    adapted = PrefixTuned(model, _config(shape, length, inference_mode=True))
    with torch.no_grad():
        adapted.prompt_encoder[adapted.active_adapter].embedding.weight.copy_(weights)
    adapted.prompt_encoder.requires_grad_(trainable)
    adapted.eval()
    return adapted


def _config(shape: KeyValueShape, length: int, **options: Any) -> PrefixTuningConfig:
    return PrefixTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=length,
        num_layers=shape.layers,
        num_attention_heads=shape.heads,
        token_dim=shape.heads * shape.head_dim,
        num_transformer_submodules=1,
        **options,
    )
