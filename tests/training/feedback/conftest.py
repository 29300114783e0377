"""Trainings from feedback on a tiny model whose adapter is not the identity, as after supervised fine-tuning."""

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from papertune.recipe import TrainingSpec

STAGES = ("rm", "dpo", "kto", "rloo", "grpo")


class Training:
    """A training of one stage.

    Args:
        stage: The stage.
        make_model: Makes the model of the start.
        tokenizer: Its tokenizer.
        folder: Its folder.
        spec: How to train.
    """

    def __init__(self, stage: str, make_model: Callable[[], Any], tokenizer: Any, folder: Path, **spec: Any) -> None:
        settings = {
            "epochs": 2,
            "micro_batch_size": 3,
            "learning_rate": 1e-2,
            "warmup_steps": 0,
            "logging_steps": 1,
            "save_steps": 2,
            "precision": "fp32",
        }
        self.stage = stage
        self.spec = TrainingSpec(**{**settings, **spec})
        self.model = make_model()
        self.folder = folder
        self.metrics = folder / "metrics.jsonl"
        self.trainer: Any = None
        self.weights = (0.1, 1.0)
        self.reward: Any = lambda numbers, texts, step: [sum(map(str.islower, text)) / 100 for text in texts]
        self.tokenizer = copy.deepcopy(tokenizer)

    def fit(self, listener: Any = None, **options: Any) -> Any:
        """Train."""
        import torch

        from papertune.events import SILENT
        from papertune.models.reward_head import add_reward_head
        from papertune.training.feedback import fit_on_feedback
        from papertune.training.trainer import FitSettings

        if self.stage == "rm":
            add_reward_head(self.model)
        (self.folder / "training").mkdir(parents=True, exist_ok=True)
        settings = FitSettings(
            self.spec,
            self.folder / "training",
            self.metrics,
            torch.float32,
            listener=listener or SILENT,
            **options,
        )
        return fit_on_feedback(self._make, settings)

    def _make(self, settings: Any, callbacks: list[Any]) -> Any:
        from papertune.training.feedback.preference import pair_trainer, thumb_trainer
        from papertune.training.feedback.reward import reward_trainer
        from papertune.training.feedback.rollouts import Sampling, sampling_trainer

        given = (self.model, self.tokenizer)
        if self.stage == "rm":
            self.trainer = reward_trainer(*given, PAIRS, settings, callbacks)
        elif self.stage == "dpo":
            self.trainer = pair_trainer(*given, PAIRS, self.weights, settings, callbacks)
        elif self.stage == "kto":
            self.trainer = thumb_trainer(*given, THUMBS, self.weights, settings, callbacks)
        else:
            sampling = Sampling(generations=3, beta=0.05, temperature=1.0, max_new_tokens=8)
            self.trainer = sampling_trainer(self.stage, *given, PROMPTS, self.reward, sampling, settings, callbacks)
        return self.trainer

    def weights_of(self) -> dict[str, Any]:
        """Return the trained parameters."""
        return {name: p.detach().clone() for name, p in self.model.named_parameters() if p.requires_grad}


def _data() -> tuple[list[Any], list[Any], list[Any]]:
    from papertune.training.feedback import EncodedPair, EncodedThumb

    draw = random.Random(0)
    prompts = [[draw.randrange(5, 250) for _ in range(draw.randrange(4, 16))] for _ in range(10)]
    pairs = [
        EncodedPair(
            prompt, [*(draw.randrange(5, 120) for _ in range(4)), 2], [*(draw.randrange(120, 250) for _ in "ab"), 2]
        )
        for prompt in prompts
    ]
    thumbs = [EncodedThumb(p.prompt, p.chosen if n % 2 else p.rejected, bool(n % 2)) for n, p in enumerate(pairs)]
    return prompts, pairs, thumbs


PROMPTS, PAIRS, THUMBS = _data()


@pytest.fixture
def start(make_model) -> Callable[[], Any]:
    """Return a function that makes the model of the start, each time the same."""

    def make() -> Any:
        import torch

        from papertune.methods import LoraMethod, build_trainable

        model = build_trainable(make_model(), LoraMethod(rank=2), seed=0)
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        return model

    return make


@pytest.fixture
def training(start, tiny_tokenizer, tmp_path) -> Callable[..., Training]:
    """Return a function that makes trainings: the stage, the name of the folder, settings."""

    def make(stage: str, name: str = "run", **spec: Any) -> Training:
        return Training(stage, start, tiny_tokenizer, tmp_path / name, **spec)

    return make
