"""The configuration of ChatGLM2, with the names of the published config.json."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class ChatGLMConfig(PreTrainedConfig):  # type: ignore[misc]
    """The architecture of a ChatGLM2; the defaults are those of ChatGLM2-6B.

    The names are the published ones. The usual names of transformers (`num_hidden_layers`, `vocab_size`, `head_dim`,
    ...) also work. Settings that only concern how the original computes (`apply_query_key_layer_scaling`,
    `attention_softmax_in_fp32`, `bias_dropout_fusion`, `original_rope`) are kept and have no effect.

    Attributes:
        padded_vocab_size: Rows of the embedding and of the output layer; a few more than there are tokens.
        hidden_size: Size of a hidden state.
        ffn_hidden_size: Inner size of an MLP.
        num_layers: Number of blocks.
        num_attention_heads: Query heads of a block.
        kv_channels: Size of a head; half of it is rotated by the position.
        multi_query_attention: Whether several query heads share a key-value head.
        multi_query_group_num: Key-value heads with `multi_query_attention`.
        seq_length: Length of the longest text that the model was trained for, in tokens.
        layernorm_epsilon: Added to the mean square in a norm.
        post_layer_norm: Whether there is a norm between the last block and the output layer.
        apply_residual_connection_post_layernorm: Whether a block adds to its normed input instead of its input.
        add_bias_linear: Whether all linear layers except the output layer have a bias.
        add_qkv_bias: Whether the projection to queries, keys and values has a bias even without `add_bias_linear`.
        hidden_dropout: Dropout rate of a block's output in training.
        attention_dropout: Dropout rate of the attention weights in training.
        rotary_in_weight_dtype: Compute the rotary table in the dtype of the weights, as the original does: coarse in
            half precision. Otherwise it is computed in float32.
        initializer_range: Standard deviation of new weights.

    Raises:
        ValueError: If settings contradict each other or are not supported.
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
    # AutoTokenizer uses this for a folder without a tokenizer_config.json.
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
        """Check the settings, and drop the reference to remote code."""
        # It names the remote code that this class replaces. A saved model has no such files.
        kwargs.pop("auto_map", None)
        super().__post_init__(**kwargs)
        self.check()

    def check(self) -> None:
        """Check that settings fit together and are supported.

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
        """Return what does not fit or is not supported, with a remedy; None if all is well."""
        groups = self.num_key_value_heads
        if groups < 1 or self.num_attention_heads % groups:
            return (
                f"num_attention_heads = {self.num_attention_heads} is not a multiple of multi_query_group_num = "
                f"{groups}. Correct it, or download config.json again."
            )
        if self.kv_channels % 4:
            return (
                f"kv_channels = {self.kv_channels} is not a multiple of 4, but half of a head is rotated in pairs. "
                "Correct it, or download config.json again."
            )
        if not self.rmsnorm:
            return "rmsnorm = false is not supported; no published ChatGLM2 has other norms."
        if self.fp32_residual_connection:
            return "fp32_residual_connection = true is not supported. Load the model in float32 instead."
        if self.quantization_bit:
            return (
                f"quantization_bit = {self.quantization_bit}: weights in the original's own quantization are not "
                "supported. Download the model that is not quantized."
            )
        if self.pre_seq_len:
            return (
                f"pre_seq_len = {self.pre_seq_len}: the trained prefix is not part of this model. Set it to null; "
                "`papertune adopt` reads a checkpoint of the prefix."
            )
        return None
