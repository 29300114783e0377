"""Which rows go through the model together."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.inference.gpu_memory import MAX_TOKENS
from papertune.prompts import Batches, EncodedPrompt, PromptEncoder, sorted_token_batches
from papertune.prompts.examples import Prompt, RowReader

# Shorter prompts count as this many tokens when the rows of a batch are limited.
MIN_PROMPT_TOKENS = 128
# Rows of a batch that no model reads: finished in a second, also by a sentence encoder.
DOCUMENT_ROWS = 32
# Rows whose prompts are encoded together: enough for all cores, and small beside a batch.
_ENCODE_ROWS = 64

# The questions of a row: for each the prompt and its ids.
RowPrompts = dict[str, tuple[Prompt, EncodedPrompt]]


@dataclass(frozen=True)
class Plan:
    """Which rows go through the model together. It depends only on the table, the recipe and the token budget.

    Attributes:
        batches: Row indices, batch by batch, longest rows first.
        tokens: Prompt tokens of each batch, int64, shape (batches,).
        truncated: Rows whose document is too long for the prompt, in the order of the planned rows.
        max_prompt_tokens: The limit at which prompts are truncated; 0: no model reads them.
    """

    batches: Batches
    tokens: NDArray[np.int64]
    truncated: Sequence[int]
    max_prompt_tokens: int = 0


def batch_tokens(device: str) -> int:
    """Return the default maximum of padded prompt tokens in a batch.

    It is the same for all GPUs, so that a prediction can be resumed on another one. A GPU with less memory answers a
    batch in several parts.

    Args:
        device: Such as "cpu" or "cuda:1".
    """
    return 4096 if device == "cpu" else MAX_TOKENS


def encode_rows(encoder: PromptEncoder, reader: RowReader, rows: Sequence[int]) -> list[RowPrompts]:
    """Encode the questions of some rows.

    Raises:
        RecipeError: If a question alone is too long.
    """
    asked = [{name: reader.prompt(row, name) for name in reader.asked(row)} for row in rows]
    encoded = iter(encoder.encode_many([prompt for row in asked for prompt in row.values()]))
    return [{name: (prompt, next(encoded)) for name, prompt in row.items()} for row in asked]


def document_plan(rows: Sequence[int]) -> Plan:
    """Put rows into batches of equal size, in table order, where no model reads them."""
    starts = np.append(np.arange(0, len(rows), DOCUMENT_ROWS), len(rows)).astype(np.int64)
    batches = Batches(np.asarray(rows, dtype=np.int64), starts)
    return Plan(batches, np.diff(starts), [])


def make_plan(
    encoder: PromptEncoder,
    reader: RowReader,
    rows: Sequence[int],
    max_batch_tokens: int,
) -> Plan:
    """Measure all prompts and put them into batches.

    Args:
        encoder: Encodes prompts.
        reader: Reads the rows.
        rows: Indices of the rows.
        max_batch_tokens: Maximum number of padded prompt tokens in a batch.

    Raises:
        RecipeError: If a question alone is too long.
    """
    lengths = np.zeros(len(rows), dtype=np.int64)
    truncated = array("q")
    for begin in range(0, len(rows), _ENCODE_ROWS):
        part = rows[begin : begin + _ENCODE_ROWS]
        for done, (row, asked) in enumerate(zip(part, encode_rows(encoder, reader, part), strict=True), start=begin):
            encoded = [prompt for _, prompt in asked.values()]
            lengths[done] = max((len(prompt.ids) for prompt in encoded), default=0)
            if any(prompt.truncated for prompt in encoded):
                truncated.append(row)
    batches = sorted_token_batches(lengths, max_batch_tokens, max_rows=max_batch_tokens // MIN_PROMPT_TOKENS)
    tokens = np.add.reduceat(lengths[batches.rows], batches.starts[:-1])
    planned = Batches(np.asarray(rows, dtype=np.int64)[batches.rows], batches.starts)
    return Plan(planned, tokens, truncated, encoder.max_prompt_tokens)
