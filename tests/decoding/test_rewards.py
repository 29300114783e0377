"""Rewards of answers by a reward model."""

import pytest
import torch

from papertune.decoding.engine import Engine
from papertune.decoding.scoring import rewards as module
from papertune.decoding.scoring.rewards import answer_rewards
from papertune.models.reward_head import add_reward_head

PROMPTS = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]
ANSWERS = [[[20, 21, 2], [2]], [[22, 2]], [[23, 24, 25, 26, 2], [27, 2], [28, 29, 2]]]


@pytest.mark.parametrize("together", [64, 2])
def test_rewards_of_a_batch_are_those_of_each_text_alone(own_tiny_model, monkeypatch, together):
    monkeypatch.setattr(module, "_MAX_ANSWERS", together)
    torch.nn.init.normal_(add_reward_head(own_tiny_model).weight)
    found = answer_rewards(Engine(own_tiny_model), PROMPTS, ANSWERS)
    for prompt, answers, rewards in zip(PROMPTS, ANSWERS, found, strict=True):
        alone = [float(own_tiny_model(torch.tensor([[*prompt, *ids]])).logits[0, -1, 0].detach()) for ids in answers]
        assert rewards == pytest.approx(alone, abs=1e-4)
