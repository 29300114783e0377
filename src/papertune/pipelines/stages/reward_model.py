"""Reward models: from pairs to a run with an adapter and a head."""

from collections.abc import Sequence
from typing import Any

import torch

from papertune.decoding.engine import Engine
from papertune.decoding.scoring.rewards import answer_rewards
from papertune.models.reward_head import add_reward_head, save_reward_head
from papertune.pipelines.stages.feedback import (
    open_start,
    outcome_of,
    read_entries,
    train_learner,
    warn_of_length,
)
from papertune.pipelines.stages.job import StageJob
from papertune.preferences import read_pairs
from papertune.stages import StageOutcome
from papertune.training.feedback import EncodedPair, encode_pairs, pair_measures
from papertune.training.trainer import FitSettings


def train_reward_model(job: StageJob) -> StageOutcome:
    """Train a reward model on pairs; dev pairs choose its checkpoint."""
    from papertune.training.feedback.reward import reward_trainer

    pairs, dev = read_entries(job, read_pairs)
    learner = open_start(job)
    encoded, too_long = encode_pairs(pairs, job.recipe, learner.encoder)
    dev_encoded, dev_too_long = encode_pairs(dev, job.recipe, learner.encoder)
    warn_of_length([too_long, dev_too_long], job)
    add_reward_head(learner.model)

    def make(settings: FitSettings, callbacks: list[Any]) -> Any:
        return reward_trainer(learner.model, learner.own_tokenizer, encoded, settings, callbacks)

    def measure(model: Any) -> dict[str, float]:
        return pair_measures(reward_margins(Engine(model), dev_encoded, learner.dtype))

    examples = f"{len(encoded):,} pairs"
    result, seconds = train_learner(job, learner, make, examples, measure if dev else None)
    save_reward_head(learner.model, job.directory.adapter)
    return outcome_of(learner, result, seconds, len(encoded), measure(learner.model) if dev else {})


def reward_margins(engine: Engine, pairs: Sequence[EncodedPair], dtype: torch.dtype = torch.float32) -> list[float]:
    """Return the reward of the better answer of each pair minus that of the other one."""
    rewards = answer_rewards(engine, [pair.prompt for pair in pairs], [[p.chosen, p.rejected] for p in pairs], dtype)
    return [chosen - rejected for chosen, rejected in rewards]
