"""Answers drawn at random from the model's distribution.

The randomness comes in as numbers, so that an answer depends on its numbers and not on which other rows share its
batch: what a resumed prediction or training draws is what it would have drawn.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from papertune.decoding.answer import Answer
from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.greedy import Forbid, exclude


@torch.inference_mode()
def sample(
    engine: Engine,
    state: PromptState,
    uniforms: Tensor,
    *,
    temperature: float,
    end_ids: Collection[int],
    vocabulary: int | None = None,
    forbid: Forbid | None = None,
) -> list[Answer]:
    """Continue each prompt with tokens drawn from softmax(logits / temperature); finished rows leave the batch.

    Args:
        engine: Runs the model.
        state: The prompts; consumed.
        uniforms: Which quantile of its distribution each token is, from 0 to below 1, float64, shape (batch, tokens);
            an answer has at most as many tokens, its end included.
        temperature: Above 0; below 1 favours probable tokens.
        end_ids: Tokens that end an answer.
        vocabulary: Number of token ids of the tokenizer; ids from here on are never drawn. None: all ids of the model.
        forbid: Returns the tokens that must not come next in a row.

    Returns:
        The answers, with the model's own log-probabilities: at a temperature of 1, and as if nothing were forbidden.
    """
    answers: list[list[int]] = [[] for _ in range(len(state.lengths))]
    sums = [0.0] * len(answers)
    ended = [False] * len(answers)
    active = list(range(len(answers)))
    ends = torch.tensor(sorted(end_ids), device=engine.device)
    for step in range(uniforms.shape[1]):
        logits = state.last_logits[:, :vocabulary].to(torch.float32, copy=True)  # a fork may share them
        forbidden = [forbid(answers[row]) if forbid else () for row in active]
        for index, ids in enumerate(forbidden):
            exclude(ids, logits[index])
        chosen = draw(logits, uniforms[active, step], temperature)
        logs = state.last_logits.float().log_softmax(dim=-1)
        of_tokens = logs.gather(1, chosen[:, None])[:, 0].tolist()
        of_ends = logs[:, ends].logsumexp(dim=-1).tolist()
        kept: list[int] = []
        for index, (row, token) in enumerate(zip(active, chosen.tolist(), strict=True)):
            ended[row] = token in end_ids or forbidden[index] is None
            sums[row] += of_ends[index] if ended[row] else of_tokens[index]
            if not ended[row]:
                answers[row].append(token)
                kept.append(index)
        if not kept or step + 1 == uniforms.shape[1]:
            break
        active = [active[index] for index in kept]
        if len(kept) < len(state.lengths):
            state.select(torch.tensor(kept, device=engine.device))
        engine.extend(state, [[answers[row][-1]] for row in active])
    return [Answer(tuple(ids), *rest) for ids, rest in zip(answers, zip(sums, ended, strict=True), strict=True)]


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
