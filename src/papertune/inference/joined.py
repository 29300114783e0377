"""Answers label questions by several sources together, others without the model where possible, the rest by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.inference.batches import BatchPredictor
from papertune.inference.journal import NO_MODEL
from papertune.inference.plan import Plan, RowPrompts, document_plan
from papertune.kinds.decoder import Value
from papertune.kinds.label.record import MODEL, Cascade, Join
from papertune.kinds.values import BatchValues
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.sources.classifier import MIN_PROBABILITY, log_softmax
from papertune.sources.fitting.weights import join
from papertune.sources.label_sources import LabelSources


def columns_asking_model(recipe: Recipe, joins: Mapping[str, Join], decisions: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of a recipe that need the model for at least one question.

    Args:
        recipe: The columns.
        joins: The join of each question that has one.
        decisions: How each column is predicted, as `ColumnSpec.decision` returns it.
    """
    return tuple(
        name
        for name, column in recipe.columns.items()
        if any(
            joins[question].asks_model if question in joins else column.asks_model(decisions[name])
            for question in recipe.questions_of(name)
        )
    )


def cascading_questions(recipe: Recipe, joins: Mapping[str, Join], name: str) -> list[str]:
    """Return the questions of a column for which the model may be spared; [] if another question always needs it.

    Args:
        recipe: The columns.
        joins: The join of each question that has one.
        name: The column.
    """
    questions = list(recipe.questions_of(name))
    if not {*questions} <= {*joins}:
        return []
    return [question for question in questions if joins[question].asks_model]


