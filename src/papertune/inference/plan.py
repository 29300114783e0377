"""Which rows go through the model together."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.inference.gpu_memory import MOST_TOKENS
from papertune.prompts import Batches, EncodedPrompt, PromptEncoder, sorted_token_batches
from papertune.prompts.examples import Prompt, RowReader

# Prompts of fewer tokens than this do not make a batch of more rows.
LEAST_PROMPT = 128
# Rows whose prompts are encoded together: enough for all cores, and little beside a batch.
_ENCODED_TOGETHER = 64

# What a row asks, by question: the prompt, and its ids.
RowPrompts = dict[str, tuple[Prompt, EncodedPrompt]]


@dataclass(frozen=True)
class Plan:
    """Which rows go through the model together. It depends on the table, the recipe and the budget alone.

    Attributes:
        batches: Row indices, batch by batch, longest rows first.
        tokens: Prompt tokens of each batch, int64, shape (batches,).
        shortened: Rows whose document is too long for the prompt, ascending if the planned rows are.
    """

    batches: Batches
    tokens: NDArray[np.int64]
    shortened: Sequence[int]


def batch_tokens(device: str) -> int:
    """Give how many padded prompt tokens a batch may have where nobody has said it.

    It is the same for all GPUs, so that a prediction can go on on another one. One with less memory answers a batch in
    several parts.

    Args:
        device: Such as "cpu" or "cuda:1".
    """
    return 4096 if device == "cpu" else MOST_TOKENS


def encode_rows(encoder: PromptEncoder, reader: RowReader, rows: Sequence[int]) -> list[RowPrompts]:
    """Encode what each of some rows asks.

    Raises:
        RecipeError: If a question alone is too long.
    """
    asked = [{name: reader.prompt(row, name) for name in reader.asked(row)} for row in rows]
    encoded = iter(encoder.encode_many([prompt for row in asked for prompt in row.values()]))
    return [{name: (prompt, next(encoded)) for name, prompt in row.items()} for row in asked]


def make_plan(
    encoder: PromptEncoder,
    reader: RowReader,
    rows: Sequence[int],
    max_batch_tokens: int,
) -> Plan:
    """Measure all prompts and put them into batches.

    Args:
        encoder: Says how long a prompt is.
        reader: Reads the rows.
        rows: Which ones.
        max_batch_tokens: Padded prompt tokens in a batch.

    Raises:
        RecipeError: If a question alone is too long.
    """
    lengths = np.zeros(len(rows), dtype=np.int64)
    shortened = array("q")
    for begin in range(0, len(rows), _ENCODED_TOGETHER):
        part = rows[begin : begin + _ENCODED_TOGETHER]
        for done, (row, asked) in enumerate(zip(part, encode_rows(encoder, reader, part), strict=True), start=begin):
            encoded = [prompt for _, prompt in asked.values()]
            lengths[done] = max((len(prompt.ids) for prompt in encoded), default=0)
            if any(prompt.truncated for prompt in encoded):
                shortened.append(row)
    cut = sorted_token_batches(lengths, max_batch_tokens, max_rows=max_batch_tokens // LEAST_PROMPT)
    tokens = np.add.reduceat(lengths[cut.rows], cut.starts[:-1])
    return Plan(Batches(np.asarray(rows, dtype=np.int64)[cut.rows], cut.starts), tokens, shortened)
