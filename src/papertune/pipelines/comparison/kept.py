"""Answers of contestants that are kept on disk, so that a comparison that was stopped goes on where it was.

FOLDER/
  label--zero-shot-3f0c...json           what a contestant said of a column, written when it has said all
  label--zero-shot-3f0c...json.journal   what it has said so far

The name has a fingerprint of all that the answers depend on: the column, the tables, the weights, the libraries. A
comparison with another recipe finds other names, and nothing stale. A file says which format it is of; one of another
format is made again.
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
from papertune.evaluation.systems.contestants import Attempt
from papertune.events import Listener
from papertune.files import write_atomically
from papertune.inference.journal import Journal
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.kinds.predictions import Predictions
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe

# 2: with the raw probabilities; 3: `predictions`, with the rows where the run abstains. Files without a number are of
# the first format.
FORMAT = 3

# So many letters of a title stand in a file's name.
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Place:
    """Where the answers of one contestant are kept.

    Attributes:
        path: The file; it is there when all rows are answered.
        fingerprint: Of all that the answers depend on.
    """

    path: Path
    fingerprint: str


class KeptOutputs:
    """The finished answers of a comparison's contestants.

    Args:
        folder: Where they are kept; made if it is missing.
        listener: Gets a message for each system whose answers are made.
    """

    def __init__(self, folder: Path, listener: Listener) -> None:
        self._folder = folder
        self._listener = listener

    def get(self, title: str, facts: dict[str, Any], make: Callable[[Place], Attempt]) -> Attempt:
        """Give the answers that are kept, or have them made and keep them.

        Args:
            title: The message if they have to be made; the file is called by its letters.
            facts: All that the answers depend on, ready for JSON.
            make: Gives the answers; not called if they are there.

        Raises:
            OutputError: If they cannot be written.
        """
        fingerprint = hashlib.sha256(json.dumps([title, facts], sort_keys=True).encode()).hexdigest()
        letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in title.lower())
        place = Place(self._folder / f"{letters[:_LONGEST_NAME]}-{fingerprint[:16]}.json", fingerprint)
        kept = self._read(place.path)
        if isinstance(kept, Attempt):
            return kept
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        self._listener.message(title if kept is None else f"{title}: {kept}")
        attempt = make(place)
        try:
            write_atomically(place.path, json.dumps({"format": FORMAT, **attempt.as_dict()}, ensure_ascii=False))
        except OSError as error:
            raise self._unwritable(error) from error
        _journal(place, batches=0).remove()
        return attempt

    def _read(self, path: Path) -> Attempt | str | None:
        """Give what is kept; why it is of no use, if that is worth telling; None if there is nothing, or half of it."""
        try:
            values = dict(json.loads(path.read_text("utf-8")))
            if values.pop("format", 1) != FORMAT:
                return "done again, since what is kept is of another version of papertune"
            return Attempt.from_dict(values)
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._folder} cannot be written: {error.strerror or error}. What is finished is kept: make room or "
            "choose another folder, and run the same command."
        )


def answer_rows(
    predictor: Predictor,
    reader: RowReader,
    rows: int,
    recipe: Recipe,
    place: Place,
    listener: Listener,
    decisions: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Predictions], float | None]:
    """Have a model answer all rows of a table, batch by batch into a journal.

    Args:
        predictor: Answers batches.
        reader: Reads the rows, without their answers.
        rows: How many there are.
        recipe: The columns that are answered, of those that the predictor knows.
        place: Where the journal is kept, until `KeptOutputs` has written the whole.
        listener: Gets the progress after each batch.
        decisions: How each label column is answered; None: with the likeliest label.

    Returns:
        The answers by column, and the rows answered in a second by this call; None if all were in the journal.
    """
    begun = time.monotonic()
    plan = predictor.plan(reader, range(rows))
    with _journal(place, len(plan.batches)) as journal:
        new = rows - int(plan.batches.sizes[journal.finished].sum())
        values = predict_rows(predictor, reader, plan, journal=journal, listener=listener).values
    seconds = time.monotonic() - begun
    return predictions_of_values(values, recipe, decisions), new / seconds if new else None


def _journal(place: Place, batches: int) -> Journal:
    return Journal(place.path, place.fingerprint, batches)
