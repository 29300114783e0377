"""No training: label columns are answered by what the base model's layers hold, and by other sources."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from papertune.methods.method import TrainingMethod

if TYPE_CHECKING:
    import torch


class ProbeMethod(TrainingMethod):
    """The base model reads the rows once, and a logistic regression learns from its states.

    It is the quickest first answer for a new table, for label and labels columns only.
    """

    kind: Literal["probe"]

    trains: ClassVar[bool] = False
    saves_adapter: ClassVar[bool] = False
    learns_text: ClassVar[bool] = False
    has_memory_row: ClassVar[bool] = False

    def build(self, model: Any) -> Any:
        """Return the model as it is."""
        return model

    def save(self, model: Any, folder: Path, base_name: str, dtype: "torch.dtype") -> None:
        """Do nothing: a run with a probe keeps its sources only."""
