"""Answers label questions by several sources together, others without the model where possible, the rest by it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.inference.batches import BatchPredictor
from papertune.inference.journal import NO_MODEL
from papertune.inference.plan import Plan, RowPrompts, document_plan
from papertune.kinds.decoder import Value
from papertune.kinds.label.record import MODEL, Join
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


class JoinedPredictor:
    """Answers batches like `Predictor`; see `BatchPredictor`.

    Args:
        recipe: The columns.
        joins: The join of each question that has one.
        decisions: How each column is predicted, as `ColumnSpec.decision` returns it.
        sources: The fitted sources; None without joins.
        model: Answers what needs the model; None if nothing does.
    """

    def __init__(
        self,
        recipe: Recipe,
        joins: Mapping[str, Join],
        decisions: Mapping[str, Any],
        sources: LabelSources | None,
        model: BatchPredictor | None,
    ) -> None:
        self.recipe = recipe
        self._joins = joins
        self._decisions = decisions
        self._sources = sources
        self._model = model
        self._asking_model = columns_asking_model(recipe, joins, decisions)
        self.max_batch_tokens = 0 if model is None else model.max_batch_tokens
        self.precision_name = NO_MODEL if model is None else model.precision_name
        self.encodes_ahead = model is not None and model.encodes_ahead

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
        if self._model is not None and asking:
            values |= self._model.answer(reader.only(asking), rows, encoded or None)
        return values | self._without_model(reader, rows) | self._joined(reader, rows, values)

    def _without_model(self, reader: RowReader, rows: Sequence[int]) -> BatchValues:
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

    def _joined(self, reader: RowReader, rows: Sequence[int], of_model: BatchValues) -> BatchValues:
        """Join the sources of the questions that have several, given the values of the model."""
        values: BatchValues = {}
        places = _places(reader, rows, self._joins)
        numbers: dict[str, int] = {}  # of the different documents of the batch
        texts = {
            name: [
                numbers.setdefault(reader.prompt(rows[place], name).document, len(numbers)) for place in places[name]
            ]
            for name in places
        }
        if self._sources is None:
            return values
        found = self._sources.log_probabilities(list(numbers), {name: self._joins[name].used for name in places})
        for name, members in places.items():
            values[name] = [None] * len(rows)
            by_source = {source: scores[texts[name]] for source, scores in found[name].items()}
            if self._joins[name].asks_model:
                by_source[MODEL] = model_log_probabilities([of_model[name][place] for place in members])
            for place, row in zip(members, joined(self._joins[name], by_source), strict=True):
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
