"""Rows of many requests that go through the model together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import Any

from papertune.errors import PapertuneError
from papertune.events import SILENT, Listener
from papertune.inference.batches import BatchPredictor
from papertune.inference.outputs import build_output
from papertune.inference.plan import Plan
from papertune.inference.predict import predict_rows
from papertune.inference.predict_table import open_checked, warn_of_empty_cells, warn_of_gaps, warn_of_truncation
from papertune.kinds.values import ColumnValues
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.serve.answering.opened import OpenRun
from papertune.serve.answering.wanted import Filled, RowsWanted
from papertune.serve.collecting import collected_warnings
from papertune.tables import Table


@dataclass(frozen=True)
class _Read:
    wanted: RowsWanted
    table: Table
    warnings: list[str]


def fill_together(
    opened: OpenRun, requests: Sequence[RowsWanted], listener: Listener = SILENT
) -> list[Filled | PapertuneError]:
    """Fill in the rows of several requests; each gets what it would get alone.

    Args:
        opened: The run.
        requests: The requests.
        listener: Gets the progress after each batch.

    Returns:
        For each request its rows, or what is wrong with it.
    """
    groups: dict[Any, list[int]] = {}
    for place, wanted in enumerate(requests):
        # Rows with the same columns make a table, which is either of papers or of instructions.
        names = frozenset(chain.from_iterable(wanted.rows))
        groups.setdefault((wanted.columns, wanted.is_text, names), []).append(place)
    found: dict[int, Filled | PapertuneError] = {}
    for (columns, is_text, _), places in groups.items():
        recipe = opened.asked(columns, is_text=is_text)
        read = _read(recipe, [requests[place] for place in places])
        found |= {p: each for p, each in zip(places, read, strict=True) if isinstance(each, PapertuneError)}
        valid = [(p, each) for p, each in zip(places, read, strict=True) if isinstance(each, _Read)]
        if valid:
            filled = _fill_or_each(opened, recipe, [each for _, each in valid], listener)
            found |= zip([place for place, _ in valid], filled, strict=True)
    return [found[place] for place in range(len(requests))]


def _read(recipe: Recipe, requests: Sequence[RowsWanted]) -> list[_Read | PapertuneError]:
    """Make a table of the rows of each request.

    Reading and checking a table takes milliseconds, so all are read together first. What that finds is a matter of one
    request, or of none, as two equal documents are: then each half is read, down to single requests.
    """
    if len(requests) == 1:
        return [_read_one(recipe, requests[0])]
    together = _read_one(recipe, RowsWanted([row for each in requests for row in each.rows]))
    if isinstance(together, _Read) and not together.warnings:
        ends = accumulate((len(each.rows) for each in requests), initial=0)
        tables = [replace(together.table, frame=together.table.frame[a:b], forms={}) for a, b in pairwise(ends)]
        return [_Read(wanted, table, []) for wanted, table in zip(requests, tables, strict=True)]
    middle = len(requests) // 2
    return [*_read(recipe, requests[:middle]), *_read(recipe, requests[middle:])]


def _read_one(recipe: Recipe, wanted: RowsWanted) -> _Read | PapertuneError:
    with collected_warnings() as warnings:
        try:
            return _Read(wanted, open_checked(list(wanted.rows), recipe), warnings)
        except PapertuneError as error:
            return error


def _fill_or_each(
    opened: OpenRun, recipe: Recipe, read: Sequence[_Read], listener: Listener
) -> Sequence[Filled | PapertuneError]:
    """Fill in tables together; if that fails, each alone, so that one request cannot spoil the others."""
    try:
        return _fill(opened, recipe, read, listener)
    except PapertuneError as error:
        if len(read) == 1:
            return [error]
    return [answer for each in read for answer in _fill_or_each(opened, recipe, [each], listener)]


def _fill(opened: OpenRun, recipe: Recipe, read: Sequence[_Read], listener: Listener) -> list[Filled]:
    import polars as pl

    predictor, at_loading = opened.predictor(recipe)
    first = read[0].table
    table = first if len(read) == 1 else replace(first, frame=pl.concat([each.table.frame for each in read]), forms={})
    reader = RowReader(table, recipe)
    plan = predictor.plan(reader, range(len(table)))
    values = predict_rows(predictor, reader, plan, listener=listener).values
    cells = _cells(opened, recipe, table, values)
    ends = accumulate((len(each.table) for each in read), initial=0)
    filled = []
    for each, (begin, end) in zip(read, pairwise(ends), strict=True):
        own: dict[str, ColumnValues] = {name: values[name][begin:end] for name in recipe.columns}
        truncated = replace(plan, truncated=[row - begin for row in plan.truncated if begin <= row < end])
        warnings = [*at_loading, *each.warnings, *_warnings(opened, recipe, each.table, truncated, own)]
        tokens = _prompt_tokens(predictor, reader, range(begin, end)) if each.wanted.counts_tokens else 0
        predictions = {
            name: column.predictions(own[name], opened.decisions[name]) for name, column in recipe.columns.items()
        }
        own_cells = {title: column[begin:end] for title, column in cells.items()}
        filled.append(Filled(recipe, own_cells, predictions, warnings, tokens))
    return filled


def _warnings(
    opened: OpenRun, recipe: Recipe, table: Table, plan: Plan, values: Mapping[str, ColumnValues]
) -> list[str]:
    with collected_warnings() as texts:
        warn_of_gaps(opened.run.manifest, recipe)
        warn_of_truncation(plan, table, recipe)
        warn_of_empty_cells(values, recipe, opened.decisions, list(recipe.columns), table.source)
    return texts


def _cells(opened: OpenRun, recipe: Recipe, table: Table, values: Mapping[str, ColumnValues]) -> dict[str, list[str]]:
    """Return the cells of each column and of the columns beside it, by title."""
    columns = recipe.columns.items()
    titles = [
        title for name, each in columns for title in (name, *(beside.title for beside in each.output_columns(name)))
    ]
    cells: dict[str, list[str]] = build_output(table, recipe, values, titles, opened.decisions).to_dict(as_series=False)
    return cells


def _prompt_tokens(predictor: BatchPredictor, reader: RowReader, rows: Sequence[int]) -> int:
    return sum(len(encoded.ids) for row in predictor.encode(reader, rows) for _, encoded in row.values())
