"""Probabilities, thresholds and the order of keywords of a run, from dev rows that did not choose its weights.

The rows go through the model in the precision in which the run predicts by itself, so what is fitted fits what answers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papertune.events import SILENT, Listener
from papertune.kinds.label.fit import fit_decision, in_words, shortage, threshold_shortage
from papertune.kinds.keywords.fit import fit_ranking, ranking_in_words, ranking_shortage
from papertune.kinds.labels.thresholds import MIDDLE, asks_for_f1, with_f1_thresholds
from papertune.kinds.keywords.ranking import FoundKeyword
from papertune.inference.outputs import label_thresholds
from papertune.inference.predict import Pace, predict_rows
from papertune.kinds import LabelColumn, LabelsColumn, RankedKeywordsColumn
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.label.cells import read_label
from papertune.metrics.keyword_scores import unique_keywords
from papertune.metrics.screening import MIN_OF_EACH
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.run_directory import Calibration, Ranking
from papertune.tables import Table


def fit_labels(run: Run, tables: Sequence[Table], listener: Listener = SILENT) -> dict[str, Calibration]:
    """Fit what a run's label columns ask for.

    Args:
        run: A run whose weights are written.
        tables: Tables with the true labels.
        listener: Gets a message for each column, and the progress after each batch.

    Returns:
        What was found, by column.
    """
    columns = {name: column for name, column in run.recipe.columns.items() if isinstance(column, LabelColumn)}
    recipe = run.recipe.only(tuple(columns))
    said: dict[str, list[NDArray[np.float64]]] = {name: [] for name in columns}
    true: dict[str, list[str]] = {name: [] for name in columns}
    predictor = run.predictor()
    for table in tables:
        reader = RowReader(table, recipe)
        values = predict_rows(predictor, reader, predictor.plan(reader, range(len(table))), listener=listener).values
        for name, column in columns.items():
            given = (reader.given(row, name) for row in range(len(table)))
            labels = [None if cell is None else read_label(cell, column.labels) for cell in given]
            known = {row: label for row, label in enumerate(labels) if label is not None}
            said[name].append(np.asarray(values[name])[list(known)])
            true[name] += known.values()
    found: dict[str, Calibration] = {}
    for name, column in columns.items():
        true_ids = np.array([column.labels.index(label) for label in true[name]], dtype=np.int64)
        found[name] = fit_decision(column, np.concatenate(said[name]), true_ids)
        why = shortage(true[name])
        listener.message(f"{name}: nothing is fitted: {why}" if why else f"{name}: {in_words(column, found[name])}")
        if not why and (why := threshold_shortage(column, true[name])):
            listener.message(f"{name}: no threshold is chosen: {why}")
    return found


def rank_keywords(run: Run, tables: Sequence[Table], listener: Listener = SILENT) -> dict[str, Ranking]:
    """Find out how a run's ranked keywords are to be ordered.

    Args:
        run: A run whose weights are written.
        tables: Tables with the true keywords.
        listener: Gets a message for each column, and the progress after each batch.

    Returns:
        What was found, by column.
    """
    columns = {name: each for name, each in run.recipe.columns.items() if isinstance(each, RankedKeywordsColumn)}
    recipe = run.recipe.only(tuple(columns))
    found: dict[str, list[list[FoundKeyword]]] = {name: [] for name in columns}
    true: dict[str, list[list[str]]] = {name: [] for name in columns}
    predictor = run.predictor()
    for table in tables:
        reader = RowReader(table, recipe)
        given = {name: [split_keywords(reader.given(row, name) or "") for row in range(len(table))] for name in columns}
        # A cell may hold a mark only, such as "-".
        given = {name: [cell if unique_keywords(cell) else [] for cell in cells] for name, cells in given.items()}
        rows = [row for row in range(len(table)) if any(keywords[row] for keywords in given.values())]
        if not rows:
            continue
        plan = predictor.plan(reader, rows)
        pace = Pace(plan, listener)
        for number, batch in enumerate(plan.batches):
            for name, cells in predictor.find_keywords(reader, batch).items():
                for row, keywords in zip(batch, cells, strict=True):
                    if keywords is not None and given[name][row]:
                        found[name].append(keywords)
                        true[name].append(given[name][row])
            pace.finish(number)
    rankings: dict[str, Ranking] = {}
    for name, column in columns.items():
        rankings[name] = fit_ranking(column, found[name], true[name])
        why = ranking_shortage(found[name], true[name])
        listener.message(
            f"{name}: keywords are ranked by their probability alone: {why}"
            if why
            else f"{name}: {ranking_in_words(rankings[name])}"
        )
    return rankings


def with_chosen_thresholds(run: Run, tables: Sequence[Table], listener: Listener = SILENT) -> Recipe:
    """Give a run's recipe with numbers where its labels columns ask for the thresholds with the best F1.

    Args:
        run: A run whose weights are written.
        tables: Tables with the true labels.
        listener: Gets a message for each column, and the progress after each batch.
    """
    names = tuple(name for name, column in run.recipe.columns.items() if asks_for_f1(column))
    asked = run.recipe.only(names)
    predictor = run.predictor()
    said = []
    for table in tables:
        reader = RowReader(table, asked)
        values = predict_rows(predictor, reader, predictor.plan(reader, range(len(table))), listener=listener).values
        said.append((values, reader, len(table)))
    recipe, rare = with_f1_thresholds(run.recipe, said)
    for name in names:
        column = recipe.columns[name]
        assert isinstance(column, LabelsColumn)
        found = zip(column.labels, label_thresholds(column), strict=True)
        if shown := ", ".join(f"{label} {threshold:.2f}" for label, threshold in found if label not in rare[name]):
            listener.message(f"{name}: thresholds with the best F1 on {sum(map(len, tables)):,} dev rows: {shown}")
        if rare[name]:
            listener.message(
                f"{name}: {MIDDLE} for {', '.join(rare[name])}: fewer than {MIN_OF_EACH} dev rows have the label, or "
                "lack it"
            )
    return recipe
