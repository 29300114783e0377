"""Answers drawn at random from the model's distribution.

The randomness comes in as numbers, so that an answer depends on its numbers and not on which other rows share its
batch: what a resumed prediction or training draws is what it would have drawn.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from papertune.decoding.engine import Engine, PromptState


@torch.inference_mode()
def sample(
    engine: Engine,
    state: PromptState,
    uniforms: Tensor,
    *,
    temperature: float,
    end_ids: Collection[int],
    vocabulary: int | None = None,
) -> list[list[int]]:
    """Continue each prompt with tokens drawn from softmax(logits / temperature); finished rows leave the batch.

    Args:
        engine: Runs the model.
        state: The prompts; consumed.
        uniforms: Which quantile of its distribution each token is, from 0 to below 1, float64, shape (batch, tokens);
            an answer has at most as many tokens.
        temperature: Above 0; below 1 favours probable tokens.
        end_ids: Tokens that end an answer.
        vocabulary: Number of token ids of the tokenizer; ids from here on are never drawn. None: all ids of the model.

    Returns:
        Token ids of each row's answer; the last one is an end token unless the answer was cut off.
    """
    answers: list[list[int]] = [[] for _ in range(len(state.lengths))]
    active = list(range(len(answers)))
    for step in range(uniforms.shape[1]):
        tokens = draw(state.last_logits[:, :vocabulary], uniforms[active, step], temperature).tolist()
        for row, token in zip(active, tokens, strict=True):
            answers[row].append(token)
        kept = [index for index, token in enumerate(tokens) if token not in end_ids]
        if not kept or step + 1 == uniforms.shape[1]:
            break
        if len(kept) < len(active):
            state.select(torch.tensor(kept, device=engine.device))
            active = [active[index] for index in kept]
        engine.extend(state, [[tokens[index]] for index in kept])
    return answers


def draw(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """Return the token at a quantile of each row's distribution.

    Args:
        logits: float, shape (batch, vocab).
        uniforms: float64, shape (batch,).
        temperature: Above 0.

    Returns:
        Token ids, int64, shape (batch,).
    """
    sums = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    # The last sum is 1 only up to rounding.
    wanted = uniforms.to(sums.device)[:, None] * sums[:, -1:]
    return torch.searchsorted(sums, wanted, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def row_uniforms(seed: int, rows: Sequence[int], samples: int, tokens: int) -> Tensor:
    """Return the random numbers for some rows of a table, which depend on the seed and the row's index only.

    Returns:
        float64, shape (rows x samples, tokens); the samples of a row are neighbours.
    """
    import numpy as np

    parts = [np.random.default_rng([seed, row]).random((samples, tokens)) for row in rows]
    return torch.from_numpy(np.concatenate(parts))
