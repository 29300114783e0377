"""Preferences without a reward model: DPO and KTO, from pairs or judged answers to a run."""

from collections.abc import Callable, Sequence
from typing import Any

from papertune.pipelines.stages.feedback import (
    Learner,
    open_start,
    outcome_of,
    read_entries,
    read_judged,
    train_learner,
    warn_of_length,
)
from papertune.pipelines.stages.job import StageJob
from papertune.preferences import read_pairs
from papertune.stages import StageOutcome
from papertune.stages.dpo import DpoStage
from papertune.stages.kto import KtoStage
from papertune.training.feedback import (
    EncodedPair,
    EncodedThumb,
    answer_log_probs,
    encode_pairs,
    encode_thumbs,
    pair_measures,
)
from papertune.training.trainer import FitSettings


def train_on_pairs(stage: DpoStage, job: StageJob) -> StageOutcome:
    """Train on pairs; dev pairs choose the checkpoint by the share whose better answer has gained more."""
    from papertune.training.feedback.preference import pair_trainer

    pairs, dev = read_entries(job, read_pairs)
    learner = open_start(job)
    encoded, too_long = encode_pairs(pairs, job.recipe, learner.encoder)
    dev_encoded, dev_too_long = encode_pairs(dev, job.recipe, learner.encoder)
    warn_of_length([too_long, dev_too_long], job)
    score = ImplicitRewards(learner.model.eval(), dev_encoded, stage.beta, learner.dtype) if dev else None

    return _train(job, stage, learner, encoded, score, pair_trainer, f"{len(encoded):,} pairs")


def train_on_thumbs(stage: KtoStage, job: StageJob) -> StageOutcome:
    """Train on judged answers; dev answers choose the checkpoint by how often a good one has gained more than a bad."""
    from papertune.training.feedback.preference import thumb_trainer

    thumbs, dev = read_entries(job, read_judged)
    learner = open_start(job)
    encoded, too_long = encode_thumbs(thumbs, job.recipe, learner.encoder)
    dev_encoded, dev_too_long = encode_thumbs(dev, job.recipe, learner.encoder)
    warn_of_length([too_long, dev_too_long], job)
    score = ThumbRewards(learner.model.eval(), dev_encoded, stage.beta, learner.dtype) if dev else None

    good = sum(thumb.good for thumb in encoded)
    examples = f"{len(encoded):,} judged answers ({good:,} good)"
    return _train(job, stage, learner, encoded, score, thumb_trainer, examples)


def _train(
    job: StageJob,
    stage: DpoStage | KtoStage,
    learner: Learner,
    encoded: Sequence[Any],
    score: Any,
    trainer: Callable[..., Any],
    examples: str,
) -> StageOutcome:
    def make(settings: FitSettings, callbacks: list[Any]) -> Any:
        weights = (stage.beta, stage.sft_weight)
        return trainer(learner.model, learner.own_tokenizer, encoded, weights, settings, callbacks)

    result, seconds = train_learner(job, learner, make, examples, score)
    return outcome_of(learner, result, seconds, len(encoded), score(learner.model) if score else {})


class ImplicitRewards:
    """Measures a model on pairs by beta times the gain of an answer's log-probability since the start.

    Args:
        start: The model of the start.
        pairs: The pairs.
        beta: As in DPO.
        dtype: Number format of the products.
    """

    def __init__(self, start: Any, pairs: Sequence[EncodedPair], beta: float, dtype: Any) -> None:
        self._beta = beta
        self._dtype = dtype
        self._sequences = [(p.prompt, answer) for p in pairs for answer in (p.chosen, p.rejected)]
        self._tokens = sum(len(pair.chosen) for pair in pairs)
        self._start = answer_log_probs(start, self._sequences, dtype)

    def __call__(self, model: Any) -> dict[str, float]:
        """Return the measures of `pair_measures`, and the mean gain of the better answers in nats a token."""
        chosen, rejected = (answer_log_probs(model, self._sequences, self._dtype) - self._start).view(-1, 2).T
        measures = pair_measures((self._beta * (chosen - rejected)).tolist())
        return {"chosen_gain": float(chosen.sum()) / self._tokens, **measures}


class ThumbRewards:
    """Measures a model on judged answers in the same way.

    Args:
        start: The model of the start.
        thumbs: The answers.
        beta: As in KTO.
        dtype: Number format of the products.
    """

    def __init__(self, start: Any, thumbs: Sequence[EncodedThumb], beta: float, dtype: Any) -> None:
        self._beta = beta
        self._dtype = dtype
        self._sequences = [(thumb.prompt, thumb.answer) for thumb in thumbs]
        self._good = [thumb.good for thumb in thumbs]
        self._start = answer_log_probs(start, self._sequences, dtype)

    def __call__(self, model: Any) -> dict[str, float]:
        """Return the measures of `pair_measures` over all pairs of a good and a bad answer.

        If all are good or all are bad, each is compared with itself at the start.
        """
        gains = (self._beta * (answer_log_probs(model, self._sequences, self._dtype) - self._start)).tolist()
        good = [gain for gain, is_good in zip(gains, self._good, strict=True) if is_good]
        bad = [gain for gain, is_good in zip(gains, self._good, strict=True) if not is_good]
        return pair_measures([one - other for one in good or [0.0] for other in bad or [0.0]])
