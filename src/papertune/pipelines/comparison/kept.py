"""Outputs of systems that are kept on disk, so that a stopped comparison can continue.

FOLDER/
  label--zero-shot-3f0c...json           the output of a system for a column, written when it is complete
  label--zero-shot-3f0c...json.journal   the finished rows until then

The name contains a fingerprint of everything that the output depends on: the column, the tables, the weights, the
libraries. A comparison with another recipe therefore reads no outdated file. A file of another format is made again.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertune.errors import OutputError
from papertune.evaluation.predictions import predictions_of_values
from papertune.evaluation.systems.outputs import SystemOutput
from papertune.events import Listener
from papertune.files import write_atomically
from papertune.inference.batches import BatchPredictor
from papertune.inference.journal import Journal
from papertune.inference.predict import predict_rows
from papertune.kinds.predictions import Predictions
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe

# 2: with the raw probabilities; 3: `predictions`, with the rows where the run abstains. A file without a number has the
# first format.
FORMAT = 3

# Maximum characters of a title in a file name.
_MAX_TITLE = 60


@dataclass(frozen=True)
class Place:
    """Where the output of a system is kept.

    Attributes:
        path: The file; it exists when all rows are finished.
        fingerprint: Hash of everything that the output depends on.
    """

    path: Path
    fingerprint: str


class KeptOutputs:
    """The finished outputs of a comparison's systems.

    Args:
        folder: The folder of the files; made if it is missing.
        listener: Gets a message for each output that has to be made.
    """

    def __init__(self, folder: Path, listener: Listener) -> None:
        self._folder = folder
        self._listener = listener

    def get(self, title: str, facts: dict[str, Any], make: Callable[[Place], SystemOutput]) -> SystemOutput:
        """Return the output that is kept, or make it and keep it.

        Args:
            title: The message if the output has to be made, and the beginning of the file name.
            facts: Everything that the output depends on, ready for JSON.
            make: Makes the output; not called if it is kept.

        Raises:
            OutputError: If the output cannot be written.
        """
        fingerprint = hashlib.sha256(json.dumps([title, facts], sort_keys=True).encode()).hexdigest()
        letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in title.lower())
        place = Place(self._folder / f"{letters[:_MAX_TITLE]}-{fingerprint[:16]}.json", fingerprint)
        kept = self._read(place.path)
        if isinstance(kept, SystemOutput):
            return kept
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        self._listener.message(title if kept is None else f"{title}: {kept}")
        output = make(place)
        try:
            write_atomically(place.path, json.dumps({"format": FORMAT, **output.as_dict()}, ensure_ascii=False))
        except OSError as error:
            raise self._unwritable(error) from error
        _journal(place, batches=0).remove()
        return output

    def _read(self, path: Path) -> SystemOutput | str | None:
        """Return the kept output; a reason why it cannot be used; None if there is none or it is incomplete."""
        try:
            values = dict(json.loads(path.read_text("utf-8")))
            if values.pop("format", 1) != FORMAT:
                return "done again, since the kept output is from another version of papertune"
            return SystemOutput.from_dict(values)
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._folder} cannot be written: {error.strerror or error}. Finished outputs are kept: free some space "
            "or choose another folder, and run the same command."
        )


def answer_rows(
    predictor: BatchPredictor,
    reader: RowReader,
    rows: int,
    recipe: Recipe,
    place: Place,
    listener: Listener,
    decisions: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Predictions], float | None]:
    """Predict all rows of a table with a model, batch by batch into a journal.

    Args:
        predictor: Predicts batches.
        reader: Reads the rows, without gold cells.
        rows: Number of rows.
        recipe: The columns to predict.
        place: Where the journal is kept until `KeptOutputs` has written the output.
        listener: Gets the progress after each batch.
        decisions: The decision of each label column; None: the most probable label.

    Returns:
        The predictions by column, and the rows per second of this call; None if all rows were in the journal.
    """
    started = time.monotonic()
    plan = predictor.plan(reader, range(rows))
    with _journal(place, len(plan.batches)) as journal:
        new = rows - int(plan.batches.sizes[journal.finished].sum())
        values = predict_rows(predictor, reader, plan, journal=journal, listener=listener).values
    seconds = time.monotonic() - started
    return predictions_of_values(values, recipe, decisions), new / seconds if new else None


def _journal(place: Place, batches: int) -> Journal:
    return Journal(place.path, place.fingerprint, batches)
