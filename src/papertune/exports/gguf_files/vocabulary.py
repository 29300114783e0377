"""The vocabulary of a tokenizer as llama.cpp reads it.

llama.cpp computes tokens itself, from the vocabulary, the merges and the name of a rule that splits text before
(`tokenizer.ggml.pre`). The rule is found by what the tokenizer does, never by the model's name: a wrong one gives other
tokens for some texts only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from papertune.errors import ModelError
from papertune.exports.gguf_files.architecture import ELSEWHERE

# Kinds of tokens in llama.cpp. A control token is matched in a template, never in text.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

# Rules of llama.cpp that take a vocabulary's whole words before they merge pairs.
_IGNORING_MERGES = frozenset(["llama-bpe"])


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary.

    Attributes:
        model: How llama.cpp computes tokens: "gpt2" (byte pairs) or "llama" (SentencePiece).
        splitting: The rule that splits text first.
        tokens: The tokens, in the order of their ids.
        kinds: The kind of each.
        merges: The merges, the first one first; empty for SentencePiece.
        scores: The score of each token; empty for byte pairs.
        space_before: Whether a blank is put before a text.
    """

    model: str
    splitting: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    scores: list[float]
    space_before: bool


def vocabulary_of(tokenizer: Any, size: int) -> Vocabulary:
    """Return the vocabulary of a tokenizer.

    Args:
        tokenizer: A transformers tokenizer.
        size: Rows of the model's embedding; ids without a token get an unused one.

    Raises:
        ModelError: If llama.cpp does not compute such tokens.
    """
    if hasattr(tokenizer, "sentencepiece"):
        return _of_sentencepiece(tokenizer, size)
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelError(f"{type(tokenizer).__name__} cannot be written into a .gguf file. {ELSEWHERE}.")
    return _of_byte_pairs(json.loads(tokenizer.backend_tokenizer.to_str()), size)


def _of_byte_pairs(content: Mapping[str, Any], size: int) -> Vocabulary:
    """Return the vocabulary of a tokenizer.json."""
    model = content["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        kind = "BPE with byte_fallback" if model["type"] == "BPE" else model["type"]
        raise ModelError(f"a tokenizer of type {kind} cannot be written into a .gguf file. {ELSEWHERE}.")
    splitting = _splitting(content)
    if bool(model.get("ignore_merges")) != (splitting in _IGNORING_MERGES):
        raise ModelError(f"the tokenizer merges pairs as no rule of llama.cpp does. {ELSEWHERE}.")
    tokens = {int(number): token for token, number in model["vocab"].items()}
    kinds = dict.fromkeys(tokens, _NORMAL)
    for added in content["added_tokens"]:
        tokens[added["id"]] = added["content"]
        # papertune matches none of them in text, but those that are only blanks.
        kinds[added["id"]] = _USER_DEFINED if added["content"].isspace() else _CONTROL
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    return Vocabulary("gpt2", splitting, *_padded(tokens, kinds, size), merges, [], space_before=False)


def _splitting(content: Mapping[str, Any]) -> str:
    """Return llama.cpp's name of how a tokenizer.json splits text.

    Raises:
        ModelError: If it has no such rule.
    """
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    before = content["pre_tokenizer"] or {}
    steps = before["pretokenizers"] if before.get("type") == "Sequence" else [before]
    *first, last = [{key: value for key, value in step.items() if key != "trim_offsets"} for step in steps]
    pairs = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    if content["normalizer"] is None or content["normalizer"] == {"type": "NFC"}:
        if last == pairs and first in ([], [digits]):
            return "smollm" if first else "gpt-2"
        for name in ("llama-bpe", "qwen2"):
            pattern = {"Regex": GGUF_PRE_TOKENIZER_SPLITS[name]}
            split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
            if first == [split] and last == {**pairs, "use_regex": False}:
                return name
    raise ModelError(f"the tokenizer splits text as no rule does that is known here for .gguf files. {ELSEWHERE}.")


def _of_sentencepiece(tokenizer: Any, size: int) -> Vocabulary:
    """Return the vocabulary of a ChatGLM2: the pieces of its SentencePiece model, then its special tokens."""
    pieces = tokenizer.sentencepiece
    count = pieces.get_piece_size()
    tokens = {number: pieces.id_to_piece(number) for number in range(count)}
    kinds = {
        number: next((kind for kind, belongs in tests.items() if belongs), _NORMAL)
        for number in range(count)
        for tests in [
            {
                _UNKNOWN: pieces.is_unknown(number),
                _CONTROL: pieces.is_control(number),
                _BYTE: pieces.is_byte(number),
                _UNUSED: pieces.is_unused(number),
            }
        ]
    }
    for number in range(count, len(tokenizer)):
        tokens[number], kinds[number] = tokenizer.convert_ids_to_tokens(number), _CONTROL
    scores = [pieces.get_score(number) for number in range(count)] + [0.0] * (size - count)
    space = str(pieces.id_to_piece(pieces.encode("a")[0])).startswith("\u2581")
    return Vocabulary("llama", "default", *_padded(tokens, kinds, size), [], scores, space_before=space)


def _padded(tokens: Mapping[int, str], kinds: Mapping[int, int], size: int) -> tuple[list[str], list[int]]:
    """Return tokens and kinds for all ids below a size."""
    if (last := max(tokens)) >= size:
        raise ModelError(f"the tokenizer has a token with id {last}, but the model has only {size:,}. {ELSEWHERE}.")
    numbers = range(size)
    return [tokens.get(n, f"[PAD{n}]") for n in numbers], [kinds.get(n, _UNUSED) for n in numbers]
