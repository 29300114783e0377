"""The best of several answers by a reward model: the greedy one, and others drawn at random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from papertune.decoding.sampling import row_uniforms
from papertune.errors import RunError
from papertune.inference.plan import Plan, RowPrompts
from papertune.inference.predictor import Predictor
from papertune.kinds.decoder import Value
from papertune.kinds.values import BatchValues
from papertune.prompts.examples import RowReader

if TYPE_CHECKING:
    from papertune.inference.rewards.reward_model import RewardModel
    from papertune.run import Run

TEMPERATURE = 1.0


@dataclass(frozen=True)
class BestOf:
    """How answers are chosen.

    Attributes:
        answers: Number of answers, the greedy one included.
        rewards: The reward model.
        seed: Of the drawn answers.
        columns: The columns whose answers are written, so that they are chosen.
    """

    answers: int
    rewards: "RewardModel"
    seed: int
    columns: frozenset[str]

    @property
    def facts(self) -> dict[str, str | None]:
        """What two predictions must share to be the same."""
        how = f"{self.answers} answers, seed {self.seed}, temperature {TEMPERATURE}"
        return {"the best of": how, "the reward model": self.rewards.checksum}


def checked_best_of(run: "Run", answers: int, reward: "Run") -> BestOf:
    """Return how a reward model chooses among the answers of a run.

    Args:
        run: The run whose answers are chosen.
        answers: Number of answers, the greedy one included.
        reward: A run of stage rm.

    Raises:
        RunError: If the reward run does not fit, or the run has no column whose answers are written.
    """
    from papertune.inference.rewards.reward_model import RewardModel

    recipe = run.recipe
    written = [name for name in recipe.columns if any(each.is_written for each in recipe.questions_of(name).values())]
    if not written:
        raise RunError(
            f"{run.directory.path} has no column of keywords or text, of which several answers could be drawn. "
            "Leave out --best-of and --reward."
        )
    rewards = RewardModel(reward)
    rewards.check_fits(recipe.only(tuple(written)), run.manifest.base_checksum, str(run.directory.path))
    return BestOf(answers, rewards, recipe.training.seed, frozenset(written))


class BestOfPredictor:
    """Answers batches like `Predictor`; see `BatchPredictor`. Only written answers are chosen among.

    Args:
        model: Answers all questions, and draws more answers.
        best_of: How answers are chosen.
    """

    def __init__(self, model: Predictor, best_of: BestOf) -> None:
        self._model = model
        self._best_of = best_of
        self.recipe = model.recipe
        self.max_batch_tokens = model.max_batch_tokens
        self.precision_name = model.precision_name
        self.encodes_ahead = model.encodes_ahead
        self.answers_in_threads = False

    def use_decisions(self, decisions: Mapping[str, Any]) -> None:
        """Use these decisions from now on, after calibration has changed."""
        self._model.use_decisions(decisions)

    def plan(self, reader: RowReader, rows: Sequence[int]) -> Plan:
        """Put rows into batches."""
        return self._model.plan(reader, rows)

    def encode(self, reader: RowReader, rows: Sequence[int]) -> list[RowPrompts]:
        """Encode the prompts of one batch of rows."""
        return self._model.encode(reader, rows)

    def answer(
        self, reader: RowReader, rows: Sequence[int], encoded: Sequence[RowPrompts] | None = None
    ) -> BatchValues:
        """Answer all questions for one batch of rows; see `Predictor.answer`."""
        asked = self.encode(reader, rows) if encoded is None else encoded
        values: BatchValues = dict(self._model.answer(reader, rows, asked))
        for name, column in self.recipe.questions.items():
            places = [place for place, row in enumerate(asked) if name in row] if column.is_written else []
            if places:
                greedy = [values[name][place] for place in places]
                prompts = [asked[place] for place in places]
                for place, value in zip(
                    places, self._best(name, [rows[p] for p in places], prompts, greedy), strict=True
                ):
                    values[name][place] = value
        return values

    def _best(
        self, name: str, rows: Sequence[int], asked: Sequence[RowPrompts], greedy: Sequence[Value | None]
    ) -> list[Value]:
        """Return the value with the highest reward for each row; of equal ones the greedy one, or the first drawn.

        Args:
            name: The question.
            rows: Indices of the rows, on which the drawn answers depend.
            asked: The prompts of the rows.
            greedy: Their greedy values.
        """
        column, more = self.recipe.questions[name], self._best_of.answers - 1
        limit = column.max_answer_tokens(self._model.encoder)
        uniforms = row_uniforms(self._best_of.seed, rows, more, limit)
        drawn = self._model.sample(name, [row[name][1].ids for row in asked], uniforms, TEMPERATURE)
        candidates: list[dict[str, Value]] = []
        for number, first in enumerate(greedy):
            assert first is not None
            different: dict[str, Value] = {}
            for value in (first, *drawn[number * more : (number + 1) * more]):
                different.setdefault(column.text_of(value), value)
            candidates.append(different)
        rewards = self._best_of.rewards.rewards(name, [row[name][0] for row in asked], list(map(list, candidates)))
        return [
            list(each.values())[max(range(len(scores)), key=scores.__getitem__)]
            for each, scores in zip(candidates, rewards, strict=True)
        ]
