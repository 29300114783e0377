"""How the tokenizer of a .gguf file splits text before it joins byte pairs (`tokenizer.ggml.pre`).

transformers' reader knows some of the names and silently takes GPT-2's splitting for all others, so a model would read
other tokens than it was trained on. The names are those of llama.cpp (`src/llama-vocab.cpp`).
"""

from pathlib import Path
from typing import Any

from papertune.errors import ModelError

# GPT-2's splitting, which transformers gives them.
_AS_GPT2 = frozenset(
    [
        *("gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0", "mellum"),
        *("modern-bert", "mpt", "olmo", "jais", "trillion"),
    ]
)
# The same after every digit is isolated.
_SINGLE_DIGITS = frozenset(["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"])


def mend_splitting(tokenizer: Any, gguf: Path) -> None:
    """Let a tokenizer that transformers has read from a .gguf file split text as the file says.

    Args:
        tokenizer: A fast tokenizer of transformers; changed.
        gguf: The file.

    Raises:
        ModelError: If the file names a splitting that neither transformers nor this module knows.
    """
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    kind, name = _field(gguf, "tokenizer.ggml.model"), _field(gguf, "tokenizer.ggml.pre")
    # Only byte-pair vocabularies are split first. Files from before the field existed say nothing.
    if kind != "gpt2" or name is None or name in _AS_GPT2 or name in GGUF_PRE_TOKENIZER_SPLITS:
        return
    if name not in _SINGLE_DIGITS:
        raise ModelError(
            f'{gguf}: its tokenizer splits text as "{name}" does, which is unknown here, so the model would read wrong '
            "tokens. Give the model as a folder with its tokenizer.json."
        )
    digits, pairs = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pairs])


def _field(gguf: Path, key: str) -> str | None:
    import gguf as package

    field = package.GGUFReader(gguf).get_field(key)
    return None if field is None else str(field.contents())
