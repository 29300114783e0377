"""Rewards of answers, from a run of stage rm."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from papertune.decoding.engine import Engine
from papertune.decoding.scoring.rewards import answer_rewards
from papertune.errors import RunError
from papertune.prompts import PromptEncoder
from papertune.prompts.answers import encode_answer
from papertune.prompts.examples import Prompt
from papertune.recipe import Recipe

if TYPE_CHECKING:
    from papertune.run import Run


class RewardModel:
    """Scores answers. Its weights are loaded when they are first needed.

    Args:
        run: A run of stage rm.

    Raises:
        RunError: If it is of another stage.
    """

    def __init__(self, run: "Run") -> None:
        stage = run.recipe.stage
        if stage.kind != "rm":
            raise RunError(
                f'{run.directory.path} is {stage.run_in_words} (stage "{stage.kind}"), so it has no rewards. Name a '
                "run that was trained with --stage rm."
            )
        self.run = run

    def check_fits(self, recipe: Recipe, base_checksum: str | None, owner: str) -> None:
        """Check that it scores answers of another run: it has the same base model, and learned the same questions.

        Args:
            recipe: The recipe of the other run, with the columns whose answers are scored.
            base_checksum: The checksum of its base model.
            owner: What messages call it.

        Raises:
            RunError: If it does not fit.
        """
        path, manifest = self.run.directory.path, self.run.manifest
        if base_checksum != manifest.base_checksum and None not in (base_checksum, manifest.base_checksum):
            raise RunError(
                f"{path} is a reward model on {manifest.base_name}, whose weights are not those of the base model of "
                f"{owner}, {recipe.model}. Train one that starts from {owner}: --stage rm."
            )
        if self.run.recipe.layout != recipe.layout:
            raise RunError(
                f'{path} has read prompts with layout = "{self.run.recipe.layout}", but {owner} has '
                f'"{recipe.layout}". Train it on the same recipe, with --stage rm.'
            )
        for name, asked in recipe.questions.items():
            known = self.run.recipe.questions.get(name)
            if known is None or known.question != asked.question:
                have = ", ".join(self.run.recipe.questions)
                raise RunError(
                    f'{path} has learned no rewards for the question of "{name}" in {owner}; it has: {have}. Train it '
                    "on pairs for this question, with --stage rm."
                )

    @property
    def checksum(self) -> str:
        """SHA-256 of its recipe and its weights."""
        return self.run.directory.weights_checksum()

    @cached_property
    def engine(self) -> Engine:
        """Runs the model."""
        from papertune.models.reward_head import add_reward_head, load_reward_head

        model, _ = self.run.load()
        add_reward_head(model)
        load_reward_head(model, self.run.directory.adapter)
        return Engine(model.eval())

    @cached_property
    def encoder(self) -> PromptEncoder:
        """Encodes prompts and answers as the pairs were encoded."""
        return PromptEncoder(self.run.load_tokenizer(), self.run.recipe.encoding, chat=self.run.recipe.chat)

    def rewards(self, column: str, prompts: Sequence[Prompt], answers: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the rewards of answers.

        Args:
            column: Name of the question.
            prompts: The prompts.
            answers: The answers to each prompt, as text to learn; at least one to each.
        """
        encoded = [prompt.ids for prompt in self.encoder.encode_many(prompts)]
        asked = self.run.recipe.questions[column]
        ids = [[encode_answer(asked, text, self.encoder) for text in each] for each in answers]
        return answer_rewards(self.engine, encoded, ids)
