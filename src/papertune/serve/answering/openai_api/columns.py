"""Columns of a run as answers of OpenAI's API: each row's answer is one piece with one pseudo-token."""

import json
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from papertune.errors import TableError
from papertune.serve.answering.openai_api.models import Target
from papertune.serve.answering.predict import probabilities_of
from papertune.serve.answering.wanted import TEXT, Ended, Filled, Piece, RowsWanted, Token
from papertune.serve.answering.worker import ModelWorker
from papertune.serve.errors import ServeError

# What OpenAI's API has for the logarithm of 0.
_IMPOSSIBLE = -9999.0


async def fill_texts(
    worker: ModelWorker, target: Target, texts: Sequence[str], param: str
) -> AsyncIterator[tuple[int, Piece | Ended]]:
    """Yield the answer to each text: a piece, and the end.

    Args:
        worker: Answers.
        target: The columns.
        texts: Each a JSON object of columns, or a document.
        param: The parameter that they come from, for messages.

    Raises:
        ServeError: 400 if a text does not fit the run; and as in `ModelWorker.fill`.
    """
    rows = [_row(text) for text in texts]
    # Documents and objects are different tables; nearly always all texts are of one kind.
    for is_text in (False, True):
        places = [place for place, row in enumerate(rows) if (row is None) == is_text]
        if not places:
            continue
        own = [{TEXT: texts[place]} if is_text else rows[place] or {} for place in places]
        wanted = RowsWanted(own, None if target.is_all else target.columns, is_text=is_text, counts_tokens=True)
        try:
            filled = await worker.fill(target.run, wanted)
        except TableError as error:
            raise ServeError(400, "invalid_row", str(error), param) from None
        for row, place in enumerate(places):
            yield place, _piece(filled, target, row)
            # Tokens and warnings are those of all rows together; the first of them has these.
            is_first = row == 0
            yield place, Ended("stop", filled.prompt_tokens * is_first, len(target.columns), filled.warnings * is_first)


def _row(text: str) -> dict[str, Any] | None:
    """Return the row in a text; None if it is a document."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value else None


def _piece(filled: Filled, target: Target, row: int) -> Piece:
    cells = {name: filled.cells[name][row] for name in target.columns}
    if target.is_all:
        return Piece(json.dumps(cells, ensure_ascii=False))
    ((name, cell),) = cells.items()
    return Piece(cell, _token(filled, name, row, cell))


def _token(filled: Filled, name: str, row: int, cell: str) -> Token | None:
    """Return the pseudo-token of an answer; None for a kind without probabilities."""
    column, predictions = filled.recipe.columns[name], filled.predictions[name]
    probabilities = probabilities_of(filled, name, row)
    best_first = sorted(probabilities, key=lambda label: -probabilities[label])
    others = [(label, _log(probabilities[label])) for label in best_first]
    if probabilities and (of_label := column.question_of_label(name)):
        # A set of labels: each question has its yes or no.
        asked = {label: question for question, label in of_label.items()}
        total = 0.0
        for label, probability in probabilities.items():
            question = asked[label]
            is_yes = column.gold_of_question(cell, question, name) == column.questions(name)[question].joined_labels[0]
            total += _log(probability if is_yes else 1 - probability)
        return Token(cell, max(total, _IMPOSSIBLE), others)
    if probabilities:
        # Where the run abstains, the cell is empty, and the probability is that of the label it would have chosen.
        return Token(cell, _log(probabilities[predictions.cells[row]]), others)
    confidence = predictions.confidences[row] if predictions.confidences is not None else None
    return None if confidence is None else Token(cell, _log(confidence))


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else _IMPOSSIBLE
