"""Rewards of answers by a reward model."""

from collections.abc import Sequence

import torch

from papertune.decoding.engine import Engine

# Answers that go through the model together.
_MAX_ANSWERS = 64


def answer_rewards(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[Sequence[int]]],
    dtype: torch.dtype = torch.float32,
) -> list[list[float]]:
    """Return the rewards of answers to prompts; each prompt goes through the model once.

    Args:
        engine: Runs a model of `add_reward_head`.
        prompts: Token ids of the prompts.
        answers: Token ids of the answers to each prompt, with their end tokens; at least one to each.
        dtype: Number format of the products of a model in training; float32 leaves it to the weights.
    """
    found: list[list[float]] = []
    begin = 0
    while begin < len(prompts):
        end, together = begin + 1, len(answers[begin])
        while end < len(prompts) and together + len(answers[end]) <= _MAX_ANSWERS:
            together += len(answers[end])
            end += 1
        part = answers[begin:end]
        counts = torch.tensor([len(each) for each in part], device=engine.device)
        with torch.autocast(engine.device.type, dtype, enabled=dtype != torch.float32):
            state = engine.prefill(prompts[begin:end])
            state.select(torch.arange(len(part), device=engine.device).repeat_interleave(counts))
            engine.extend(state, [ids for each in part for ids in each])
        rewards = iter(state.last_logits[:, 0].tolist())
        found += [[next(rewards) for _ in each] for each in part]
        begin = end
    return found
