"""ChatGLM2 (Du et al. 2022, arXiv:2103.10360; Zeng et al. 2022, arXiv:2210.02414) as an ordinary transformers model.

Written from a description of the architecture. Modules have the names of the published weights:

    ChatGLMForConditionalGeneration
      transformer                     ChatGLMModel
        embedding.word_embeddings
        encoder.layers.0 ... n-1      GLMBlock: input_layernorm, self_attention, post_attention_layernorm, mlp
        encoder.final_layernorm
        output_layer

It is a decoder with causal attention throughout, although some names suggest otherwise.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from papertune.models.chatglm2.chat import ChatMixin
from papertune.models.chatglm2.configuration import ChatGLMConfig
from papertune.models.chatglm2.layers import ChatGLMAttention, ChatGLMRMSNorm, GLMBlock
from papertune.models.chatglm2.rotary import rotary_table


class ChatGLMPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """What transformers needs to know about both classes."""

    config_class = ChatGLMConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["GLMBlock"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs: ClassVar[dict[str, Any]] = {"hidden_states": GLMBlock, "attentions": ChatGLMAttention}
    # The published weights contain the rotary frequencies in half precision. They are computed instead.
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"rotary_pos_emb\.inv_freq$"]


class ChatGLMEmbedding(nn.Module):
    """Turns each token into its first hidden state."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.padded_vocab_size, config.hidden_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the hidden states, shape (batch, seq, hidden)."""
        states: Tensor = self.word_embeddings(input_ids)
        return states


class ChatGLMBlocks(nn.Module):
    """All layers, and the norm after them."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GLMBlock(config, index) for index in range(config.num_layers))
        if config.post_layer_norm:
            self.final_layernorm = ChatGLMRMSNorm(config.hidden_size, config.layernorm_epsilon)
        self._has_norm = config.post_layer_norm

    def forward(self, hidden_states: Tensor, **options: Any) -> Tensor:
        """Run hidden states through all layers, shape (batch, seq, hidden)."""
        for layer in self.layers:
            hidden_states = layer(hidden_states, **options)
        return self.final_layernorm(hidden_states) if self._has_norm else hidden_states


class ChatGLMModel(ChatGLMPreTrainedModel):
    """ChatGLM2 up to the hidden states before the output layer, which it contains only because of the weights' names.

    With `output_hidden_states` the last hidden state is the one before the final norm, as in the original.
    """

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        config.check()  # again: `from_pretrained` sets its arguments after the configuration was created
        self.embedding = ChatGLMEmbedding(config)
        self.encoder = ChatGLMBlocks(config)
        self.output_layer = nn.Linear(config.hidden_size, config.padded_vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embedding."""
        return self.embedding.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.embedding.word_embeddings = value

    @merge_with_config_defaults  # type: ignore[untyped-decorator, unused-ignore]
    @capture_outputs(tie_last_hidden_states=False)  # type: ignore[untyped-decorator, unused-ignore]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Any,
    ) -> Any:
        """Run tokens through all layers.

        Args:
            input_ids: int64, shape (batch, seq).
            attention_mask: Which tokens, including cached ones, are real, shape (batch, cached + seq); or which token
                sees which, in the form that the attention function expects, shape (batch, 1, seq, cached + seq).
            position_ids: int64, shape (batch, seq); None continues from the cache's length.
            past_key_values: A transformers cache.
            inputs_embeds: Instead of `input_ids`, shape (batch, seq, hidden).
            use_cache: Keep the tokens' keys and values.
            options: For the attention function.

        Returns:
            The last hidden states, after the final norm, and the cache.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is passed.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass either input_ids or inputs_embeds.")
        states = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            seen = 0 if past_key_values is None else past_key_values.get_seq_length()
            position_ids = (torch.arange(states.shape[1], device=states.device) + seen)[None]
        # The mask and the attention functions do not get the positions: transformers would interpret gaps in them as
        # several texts packed into one row.
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=states,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
        )
        dtype = states.dtype if self.config.rotary_in_weight_dtype else torch.float32
        states = self.encoder(
            states,
            attention_mask=mask,
            position_embeddings=rotary_table(position_ids, self.config.kv_channels // 2, dtype),
            past_key_values=past_key_values,
            use_cache=use_cache,
            **options,
        )
        return BaseModelOutputWithPast(last_hidden_state=states, past_key_values=past_key_values)


class ChatGLMForConditionalGeneration(ChatMixin, ChatGLMPreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """ChatGLM2 as a causal language model, with its published name."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "transformer.output_layer.weight": "transformer.embedding.word_embeddings.weight"
    }
    # P-Tuning v2: positions of the text start at 0 after a trained prefix, and the prefix is not rotated.
    prefix_takes_positions = False

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.transformer = ChatGLMModel(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embedding."""
        return self.transformer.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.transformer.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """Return the output layer."""
        return self.transformer.output_layer

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Replace the output layer."""
        self.transformer.output_layer = value

    @can_return_tuple  # type: ignore[untyped-decorator, unused-ignore]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **options: Any,
    ) -> Any:
        """Run tokens through the model.

        Args:
            input_ids: int64, shape (batch, seq).
            attention_mask: As for `ChatGLMModel`.
            position_ids: int64, shape (batch, seq); None continues from the cache's length.
            past_key_values: A transformers cache.
            inputs_embeds: Instead of `input_ids`, shape (batch, seq, hidden).
            labels: Aligned with the input, -100 outside the targets, int64, shape (batch, seq).
            use_cache: Keep the tokens' keys and values.
            logits_to_keep: Number of tokens at the end whose logits are computed, 0 for all; or indices of tokens.
            options: For the attention function and the loss.

        Returns:
            Logits, shape (batch, kept, vocab), the loss if there are labels, and the cache.
        """
        output = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **options,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.transformer.output_layer(output.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.padded_vocab_size, **options)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
