"""The fitted sources of a run, in the folder `sources` of its directory.

sources.json            the sources, and the join of each question without the model
NAME/                   what a source needs itself
NAME/classifiers.npz    its logistic regression for each question, by number in sources.json
"""

import json
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.errors import RunError
from papertune.files import atomic_writer, write_atomically
from papertune.kinds.base import SourceName
from papertune.kinds.label.record import Join
from papertune.records import AS_WRITTEN, parse_record
from papertune.sources.classifier import LinearClassifier
from papertune.sources.registry import sources_by_name
from papertune.sources.source import DAMAGED, Source, Surroundings

_INDEX = "sources.json"
_CLASSIFIERS = "classifiers.npz"


@dataclass(frozen=True)
class _Sources:
    """The content of sources.json."""

    __pydantic_config__ = AS_WRITTEN

    sources: list[SourceName]
    questions: dict[str, Join]


class LabelSources:
    """The sources of a run's label questions; each is loaded when it is first needed.

    Attributes:
        plain_joins: The join without the model, by question.
    """

    def __init__(self, folder: Path, surroundings: Surroundings) -> None:
        """Read which sources there are.

        Args:
            folder: The folder `sources` of a run.
            surroundings: Loads encoders and models.

        Raises:
            RunError: If the folder is damaged.
        """
        self._folder = folder
        self._surroundings = surroundings
        try:
            index = parse_record(_Sources, (folder / _INDEX).read_text("utf-8"))
        except DAMAGED as error:
            raise RunError(f"{folder / _INDEX} cannot be read: {error}. Copy the run again, or train again.") from error
        self.plain_joins = index.questions
        self._names = index.sources
        self._numbers = {name: number for number, name in enumerate(self.plain_joins)}
        self._loaded: dict[str, tuple[Source, dict[str, LinearClassifier]]] = {}
        self._asking = threading.Lock()  # their tokenizers and models serve one thread at a time

    @staticmethod
    def is_saved(folder: Path) -> bool:
        """Whether a folder has all sources."""
        return (folder / _INDEX).is_file()

    @staticmethod
    def save(
        folder: Path,
        sources: Mapping[str, Source],
        classifiers: Mapping[str, Mapping[str, LinearClassifier]],
        joins: Mapping[str, Join],
    ) -> None:
        """Write sources; sources.json comes last.

        Args:
            folder: The folder `sources` of a run.
            sources: The sources, by name.
            classifiers: By source the classifier of each question.
            joins: By question the join without the model.
        """
        for name, source in sources.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            source.save(folder / name)
            arrays: dict[str, NDArray[Any]] = {}
            for number, question in enumerate(joins):
                for key, array in vars(classifiers[name][question]).items():
                    arrays[f"{number}.{key}"] = array
            with atomic_writer(folder / name / _CLASSIFIERS) as stream:
                np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        index = {"sources": list(sources), "questions": {name: asdict(join) for name, join in joins.items()}}
        write_atomically(folder / _INDEX, json.dumps(index, ensure_ascii=False, indent=2))

    def log_probabilities(
        self, documents: Sequence[str], wanted: Mapping[str, Collection[str]]
    ) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Return what sources say about documents; several threads may ask, and are answered in turns.

        Args:
            documents: The documents.
            wanted: The sources by question.

        Returns:
            By question and source the log-probabilities, float64, shape (documents, labels).
        """
        found: dict[str, dict[str, NDArray[np.float64]]] = {question: {} for question in wanted}
        with self._asking:
            for name in self._names:
                asking = [question for question, names in wanted.items() if name in names]
                if asking:
                    source, classifiers = self._load(name)
                    features = source.features(documents)
                    for question in asking:
                        found[question][name] = classifiers[question].log_probabilities(features)
        return found

    def parameters(self, name: str, questions: Collection[str]) -> int:
        """Return the number of coefficients of a source for some questions."""
        _, classifiers = self._load(name)
        chosen = [each for question, each in classifiers.items() if question in questions]
        return sum(each.coefficients.size + each.intercepts.size for each in chosen)

    def _load(self, name: str) -> tuple[Source, dict[str, LinearClassifier]]:
        if name not in self._loaded:
            folder = self._folder / name
            source = sources_by_name()[name].load(folder, self._surroundings)
            try:
                with np.load(folder / _CLASSIFIERS, allow_pickle=False) as arrays:
                    classifiers = {
                        question: LinearClassifier(
                            *(arrays[f"{number}.{key}"] for key in ("coefficients", "intercepts", "is_known"))
                        )
                        for question, number in self._numbers.items()
                    }
            except DAMAGED as error:
                raise RunError(
                    f"{folder / _CLASSIFIERS} cannot be read: {error}. Copy the run again, or train again."
                ) from error
            self._loaded[name] = source, classifiers
        return self._loaded[name]
