"""The configuration of ChatGLM2, under the names of the published config.json."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class ChatGLMConfig(PreTrainedConfig):  # type: ignore[misc]
    """What a ChatGLM2 is built of; the defaults are those of ChatGLM2-6B.

    The names are the published ones. The usual names of transformers (`num_hidden_layers`, `vocab_size`, `head_dim`,
    ...) work as well. What only said how the original was to compute (`apply_query_key_layer_scaling`,
    `attention_softmax_in_fp32`, `bias_dropout_fusion`, `original_rope`) is kept when it is there, and has no effect.

    Attributes:
        padded_vocab_size: Rows of the embedding and of the output layer; a few more than there are tokens.
        hidden_size: Numbers of a hidden state.
        ffn_hidden_size: Numbers inside an MLP.
        num_layers: Blocks.
        num_attention_heads: Query heads of a block.
        kv_channels: Numbers of a head; half of them are rotated by the position.
        multi_query_attention: Whether several query heads share a key-value head.
        multi_query_group_num: Key-value heads, if so.
        seq_length: Longest text that the model was trained for, in tokens.
        layernorm_epsilon: Added to the mean square in a norm.
        post_layer_norm: Whether there is a norm between the last block and the output layer.
        apply_residual_connection_post_layernorm: Whether a block adds to its normed input instead of its input.
        add_bias_linear: Whether all linear layers but the output layer have a bias.
        add_qkv_bias: Whether the projection to queries, keys and values has one all the same.
        hidden_dropout: Share of what a block adds that is dropped in training.
        attention_dropout: Share of the attention weights that are dropped in training.
        rotary_in_weight_dtype: Compute the rotary table in the dtype of the weights, as the original does: coarse in
            half precision. Otherwise it is computed in float32.
        initializer_range: Standard deviation of new weights.

    Raises:
        ValueError: If the numbers do not fit together, or ask for what is not supported.
    """

    model_type: ClassVar[str] = "chatglm"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "num_hidden_layers": "num_layers",
        "vocab_size": "padded_vocab_size",
        "intermediate_size": "ffn_hidden_size",
        "head_dim": "kv_channels",
        "max_position_embeddings": "seq_length",
        "rms_norm_eps": "layernorm_epsilon",
    }
    # Where a folder has no tokenizer_config.json, AutoTokenizer asks here.
    tokenizer_class: ClassVar[str] = "ChatGLMTokenizer"

    padded_vocab_size: int = 65024
    hidden_size: int = 4096
    ffn_hidden_size: int = 13696
    num_layers: int = 28
    num_attention_heads: int = 32
    kv_channels: int = 128
    multi_query_attention: bool = True
    multi_query_group_num: int = 2
    seq_length: int = 32768
    layernorm_epsilon: float = 1e-5
    rmsnorm: bool = True
    post_layer_norm: bool = True
    apply_residual_connection_post_layernorm: bool = False
    fp32_residual_connection: bool = False
    add_bias_linear: bool = False
    add_qkv_bias: bool = True
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    rotary_in_weight_dtype: bool = False
    initializer_range: float = 0.02
    use_cache: bool = True
    tie_word_embeddings: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 2
    pad_token_id: int | None = 0
    pre_seq_len: int | None = None
    quantization_bit: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Check what transformers does not, and take what is left of an older version's file."""
        # It names the remote code that this class stands in for. A saved model has no such files.
        kwargs.pop("auto_map", None)
        super().__post_init__(**kwargs)
        self.check()

    def check(self) -> None:
        """Check that the numbers fit together and ask for nothing that is not supported.

        Raises:
            ValueError: If not; the message says what to do.
        """
        if problem := self._problem():
            raise ValueError(f"config.json: {problem}")

    @property
    def num_key_value_heads(self) -> int:
        """Key-value heads of a block."""
        return self.multi_query_group_num if self.multi_query_attention else self.num_attention_heads

    def _problem(self) -> str | None:
        """Say what does not fit or is not supported, and what to do."""
        groups = self.num_key_value_heads
        if groups < 1 or self.num_attention_heads % groups:
            return (
                f"num_attention_heads = {self.num_attention_heads} is no multiple of multi_query_group_num = {groups}. "
                "Correct it, or fetch config.json again."
            )
        if self.kv_channels % 4:
            return (
                f"kv_channels = {self.kv_channels} is no multiple of 4, and half of a head is rotated in pairs. "
                "Correct it, or fetch config.json again."
            )
        if not self.rmsnorm:
            return "rmsnorm = false is not supported; no published ChatGLM2 has other norms."
        if self.fp32_residual_connection:
            return "fp32_residual_connection = true is not supported. Load the model in float32 instead."
        if self.quantization_bit:
            return (
                f"quantization_bit = {self.quantization_bit}: weights in the original's own quantization are not "
                "supported. Fetch the model that is not quantized."
            )
        if self.pre_seq_len:
            return (
                f"pre_seq_len = {self.pre_seq_len}: the learnt prefix is no part of this model. Set it to null; "
                "`papertune adopt` reads a checkpoint of the prefix, and puts it before the model."
            )
        return None
