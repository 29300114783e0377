"""Which rows the sources beside the model decide alone: the certainty from which they do, chosen on dev rows.

A classifier answers by itself where it is certain, and leaves the other rows to a better one that costs more (Viola and
Jones 2001, doi:10.1109/CVPR.2001.990517). Of the shares of dev rows that could skip the model, the largest is taken
whose log-loss is hardly higher, by its mean and one standard error, and whose score is hardly lower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.calibration.joining import Evidence
from papertune.evaluation.dev_score import RowMeans
from papertune.inference.joined import cascading_questions, least_certainty
from papertune.kinds.base import PredictedTable
from papertune.kinds.label.record import MIN_EVIDENCE, MODEL, Cascade, Join
from papertune.run import Run
from papertune.sources.classifier import MIN_PROBABILITY
from papertune.sources.fitting.choice import standard_error
from papertune.sources.fitting.weights import fit_weights, join, mean_log_loss

# What a cascade may cost: the rise of the log-loss and its standard error together, in nats; and the fall of the score,
# as much as int8 may cost.
MAX_RISE = 0.02
MAX_FALL = 0.005
# The shares that are tried.
_SHARES = np.arange(20, 0, -1) / 20


@dataclass(frozen=True)
class _Rows:
    """The dev rows of a column in one table.

    Attributes:
        full: Values with the model, shape (rows, labels).
        cheap: Values without it.
        gold: Index of the gold label of each question, int64, shape (rows, questions); -1 where a row has none.
        certainty: Of the sources without the model, shape (rows,).
        table: The rows.
    """

    full: NDArray[np.float64]
    cheap: NDArray[np.float64]
    gold: NDArray[np.int64]
    certainty: NDArray[np.float64]
    table: PredictedTable


def choose_cascades(run: Run, evidence: Evidence) -> dict[str, Cascade]:
    """Return the cascade of each column that the model and other sources answer together.

    A column is missing if there are too few dev rows, or the model was not asked about them.

    Args:
        run: The run, joined and calibrated.
        evidence: What each source says about the dev rows.
    """
    found: dict[str, Cascade] = {}
    for name in run.recipe.columns:
        asking = cascading_questions(run.recipe, run.joins, name)
        if not asking or any(MODEL not in evidence.by_source[question] for question in asking):
            continue
        if min(len(evidence.questions[question].gold) for question in asking) < MIN_EVIDENCE:
            continue
        joins = {question: _without_model(run, evidence, question) for question in asking}
        parts = [part for part in _read(run, evidence, name, asking, joins) if len(part.certainty)]
        found[name] = _choose(run, name, joins, parts)
    return found


def _without_model(run: Run, evidence: Evidence, question: str) -> Join:
    """Return the join of the other sources, scaled to the dev rows as the join with the model is."""
    plain, rows = run.label_sources.plain_joins[question], evidence.questions[question]
    said = [evidence.by_source[question][source] for source in plain.weights]
    together = join(said, list(plain.weights.values()), plain.offsets)
    fitted = fit_weights([together], rows.gold)
    weights = {source: fitted.of_sources[0] * weight for source, weight in plain.weights.items()}
    offsets = fitted.of_sources[0] * np.asarray(plain.offsets) + fitted.offsets
    loss = mean_log_loss(fitted.joined([together]), rows.gold)
    return Join(weights, offsets.tolist(), "dev rows", len(rows.gold), {"joined": loss})


def _read(
    run: Run, evidence: Evidence, name: str, asking: Sequence[str], without_model: Mapping[str, Join]
) -> list[_Rows]:
    """Return the rows of each table with a gold answer to a question about which the model is asked.

    Args:
        run: The run.
        evidence: What each source says.
        name: The column.
        asking: Its questions about which the model is asked.
        without_model: The joins of the other sources for these.
    """
    questions = list(run.recipe.questions_of(name))
    full = evidence.predicted(run, name, evidence.tables)
    cheap = evidence.predicted(run, name, evidence.tables, {**run.joins, **without_model})
    parts: list[_Rows] = []
    for number, (with_model, without) in enumerate(zip(full, cheap, strict=True)):
        values, plain = np.asarray(with_model.values), np.asarray(without.values)
        gold = np.full((len(values), len(questions)), -1, dtype=np.int64)
        for place, question in enumerate(questions):
            rows = evidence.questions[question]
            here = rows.tables == number
            gold[rows.rows[here], place] = rows.gold[here]
        about_model = [place for place, question in enumerate(questions) if question in asking]
        known = np.flatnonzero((gold[:, about_model] >= 0).any(axis=1))
        by_question = _by_question(plain[known], questions, name)
        certainty = least_certainty([by_question[question] for question in asking])
        reader = with_model.reader
        table = PredictedTable(values[known], reader, known.tolist())
        parts.append(_Rows(values[known], plain[known], gold[known], certainty, table))
    return parts


def _by_question(values: NDArray[np.float64], questions: Sequence[str], name: str) -> dict[str, NDArray[np.float64]]:
    """Return the label probabilities of each question; a labels column has those of yes side by side."""
    if list(questions) == [name]:
        return {name: values}
    return {
        question: np.stack([values[:, place], 1 - values[:, place]], axis=1) for place, question in enumerate(questions)
    }


def _choose(run: Run, name: str, joins: dict[str, Join], parts: Sequence[_Rows]) -> Cascade:
    certainty = np.concatenate([part.certainty for part in parts])
    full, cheap = (_losses(run, name, parts, cheap=cheap) for cheap in (False, True))
    best, full_cells = _scored(run, name, parts, None)
    highest_first = np.sort(certainty)[::-1]
    rows = len(certainty)
    for share in _SHARES:
        threshold = float(highest_first[max(round(share * rows), 1) - 1])
        skips = certainty >= threshold
        rise = np.where(skips, cheap - full, 0.0)
        if rise.mean() + standard_error(rise) > MAX_RISE:
            continue
        score, cells = _scored(run, name, parts, threshold)
        if best - score <= MAX_FALL:
            changed = sum(one != other for one, other in zip(full_cells, cells, strict=True))
            losses = float(full.mean()), float((full + rise).mean())
            return Cascade(threshold, joins, rows, float(skips.mean()), losses, (best, score), changed)
    loss = float(full.mean())
    return Cascade(None, joins, rows, 0.0, (loss, loss), (best, best), 0)


def _losses(run: Run, name: str, parts: Sequence[_Rows], *, cheap: bool) -> NDArray[np.float64]:
    """Return the log-loss of each row, after calibration, in nats; the mean over the questions."""
    questions = list(run.recipe.questions_of(name))
    found: list[NDArray[np.float64]] = []
    for part in parts:
        values = part.cheap if cheap else part.full
        written = run.recipe.columns[name].predictions(values, run.decisions[name]).probabilities
        by_question = _by_question(np.array(written), questions, name)
        of_gold = np.full(part.gold.shape, np.nan)
        for place, question in enumerate(questions):
            rows = np.flatnonzero(part.gold[:, place] >= 0)
            of_gold[rows, place] = by_question[question][rows, part.gold[rows, place]]
        found.append(np.nanmean(-np.log(np.maximum(of_gold, MIN_PROBABILITY)), axis=1))
    return np.concatenate(found)


def _scored(run: Run, name: str, parts: Sequence[_Rows], threshold: float | None) -> tuple[float, list[str | None]]:
    """Return the score and the cells with a cascade, or with the model for all rows."""
    column, decision = run.recipe.columns[name], run.decisions[name]
    mean, cells = RowMeans(), []
    for part in parts:
        values = part.full
        if threshold is not None:
            values = np.where((part.certainty >= threshold)[:, None], part.cheap, part.full)
        cells += column.cells(values, decision).to_list()
        predictions = column.predictions(values, decision)
        score = column.score(predictions, part.table.reader, name, part.table.rows)
        if score is not None:
            mean.add({name: score.agreement}, score.rows)
    return mean.values()[name], cells
