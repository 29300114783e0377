"""A finished run, as what answers batches of rows: its model, its other sources, and what calibration has found."""

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from papertune.errors import RunError, quoted
from papertune.inference.batches import BatchPredictor
from papertune.inference.joined import JoinedPredictor, columns_asking_model
from papertune.inference.journal import NO_MODEL
from papertune.inference.predictor import Predictor
from papertune.inference.rewards.best_of import BestOf, BestOfPredictor
from papertune.kinds import ColumnSpec
from papertune.kinds.label.record import Cascade, Join
from papertune.models import PredictionPrecision
from papertune.recipe import Recipe
from papertune.run.model import TrainedModel
from papertune.run_directory import RESTORE
from papertune.sources.label_sources import LabelSources
from papertune.sources.source import Surroundings


class AnsweringRun(TrainedModel):
    """What answers the questions of a run: its model, beside other sources.

    Attributes:
        best_of: How written answers are chosen among several; None: they are greedy.
        cascades: By column which rows need no model; a column that is missing asks it about all rows.
    """

    best_of: BestOf | None = None
    cascades: Mapping[str, Cascade] = MappingProxyType({})

    @property
    def decisions(self) -> dict[str, Any]:
        """How each column is predicted, by name, with what calibration has found.

        Raises:
            RunError: If the calibration in run.json, or a file of a source, is damaged.
        """
        columns: Mapping[str, ColumnSpec] = self.recipe.columns
        try:
            found = {name: each.decision(name, self.manifest.record(name, each)) for name, each in columns.items()}
        except ValueError as error:
            raise RunError(f"{self.directory.manifest_file} is damaged: {error}. {RESTORE}") from None
        try:
            folders = {name: self.directory.source_folder(name) for name in columns}
            encoder = self.recipe.encoder
            return {n: each.with_sources(found[n], folders[n], encoder) for n, each in columns.items()}
        except ValueError as error:
            raise RunError(f"{error}. {RESTORE}") from None

    @property
    def joins(self) -> dict[str, Join]:
        """How the sources of each question are joined; a question that only the model answers is missing."""
        return self.manifest.joins

    def check_joins(self) -> None:
        """Check that the joins in run.json, also those of cascades, are ones of the recipe's questions.

        Raises:
            RunError: If they are damaged.
        """
        kept = [(f"joins.{question}", question, join) for question, join in self.joins.items()]
        for name, cascade in self.manifest.cascades.items():
            kept += [(f"cascades.{name}.joins.{question}", question, join) for question, join in cascade.joins.items()]
        questions = self.recipe.questions
        for place, question, join in kept:
            labels = questions[question].joined_labels if question in questions else ()
            problem = join.problem(len(labels)) if labels else "the recipe has no such question"
            if problem:
                file = self.directory.manifest_file
                raise RunError(f"{file} is damaged: {quoted(place)}: {problem}. {RESTORE}")

    @cached_property
    def label_sources(self) -> LabelSources:
        """The sources beside the model.

        Raises:
            RunError: If they are missing or damaged.
        """
        surroundings = Surroundings(self.recipe, lambda: self.load_base("auto"), self.device)
        sources = LabelSources(self.directory.sources, surroundings)
        for question, join in self.joins.items():
            plain = sources.plain_joins.get(question)
            if plain is None or not {*join.used} <= {*plain.weights}:
                raise RunError(
                    f"{self.directory.sources} does not fit {self.directory.manifest_file}: it has no sources for "
                    f"{quoted(question)}. Copy the run again, or train again."
                )
        return sources

    def asks_model(self, columns: Recipe | None = None) -> bool:
        """Whether prediction needs the model, for all columns or for those of a recipe."""
        chosen = self.recipe if columns is None else columns
        return bool(columns_asking_model(chosen, self.joins, self.decisions))

    def settled_precision(self, precision: PredictionPrecision = "auto", columns: Recipe | None = None) -> str:
        """Return the name of the precision that `predictor` will have, without loading the weights."""
        return self._precision_name(precision) if self.asks_model(columns) else NO_MODEL

    def predictor(self, precision: PredictionPrecision = "auto", columns: Recipe | None = None) -> BatchPredictor:
        """Return what answers batches of rows; the model is loaded if it is needed.

        Args:
            precision: Number format of the weights.
            columns: The recipe with the columns to answer; None: all.
        """
        model: BatchPredictor | None = None
        if self.asks_model(columns):
            model = own = self.model_predictor(precision)
            if self.best_of is not None:
                model = BestOfPredictor(own, self.best_of)
            asking = columns_asking_model(self.recipe, self.joins, self.decisions)
            if not self.joins and asking == tuple(self.recipe.columns):
                return model
        sources = self.label_sources if self.joins else None
        return JoinedPredictor(self.recipe, self.joins, self.decisions, sources, model, self.cascades)

    def model_predictor(self, precision: PredictionPrecision = "auto") -> Predictor:
        """Load the trained model and return what answers batches with it alone."""
        predictor = self._loaded_predictor(precision)
        predictor.use_decisions(self.decisions)
        return predictor