def least_certainty(probabilities: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the certainty of rows: the probability of the most probable label, of several questions the lowest.

    Args:
        probabilities: Of each question, shape (rows, labels); NaN in rows that do not ask it, but each row asks one.
    """
    certainty: NDArray[np.float64] = np.nanmin([each.max(axis=1) for each in probabilities], axis=0)
    return certainty


def alone(recipe: Recipe, joins: Mapping[str, Join], sources: LabelSources, source: str) -> "JoinedPredictor":
    """Return what answers label columns with one source other than the model.

    Args:
        recipe: The columns, all of whose questions have the source.
        joins: The joins of the run.
        sources: Its sources.
        source: The source.
    """
    single = {
        name: replace(join, weights={source: 1.0}, offsets=[0.0] * len(join.offsets))
        for name, join in joins.items()
        if source in join.weights
    }
    return JoinedPredictor(recipe, single, dict.fromkeys(recipe.columns), sources, None)


@dataclass(frozen=True)
class _Said:
    """What the sources beside the model say about a question in a batch.

    Attributes:
        places: The places in the batch of the rows that ask it.
        by_source: By source the log-probabilities of these rows, float64, shape (rows, labels).
    """

    places: list[int]
    by_source: dict[str, NDArray[np.float64]]


class JoinedPredictor:
    """Answers batches like `Predictor`; see `BatchPredictor`.

    Args:
        recipe: The columns.
        joins: The join of each question that has one.
        decisions: How each column is predicted, as `ColumnSpec.decision` returns it.
        sources: The fitted sources; None without joins.
        model: Answers what needs the model; None if nothing does.
        cascades: By column which rows do not go through the model; every row goes through it for columns that are
            missing.

    Attributes:
        decided: By column of `cascades` the number of rows that were answered without the model.
        answered: The number of rows that were answered.
    """

    def __init__(
        self,
        recipe: Recipe,
        joins: Mapping[str, Join],
        decisions: Mapping[str, Any],
        sources: LabelSources | None,
        model: BatchPredictor | None,
        cascades: Mapping[str, Cascade] | None = None,
    ) -> None:
        self.recipe = recipe
        self._joins = joins
        self._decisions = decisions
        self._sources = sources
        self._model = model
        self._cascades = {name: each for name, each in (cascades or {}).items() if each.certainty is not None}
        self._without_model = {name: join for each in self._cascades.values() for name, join in each.joins.items()}
        self._asking_model = columns_asking_model(recipe, joins, decisions)
        self.decided = dict.fromkeys(self._cascades, 0)
        self.answered = 0
        self.max_batch_tokens = 0 if model is None else model.max_batch_tokens
        self.precision_name = NO_MODEL if model is None else model.precision_name
        self.encodes_ahead = model is not None and model.encodes_ahead
        self.answers_in_threads = model is not None and model.answers_in_threads

    def use_decisions(self, decisions: Mapping[str, Any]) -> None:
        """Use these decisions from now on, after calibration has changed."""
        self._decisions = decisions
        self._asking_model = columns_asking_model(self.recipe, self._joins, decisions)
        if self._model is not None:
            self._model.use_decisions(decisions)

    def plan(self, reader: RowReader, rows: Sequence[int]) -> Plan:
        """Put rows into batches: as the model needs them, or of equal size without a model."""
        asking = self._asking(reader)
        return document_plan(rows) if self._model is None or not asking else self._model.plan(reader.only(asking), rows)

    def encode(self, reader: RowReader, rows: Sequence[int]) -> list[RowPrompts]:
        """Encode the prompts that the model needs for one batch of rows."""
        asking = self._asking(reader)
        return [] if self._model is None or not asking else self._model.encode(reader.only(asking), rows)

    def answer(
        self, reader: RowReader, rows: Sequence[int], encoded: Sequence[RowPrompts] | None = None
    ) -> BatchValues:
        """Answer all questions for one batch of rows; see `Predictor.answer`."""
        values: BatchValues = {name: [None] * len(rows) for name in self.recipe.questions}
        asking = self._asking(reader)
        said = self._ask_sources(reader, rows)
        decided = self._decided(reader, said, len(rows))
        if self._model is not None and asking:
            prompts = encoded or None
            if any(map(len, decided.values())):
                prompts = self._model.encode(reader.only(asking), rows) if prompts is None else prompts
                prompts = _undecided(prompts, decided, reader.recipe)
            values |= self._model.answer(reader.only(asking), rows, prompts)
        self.answered += len(rows)
        for name, places in decided.items():
            self.decided[name] += len(places)
        return values | self._answer_without_model(reader, rows) | self._joined(said, decided, values, len(rows))

    def _answer_without_model(self, reader: RowReader, rows: Sequence[int]) -> BatchValues:
        """Answer the columns without a join that need no model."""
        values: BatchValues = {}
        for name, column in reader.recipe.columns.items():
            questions = reader.recipe.questions_of(name)
            if name in self._asking_model or not self._joins.keys().isdisjoint(questions):
                continue
            for question in questions:
                asked = [question in reader.asked(row) for row in rows]
                documents = [
                    reader.prompt(row, question).document for row, asks in zip(rows, asked, strict=True) if asks
                ]
                answers = iter(column.answer_without_model(documents, self._decisions[name]))
                values[question] = [next(answers) if asks else None for asks in asked]
        return values

    def _ask_sources(self, reader: RowReader, rows: Sequence[int]) -> dict[str, _Said]:
        """Ask the sources beside the model about the joined questions of a batch; {} without sources."""
        if self._sources is None:
            return {}
        places = _places(reader, rows, self._joins)
        numbers: dict[str, int] = {}  # of the different documents of the batch
        texts = {
            name: [
                numbers.setdefault(reader.prompt(rows[place], name).document, len(numbers)) for place in places[name]
            ]
            for name in places
        }
        wanted = {name: self._joins[name].used for name in places}
        for name in self._without_model.keys() & wanted.keys():
            wanted[name] = list(dict.fromkeys([*wanted[name], *self._without_model[name].used]))
        found = self._sources.log_probabilities(list(numbers), wanted)
        return {
            name: _Said(members, {source: scores[texts[name]] for source, scores in found[name].items()})
            for name, members in places.items()
        }

    def _decided(self, reader: RowReader, said: Mapping[str, _Said], rows: int) -> dict[str, set[int]]:
        """Return by column of the cascades the places in a batch whose rows need no model."""
        decided: dict[str, set[int]] = {}
        for column, cascade in self._cascades.items():
            if column not in reader.recipe.columns or cascade.certainty is None:
                continue
            asked = [name for name in cascade.joins if name in said]
            certain: list[NDArray[np.float64]] = []
            for name in asked:
                found = joined(cascade.joins[name], said[name].by_source)
                of_rows = np.full((rows, found.shape[1]), np.nan)
                of_rows[said[name].places] = found
                certain.append(of_rows)
            places = sorted({place for name in asked for place in said[name].places})
            if places:
                certainty = least_certainty([each[places] for each in certain])
                decided[column] = {*np.asarray(places)[certainty >= cascade.certainty].tolist()}
        return decided

    def _joined(
        self, said: Mapping[str, _Said], decided: Mapping[str, set[int]], of_model: BatchValues, rows: int
    ) -> BatchValues:
        """Join the sources of the questions that have several.

        Args:
            said: What the sources beside the model say.
            decided: By column the places whose rows need no model.
            of_model: The values of the model.
            rows: Number of rows of the batch.
        """
        values: BatchValues = {}
        spared = {question: decided[column] for column in decided for question in self._cascades[column].joins}
        for name, found in said.items():
            values[name] = [None] * rows
            skipping = spared.get(name, set())
            for is_spared in (False, True):
                indices = [index for index, place in enumerate(found.places) if (place in skipping) == is_spared]
                if not indices:
                    continue
                places = [found.places[index] for index in indices]
                by_source = {source: scores[indices] for source, scores in found.by_source.items()}
                used = self._without_model[name] if is_spared else self._joins[name]
                if used.asks_model:
                    by_source[MODEL] = model_log_probabilities([of_model[name][place] for place in places])
                for place, row in zip(places, joined(used, by_source), strict=True):
                    values[name][place] = row.tolist()
        return values

    def _asking(self, reader: RowReader) -> tuple[str, ...]:
        return tuple(name for name in self._asking_model if name in reader.recipe.columns)


def _places(reader: RowReader, rows: Sequence[int], joins: Mapping[str, Join]) -> dict[str, list[int]]:
    """Return the places in a batch of the rows that ask each joined question; a question that none asks is missing."""
    found: dict[str, list[int]] = {name: [] for name in reader.recipe.questions if name in joins}
    for place, row in enumerate(rows):
        for name in reader.asked(row):
            if name in found:
                found[name].append(place)
    return {name: members for name, members in found.items() if members}


def _undecided(prompts: Sequence[RowPrompts], decided: Mapping[str, set[int]], recipe: Recipe) -> list[RowPrompts]:
    """Leave out the questions of the columns that are decided for a row; a row without any is not asked at all."""
    left = [dict(each) for each in prompts]
    for column, places in decided.items():
        for question in recipe.questions_of(column):
            for place in places:
                left[place].pop(question, None)
    return left


def model_log_probabilities(values: Sequence[Value | None]) -> NDArray[np.float64]:
    """Return the model's label probabilities of some rows as log-probabilities, float64, shape (rows, labels)."""
    probabilities = np.array(values, dtype=np.float64)
    return log_softmax(np.log(np.maximum(probabilities, MIN_PROBABILITY)))


def joined(found: Join, by_source: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the joined probabilities, float64, shape (rows, labels).

    Args:
        found: The join.
        by_source: The log-probabilities of the sources that it uses; more do no harm.
    """
    names = [*found.used, *([MODEL] if found.asks_model else [])]
    weights = [found.weights[name] for name in names]
    return np.exp(join([by_source[name] for name in names], weights, found.offsets))
