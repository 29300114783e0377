"""Reinforcement learning: from a table, and rewards of the model's own answers, to a run."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from papertune.errors import PapertuneWarning, RecipeError, TableError
from papertune.evaluation.dev_score import DevScore
from papertune.inference.rewards.reward_model import RewardModel
from papertune.pipelines.stages.feedback import open_start, outcome_of, train_learner, warn_of_length
from papertune.pipelines.stages.job import StageJob
from papertune.pipelines.training.job import at_most
from papertune.prompts.examples import Prompt, RowReader
from papertune.recipe import Recipe
from papertune.run import load_run
from papertune.run_directory import RunDirectory
from papertune.stages import StageOutcome
from papertune.stages.sampling import SamplingStage
from papertune.tables import Table
from papertune.training.callbacks import keep_lines
from papertune.training.feedback.pairs import TooLong
from papertune.training.trainer import FitSettings

SAMPLES = "samples.jsonl"


@dataclass(frozen=True)
class _Asked:
    """A prompt of the training.

    Attributes:
        paper: The id of its row, or the table and the number of the row.
        column: Name of the question.
        prompt: The prompt.
        gold: The table's answer; None if the table has none.
    """

    paper: str
    column: str
    prompt: Prompt
    gold: str | None


def check_sampling_job(stage: SamplingStage, job: StageJob) -> None:
    """Check the dev rows and the reward run.

    Raises:
        RecipeError: If there are no dev rows.
        RunError: If the reward run does not fit.
    """
    if not job.dev_fraction and not len(job.dev):
        raise RecipeError(
            f'stage "{stage.kind}" ends when the score of dev rows falls, since rewards rise also where answers become '
            "worse. Add --dev or --dev-fraction."
        )
    if reward := open_reward(stage, job):
        reward.check_fits(job.recipe, job.base.checksum, job.parents[-1].path)


def open_reward(stage: SamplingStage, job: StageJob) -> RewardModel | None:
    """Return the reward model of a stage; None if rewards come from the table."""
    if stage.reward == "f1":
        return None
    return RewardModel(load_run(stage.reward, device=job.processes.device, base=job.base_place))


def reward_checksum(stage: SamplingStage) -> str:
    """Return the checksum of the reward run of a stage."""
    return RunDirectory(Path(stage.reward)).weights_checksum()


def train_on_rewards(stage: SamplingStage, job: StageJob) -> StageOutcome:
    """Train on rewards; the score of dev rows chooses the checkpoint and ends the training."""
    from papertune.training.feedback.rollouts import Sampling, sampling_trainer

    recipe = job.recipe
    tables, dev = _split(job)
    model = open_reward(stage, job)
    asked = [each for table in tables for each in _asked(table, recipe, needs_gold=model is None)]
    if not asked:
        raise TableError(f"no table has a cell of {', '.join(recipe.columns)}, from which rewards come.")
    learner = open_start(job)
    encoded = learner.encoder.encode_many([each.prompt for each in asked])
    warn_of_length([TooLong(prompts=sum(each.truncated for each in encoded))], job)
    limits = [column.max_answer_tokens(learner.encoder) for column in recipe.questions.values()]
    sampling = Sampling(stage.generations, stage.beta, stage.temperature, stage.max_new_tokens or max(limits))
    samples = job.directory.path / SAMPLES

    def make(settings: FitSettings, callbacks: list[Any]) -> Any:
        algorithm: Any = stage.kind
        return sampling_trainer(
            algorithm,
            learner.model,
            learner.own_tokenizer,
            [each.ids for each in encoded],
            Rewards(asked, recipe, model, samples),
            sampling,
            settings,
            callbacks,
        )

    score = DevScore(dev, recipe, learner.tokenizer, learner.dtype, job.listener)
    before = score(learner.model.eval())
    job.listener.message(f"dev score of the start: {before['score']:.4f}")
    examples = f"{len(asked):,} prompts, {stage.generations} answers each"
    result, seconds = train_learner(job, learner, make, examples, score)
    if result.best_score is not None and result.best_score < before["score"]:
        warnings.warn(
            f"the dev score of the start, {before['score']:.4f}, is higher than the best of this training, "
            f"{result.best_score:.4f}. Keep using {job.parents[-1].path}.",
            PapertuneWarning,
            stacklevel=2,
        )
    outcome = outcome_of(learner, result, seconds, len(asked), {"dev_score_of_start": before["score"]})
    return replace(outcome, reward="f1" if model is None else f"{stage.reward} ({model.checksum})")


class Rewards:
    """Scores answers, and keeps them in samples.jsonl.

    Args:
        asked: The prompts.
        recipe: Has the questions.
        model: The reward model; None: answers are compared with the table's.
        file: JSON lines with the step, the paper, the column, the text and the reward of each answer.
    """

    def __init__(self, asked: Sequence[_Asked], recipe: Recipe, model: RewardModel | None, file: Path) -> None:
        self._asked = asked
        self._recipe = recipe
        self._model = model
        self._file = file

    def __call__(self, numbers: Sequence[int], texts: Sequence[str], step: int) -> list[float]:
        """Return the rewards of answers to the prompts with these numbers, and append them to the file."""
        keep_lines(self._file, step - 1)  # a resumed training repeats a step
        asked = [self._asked[number] for number in numbers]
        rewards = self._scores(asked, texts)
        with self._file.open("a", encoding="utf-8") as stream:
            for each, text, reward in zip(asked, texts, rewards, strict=True):
                entry = {"step": step, "paper": each.paper, "column": each.column, "text": text, "reward": reward}
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
        return rewards

    def _scores(self, asked: Sequence[_Asked], texts: Sequence[str]) -> list[float]:
        questions = self._recipe.questions
        if self._model is None:
            return [questions[e.column].answer_f1(e.gold or "", t) for e, t in zip(asked, texts, strict=True)]
        found = [0.0] * len(asked)
        for name, column in questions.items():
            places = [place for place, each in enumerate(asked) if each.column == name]
            answers = [[column.read_answer(texts[place]) or ""] for place in places]
            rewards = self._model.rewards(name, [asked[place].prompt for place in places], answers)
            for place, (reward,) in zip(places, rewards, strict=True):
                found[place] = reward
        return found


def _split(job: StageJob) -> tuple[list[Table], list[Table]]:
    """Return the tables to learn from and the dev tables, the latter with at most `training.dev_rows` rows each."""
    spec, tables, dev = job.recipe.training, list(job.tables), list(job.dev)
    if job.dev_fraction:
        parts = [table.split(job.dev_fraction, spec.seed) for table in tables]
        tables, dev = [rest for rest, _ in parts], [part for _, part in parts]
    return tables, [at_most(spec.dev_rows, table, job.recipe) for table in dev]


def _asked(table: Table, recipe: Recipe, *, needs_gold: bool) -> list[_Asked]:
    """Return the prompts of a table; without those whose cell is empty if rewards come from cells."""
    reader, key = RowReader(table, recipe), recipe.table.id
    found: list[_Asked] = []
    for row in range(len(table)):
        paper = table.frame[key][row] if key in table.columns else f"{table.source}, row {row + 1}"
        for name in reader.asked(row):
            cell = reader.given(row, name)
            gold = None if cell is None else recipe.questions[name].read_answer(cell)
            if gold is not None or not needs_gold:
                found.append(_Asked(paper, name, reader.prompt(row, name), gold))
    return found
