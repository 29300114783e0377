"""The manifest of a run: what run.json records.

It has what prediction, calibration and reports need of a training, and where its model comes from.
"""

from dataclasses import dataclass, field
from typing import Any

from papertune.kinds import ColumnSpec
from papertune.kinds.keywords.ranked.record import Ranking
from papertune.kinds.label.record import Calibration, Cascade, Join
from papertune.records import AS_WRITTEN

# 2: with `calibration`; 3: with `rankings`; 4: with `calibrated_in` and `fitted_settings`; 5: with `joins`, and labels
# are scored by the decisions among them; 6: documents are cleaned; with
# `stage` and `parents`. A run of an earlier format opens, and has none.
FORMAT = 6


@dataclass(frozen=True)
class TableNote:
    """A table that a run was trained on."""

    __pydantic_config__ = AS_WRITTEN

    source: str
    rows: int
    checksum: str


@dataclass(frozen=True)
class Parent:
    """A run that a training has started from.

    Attributes:
        stage: Its stage.
        path: Its folder, as the recipe named it.
        checksum: SHA-256 of its recipe and its weights.
    """

    __pydantic_config__ = AS_WRITTEN

    stage: str
    path: str
    checksum: str


@dataclass(frozen=True)
class Int8Check:
    """A comparison of predictions in int8 and in float32 on the dev rows of a run.

    Attributes:
        rows: Number of rows in the selection set.
        labels: Number of predicted cells of label and labels columns, empty ones included.
        changed: Number of these cells that differ, with the thresholds of prediction.
        scores: Accuracy (a label), micro F1 (several labels) or F1@5 (keywords) of each column, in float32 and in int8.
    """

    __pydantic_config__ = AS_WRITTEN

    rows: int
    labels: int
    changed: int
    scores: dict[str, tuple[float, float]]

    @property
    def confirms(self) -> bool:
        """Whether int8 is as good: at most 1% of the labels differ, and no score is lower by more than 0.005."""
        as_good = all(low >= full - 0.005 for full, low in self.scores.values())
        return bool(self.scores) and 100 * self.changed <= self.labels and as_good


@dataclass(frozen=True)
class Manifest:
    """The description of a complete run.

    Attributes:
        format: Version of the run directory's format.
        base_name: The base model as the recipe names it.
        base_checksum: SHA-256 of its weights; None for a model with a hub id.
        tables: The training tables.
        label_counts: The number of training rows of each label, for each label and labels column.
        examples: Number of training examples.
        steps: Number of optimizer steps.
        seconds: Training time; only of the last part, if the training was resumed.
        trained_weights: Number of trainable parameters.
        dev_score: The best dev score, if there was a dev table.
        int8: How int8 changes predictions on dev rows, if that was measured.
        calibration: The calibration of each label column; empty without a calibration set.
        rankings: The fitted ranking of each column of ranked keywords.
        joins: How the sources of each label question are joined, by question.
        cascades: By column which rows need no model; a column whose model is not joined with other sources is missing.
        fitted_settings: By column the settings of the recipe that calibration has replaced, as they were.
        calibrated_in: The precision of the model for calibration; None: the run is not calibrated, or not completely.
        stage: The stage of the training.
        parents: The runs that it has started from, the first one first.
        stage_results: What the stage has measured, by name.
        reward: Where a stage has got its rewards from; None: it has none.
    """

    __pydantic_config__ = AS_WRITTEN

    base_name: str
    base_checksum: str | None
    tables: list[TableNote] = field(default_factory=list)
    label_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    examples: int = 0
    steps: int = 0
    seconds: float = 0.0
    trained_weights: int = 0
    dev_score: float | None = None
    int8: Int8Check | None = None
    calibration: dict[str, Calibration] = field(default_factory=dict)
    rankings: dict[str, Ranking] = field(default_factory=dict)
    joins: dict[str, Join] = field(default_factory=dict)
    cascades: dict[str, Cascade] = field(default_factory=dict)
    fitted_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    calibrated_in: str | None = None
    stage: str = "sft"
    parents: list[Parent] = field(default_factory=list)
    stage_results: dict[str, float] = field(default_factory=dict)
    reward: str | None = None
    format: int = FORMAT

    def record(self, name: str, column: ColumnSpec) -> Any:
        """Return what calibration has found for a column; None if nothing."""
        return getattr(self, column.record_field).get(name) if column.record_field else None

    @property
    def lacks_calibration(self) -> bool:
        """Whether the run must be calibrated if it has dev rows; runs of earlier formats are always calibrated."""
        return self.calibrated_in is None and self.format >= 4
