"""What a source of label probabilities is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self
from zipfile import BadZipFile

from papertune.events import SILENT, Listener
from papertune.recipe import Recipe

# What reading a damaged JSON or .npz file raises.
DAMAGED = (
    OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, RecursionError, BadZipFile
)  # fmt: skip


@dataclass(frozen=True)
class Surroundings:
    """What sources need beside documents.

    Attributes:
        recipe: The recipe.
        load_base: Loads the base model and its tokenizer.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        scratch: A folder for what a resumed training should not do again; None: nothing is kept.
    """

    recipe: Recipe
    load_base: Callable[[], tuple[Any, Any]]
    device: str | None = None
    scratch: Path | None = None


class Source(ABC):
    """Features of documents, on which a logistic regression for each label question is fitted.

    A source learns nothing from gold labels itself, so that its features can be made once for all folds of a
    cross-validation and for all questions.

    Attributes:
        name: Its name in `sources` of a recipe.
        cost: How much slower prediction becomes; of equally good joins the one with the lower sum is chosen.
        strengths: Candidates for the inverse L2 penalty of the logistic regression.
    """

    name: ClassVar[str]
    cost: ClassVar[int]
    strengths: ClassVar[tuple[float, ...]]

    @classmethod
    @abstractmethod
    def fit(cls, documents: Sequence[str], surroundings: Surroundings, listener: Listener = SILENT) -> tuple[Self, Any]:
        """Make the source from training documents.

        Returns:
            The source and the features of these documents, sparse or dense, shape (documents, features).
        """

    @abstractmethod
    def features(self, documents: Sequence[str]) -> Any:
        """Return the features of documents, sparse or dense, shape (documents, features)."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the source into an existing folder; arrays and JSON only."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, surroundings: Surroundings) -> Self:
        """Read what `save` has written.

        Raises:
            RunError: If a file is missing or damaged, or a model is not the one that the source was made with.
        """
