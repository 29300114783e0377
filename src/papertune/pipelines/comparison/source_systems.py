"""Systems to compare: logistic regression on the vectors of a sentence encoder, or on the states of the base model."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from papertune.errors import MissingExtraError, ModelError
from papertune.evaluation.systems.outputs import NotMeasured, SystemOutput, TrainingRows, rows_per_s
from papertune.kinds.predictions import Predictions
from papertune.models.sentence_encoder import ENCODER_INSTALL, find_encoder
from papertune.recipe import Recipe
from papertune.sources.classifier import cross_validate
from papertune.sources.encoder import Encoder
from papertune.sources.fitting.fit import can_be_fitted
from papertune.sources.fitting.weights import fit_weights
from papertune.sources.probe import Probe
from papertune.sources.source import Source, Surroundings

# By the name of the source in a recipe.
SYSTEMS: dict[str, type[Source]] = {"encoder": Encoder, "probe": Probe}


def title_of(source: str, recipe: Recipe) -> str:
    """Return what reports call the system of a source."""
    return "sentence encoder + logistic regression" if source == "encoder" else f"linear probe of {recipe.model}"


def source_system(
    source: str,
    recipe: Recipe,
    labels: Sequence[str],
    learned: TrainingRows,
    documents: Sequence[str],
    load_base: Callable[[], tuple[Any, Any]],
) -> SystemOutput:
    """Learn labels from the features of a source, and predict documents.

    Args:
        source: A key of `SYSTEMS`.
        recipe: The recipe.
        labels: The labels.
        learned: The training rows.
        documents: The documents to predict.
        load_base: Loads the base model and its tokenizer.

    Raises:
        NotMeasured: If there are too few rows, or no sentence encoder.
    """
    gold = np.array([labels.index(answer) for answer in learned.answers], dtype=np.int64)
    if not can_be_fitted(gold):
        raise NotMeasured("there are too few training rows for a cross-validation")
    try:
        if source == "encoder" and find_encoder(recipe.encoder) is None:
            raise NotMeasured(f"no sentence encoder is installed: {ENCODER_INSTALL}")
        started = time.monotonic()
        kind = SYSTEMS[source]
        fitted, features = kind.fit(learned.documents, Surroundings(recipe, load_base))
    except (MissingExtraError, ModelError) as error:
        raise NotMeasured(str(error)) from error
    classifier, held_out, _ = cross_validate(features, gold, len(labels), kind.strengths)
    weights = fit_weights([held_out], gold)
    trained = time.monotonic()
    probabilities = np.exp(weights.joined([classifier.log_probabilities(fitted.features(documents))]))
    return SystemOutput(
        Predictions([labels[number] for number in probabilities.argmax(axis=1)], probabilities.tolist()),
        rows_per_s(len(documents), trained),
        trained - started,
        classifier.coefficients.size + classifier.intercepts.size,
        "calibrated by cross-validation",
    )
