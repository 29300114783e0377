"""Reinforcement learning: the model answers prompts and learns from the rewards of its answers.

TRL's loop, with this package's sampling: TRL would run the whole prompt again for each answer to it. A step learns from
`micro_batch_size x accumulation` prompts, and a pass has the answers to one prompt, since activations of more would
not fit into a small memory. What is drawn in a step depends on the seed and the number of the step only, so a resumed
training draws the same answers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from papertune.decoding.answer import Answer
from papertune.decoding.engine import Engine
from papertune.decoding.greedy import answer_ends
from papertune.decoding.sampling import row_uniforms, sample
from papertune.training.arguments import OnModelDevice
from papertune.training.feedback.bridge import FeedbackTrainer, trl_values
from papertune.training.trainer import FitSettings

# Answers that are drawn together.
_MAX_ANSWERS = 64

# Returns the rewards of answers: numbers of the prompts, texts of the answers, and the number of the step.
Reward = Callable[[Sequence[int], Sequence[str], int], Sequence[float]]


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        generations: Answers to a prompt.
        beta: Weight of the divergence from the start.
        temperature: Of the answers.
        max_new_tokens: Maximum tokens of an answer.
    """

    generations: int
    beta: float
    temperature: float
    max_new_tokens: int


class PromptSampler(Sampler[int]):
    """The order of prompts: each epoch has its own, which depends on the seed and the epoch only.

    TRL's own sampler leaves out the prompts of an incomplete last step, and a resumed training would begin each epoch
    with the order of the first. Here prompts from the beginning of the order complete the last step.

    Args:
        prompts: Number of prompts.
        generations: Answers to a prompt, which is repeated so often.
        step: Prompts in a step.
        passes: Passes in a step; TRL reads all prompts of a step once for each pass.
        seed: Seed of the order.
    """

    def __init__(self, prompts: int, generations: int, step: int, passes: int, seed: int) -> None:
        self._prompts = prompts
        self._generations = generations
        self._step = step
        self._passes = passes
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(self._prompts, generator=generator).tolist()
        for begin in range(0, self._prompts, self._step):
            numbers = [order[place % self._prompts] for place in range(begin, begin + self._step)]
            for _ in range(self._passes):
                yield from (number for number in numbers for _ in range(self._generations))

    def __len__(self) -> int:
        steps = -(-self._prompts // self._step)
        return steps * self._step * self._passes * self._generations


class _SamplingTrainer(FeedbackTrainer):
    """What the trainers of RLOO and GRPO have in common."""

    numbers = {  # noqa: RUF012
        "reward": "reward",
        "reward_std": "reward_std",
        "kl": "kl",
        "completions/mean_length": "length",
        "completions/clipped_ratio": "cut_off",
        "no_spread": "no_spread",
    }

    # Of TRL's trainers.
    accelerator: Any
    eos_token_ids: Any
    _tokenizer: Any

    prompts: Sequence[list[int]]
    sampling: Sampling

    def _get_train_sampler(self, dataset: Dataset | None = None) -> PromptSampler:
        passes = self.args.gradient_accumulation_steps
        return PromptSampler(len(self.prompts), self.sampling.generations, passes, passes, self.args.seed)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.prompts[int(number)] for number in prompts], None, {}

    def draw(self, prompt_ids: Sequence[list[int]]) -> list[list[int]]:
        """Draw answers to prompts, each of which stands there once for each answer.

        Returns:
            Token ids of the answers; the last one is an end token unless the answer was cut off.
        """
        generations = self.sampling.generations
        distinct = prompt_ids[::generations]
        uniforms = row_uniforms(
            self.args.seed, [self.state.global_step], len(prompt_ids), self.sampling.max_new_tokens
        ).view(len(distinct), generations, -1)
        answers: list[Answer] = []
        was_training = self.model.training
        self.model.eval()  # a model that checkpoints its activations has no cache while it trains
        with self.accelerator.autocast(), torch.inference_mode():
            engine = Engine(self.model)
            ends = answer_ends(self.model, self._tokenizer.eos_token_id)
            together = max(1, _MAX_ANSWERS // generations)
            for begin in range(0, len(distinct), together):
                part = distinct[begin : begin + together]
                state = engine.prefill(part)
                state.select(torch.arange(len(part), device=engine.device).repeat_interleave(generations))
                answers += sample(
                    engine,
                    state,
                    uniforms[begin : begin + together].flatten(0, 1),
                    temperature=self.sampling.temperature,
                    end_ids=ends,
                    vocabulary=len(self._tokenizer),
                )
        self.model.train(was_training)
        # Of several end tokens the tokenizer's own stands for all: prediction accepts any of them.
        return [
            [*answer.ids, self._tokenizer.eos_token_id] if answer.is_complete else list(answer.ids)
            for answer in answers
        ]


class _RlooArguments(OnModelDevice, RLOOConfig):  # type: ignore[misc]
    """The arguments of RLOO."""


class _GrpoArguments(OnModelDevice, GRPOConfig):  # type: ignore[misc]
    """The arguments of GRPO."""


class LeaveOneOutTrainer(_SamplingTrainer, RLOOTrainer):  # type: ignore[misc]
    """TRL's RLOO; the divergence is a part of the reward."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any) -> list[list[int]]:
        return self.draw(prompt_ids)


class GroupTrainer(_SamplingTrainer, GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPO; the divergence is a part of the loss."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        return self.draw(prompt_ids), None


def sampling_trainer(
    algorithm: Literal["rloo", "grpo"],
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    reward: Reward,
    sampling: Sampling,
    settings: FitSettings,
    callbacks: list[Any],
) -> Any:
    """Return a trainer of RLOO or GRPO.

    Args:
        algorithm: Which one.
        model: A model with a trainable adapter, which is the start.
        tokenizer: Its tokenizer.
        prompts: Token ids of the prompts.
        reward: Returns rewards.
        sampling: How answers are drawn.
        settings: How the training runs.
        callbacks: Callbacks.
    """
    device = next(model.parameters()).device
    values = trl_values(settings, device) | {
        "per_device_train_batch_size": sampling.generations,
        "gradient_accumulation_steps": settings.spec.micro_batch_size * settings.spec.accumulation,
        "num_generations": sampling.generations,
        "max_completion_length": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "beta": sampling.beta,
        "disable_dropout": True,
    }
    trainer_class: Any = LeaveOneOutTrainer if algorithm == "rloo" else GroupTrainer
    arguments: Any = _RlooArguments if algorithm == "rloo" else _GrpoArguments
    trainer = trainer_class(
        model,
        reward_funcs=_reward_function(reward, sampling.generations, tokenizer),
        args=arguments(device, **values),
        train_dataset=Dataset.from_list([{"prompt": str(number)} for number in range(len(prompts))]),
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    trainer.prompts = prompts
    trainer.sampling = sampling
    return trainer


def _reward_function(reward: Reward, generations: int, tokenizer: Any) -> Callable[..., list[float]]:
    """Return a reward function as TRL calls it."""

    def rewards(
        *, prompts: list[str], completion_ids: list[list[int]], trainer_state: Any, log_metric: Any, **_: Any
    ) -> list[float]:
        texts = tokenizer.batch_decode(completion_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found = list(reward([int(prompt) for prompt in prompts], texts, trainer_state.global_step + 1))
        groups = [found[begin : begin + generations] for begin in range(0, len(found), generations)]
        log_metric("no_spread", sum(max(group) == min(group) for group in groups) / len(groups))
        return found

    return rewards
