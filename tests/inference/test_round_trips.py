"""What `predict` writes is read again with the same meaning, in every format, whatever stands in the cells."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.errors import PapertuneWarning
from papertune.evaluation.matching import match_rows
from papertune.evaluation.predictions import predictions_of_table, predictions_of_values
from papertune.inference.outputs import build_output, choose_columns
from papertune.kinds.keywords.cells import clean_keywords, keywords_as_text
from papertune.kinds.keywords.ranked.ranking import ranked_as_text
from papertune.kinds.label.output import most_probable_rows
from papertune.kinds.labels.cells import read_labels
from papertune.kinds.text.cells import answer_as_text
from papertune.prompts.examples import training_examples
from papertune.prompts.given_cells import open_table
from papertune.recipe import Recipe, load_recipe
from papertune.tables import WRITABLE, Table, read_table, write_table

LABELS = ["1", "0", "not, sure"]
TOPICS = ["law, public", "physics", "a b"]
# Signs with a meaning in some format or in lists, and others.
TEXT = st.text(
    st.sampled_from("ab07 ,;.|\"'\n\t={}#%|\u3000\u00e9\u4e2d\u2028\ufeff\U0001f600-_x")
    | st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff*<>&"),
    max_size=12,
)
IDS = st.sampled_from(["007", "7", "1e5", "100000", "1.0", "1", " x", "NaN", "None", "true", "2026-01-01", "=1+1"])
PROBABILITIES = st.sampled_from([0.0, 0.004, 0.25, 0.5, 0.7312, 1.0])


@dataclass(frozen=True)
class Filled:
    """A table and the answers of a model about it."""

    table: Table
    recipe: Recipe
    values: dict[str, Any]

    @property
    def decisions(self) -> dict[str, Any]:
        return {name: column.decision(name, None) for name, column in self.recipe.columns.items()}


@st.composite
def recipes(draw: Any) -> Recipe:
    separator = st.sampled_from(["; ", ", ", " | ", "\u3001"])
    columns = {
        "label": {
            "kind": "label",
            "question": "L?",
            "labels": LABELS,
            "abstain_below": draw(st.sampled_from([0, 0.6])),
        },
        "topics": {
            "kind": "labels",
            "question": "About {label}?",
            "labels": TOPICS,
            "separator": draw(st.sampled_from(["; ", " | ", "\u3001"])),
        },
        "Keywords": {"kind": "keywords", "question": "K?", "output_separator": draw(separator)},
        "ranked": {"kind": "ranked_keywords", "question": "R?", "output_separator": draw(separator)},
        "summary": {"kind": "text", "question": "S?", "empty": draw(st.sampled_from(["", "none"]))},
        "dose": {"kind": "number", "question": "N?", "decimal_mark": draw(st.sampled_from([".", ","]))},
    }
    names = draw(st.lists(st.sampled_from([*columns]), min_size=1, max_size=3, unique=True))
    table = {"document": "{title}\n{abstract}"} | ({"id": "key"} if draw(st.booleans()) else {})
    return load_recipe({"table": table, "columns": {name: columns[name] for name in names}})


@st.composite
def filled_tables(draw: Any) -> Filled:
    recipe = draw(recipes())
    count = draw(st.integers(1, 5))
    rows = st.lists(TEXT, min_size=count, max_size=count)
    columns = {"title": draw(rows), "abstract": draw(rows)}
    columns[draw(st.sampled_from(["other", "row"]))] = draw(st.lists(IDS, min_size=count, max_size=count, unique=True))
    if recipe.table.id:
        columns["key"] = draw(st.lists(IDS, min_size=count, max_size=count, unique=True))
    for name in recipe.columns:
        if draw(st.booleans()):
            columns[name] = draw(st.lists(own_cells(name), min_size=count, max_size=count))
    table = Table(pl.DataFrame({name: pl.Series(cells, dtype=pl.String) for name, cells in columns.items()}), "papers")
    return Filled(table, recipe, {name: draw(answers(name, count)) for name in recipe.columns})


def own_cells(name: str) -> st.SearchStrategy[str]:
    return {
        "label": st.sampled_from(LABELS),
        "topics": st.lists(st.sampled_from(TOPICS), unique=True, max_size=2).map(lambda cells: "; ".join(cells)),
        "dose": st.sampled_from(["", "1", "20"]),
    }.get(name, TEXT)


def answers(name: str, count: int) -> st.SearchStrategy[Any]:
    if name in ("label", "topics"):
        row = st.lists(PROBABILITIES, min_size=3, max_size=3)
        found = st.lists(row, min_size=count, max_size=count).map(np.array)
        return (
            found if name == "topics" else found.map(lambda array: (array + 0.1) / (array + 0.1).sum(1, keepdims=True))
        )
    keywords = st.lists(TEXT, max_size=4).map(clean_keywords)
    cell = {
        "Keywords": keywords.map("; ".join),
        "ranked": keywords.map(lambda texts: ranked_as_text([(text, 0.5) for text in texts])),
        "summary": TEXT.map(lambda text: answer_as_text(text, 0.25)),
        "dose": st.sampled_from(["", "1.5", "1.234", "-0.25", "20"]).map(lambda text: answer_as_text(text, 0.25)),
    }[name]
    return st.lists(cell, min_size=count, max_size=count).map(lambda cells: pl.Series(cells, dtype=pl.String))


def written(filled: Filled, folder: Path, suffix: str, columns: Any, probabilities: bool, *, is_sorted: bool) -> Path:
    chosen = choose_columns(columns, filled.table, filled.recipe, probabilities=probabilities)
    frame = build_output(filled.table, filled.recipe, filled.values, chosen, filled.decisions)
    if is_sorted and "label" in filled.recipe.columns:
        frame = frame[most_probable_rows(filled.values["label"], filled.decisions["label"])]
    write_table(frame, folder / f"out{suffix}", overwrite=True)
    return folder / f"out{suffix}"


OUTPUTS = {
    "filled": filled_tables(),
    "suffix": st.sampled_from(WRITABLE),
    "columns": st.sampled_from([None, "all"]),
    "probabilities": st.booleans(),
    "is_sorted": st.booleans(),
}


@settings(max_examples=30)
@given(**OUTPUTS)
def test_evaluate_reads_the_answers_of_each_row(tmp_path_factory, filled, suffix, columns, probabilities, is_sorted):
    path = written(filled, tmp_path_factory.getbasetemp(), suffix, columns, probabilities, is_sorted=is_sorted)
    matched = match_rows(read_table(path), filled.table, filled.recipe)
    read = predictions_of_table(matched, filled.recipe, filled.decisions)
    known = predictions_of_values(filled.values, filled.recipe, filled.decisions)
    for name, column in filled.recipe.columns.items():
        cells = list(read[name].cells)
        if name in ("Keywords", "ranked"):
            assert [column.read_list(cell) for cell in cells] == [
                clean_keywords(column.keywords_of(value)) for value in filled.values[name]
            ]
        elif name == "label" and not probabilities:  # the file has no answer where the run abstains
            assert cells == column.cells(filled.values[name], filled.decisions[name]).to_list()
        else:
            assert cells == list(known[name].cells)
        if probabilities and name in ("label", "topics"):
            np.testing.assert_allclose(read[name].probabilities, known[name].probabilities, atol=1e-6)


def opened(path: Path, recipe: Recipe) -> Table:
    """Return a file as the pipelines open it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PapertuneWarning)  # filled in before, which is tested below
        return open_table(path, recipe)


@settings(max_examples=30)
@given(**OUTPUTS)
def test_a_file_that_is_filled_in_again_keeps_the_cells_of_the_table(
    tmp_path_factory, filled, suffix, columns, probabilities, is_sorted
):
    folder = tmp_path_factory.getbasetemp()
    first = written(filled, folder, suffix, "all", probabilities, is_sorted=False)
    again = Filled(opened(first, filled.recipe), filled.recipe, filled.values)
    second = written(again, folder, suffix, "all", probabilities, is_sorted=is_sorted)
    third = Filled(opened(second, filled.recipe), filled.recipe, filled.values)
    for name in filled.table.columns:
        before, after = filled.table.frame[name].to_list(), again.table.frame[name].to_list()
        assert [cell.split() for cell in before] == [cell.split() for cell in after]
        assert after == third.table.frame[name].to_list() or is_sorted
    titles = read_table(second).columns
    assert len(titles) == len(set(titles))
    assert {*titles} == {*read_table(first).columns} | {f"{name}_given" for name in filled.recipe.columns}


@settings(max_examples=30)
@given(**OUTPUTS)
def test_a_filled_file_teaches_what_its_table_teaches(
    tmp_path_factory, filled, suffix, columns, probabilities, is_sorted
):
    path = written(filled, tmp_path_factory.getbasetemp(), suffix, "all", probabilities, is_sorted=is_sorted)
    own = filled.recipe.only(tuple(name for name in filled.recipe.columns if name in filled.table.columns))
    if own.columns:
        examples = ([e.prompt.document.split(), e.column, e.answer] for e in training_examples(filled.table, own))
        learned = ([e.prompt.document.split(), e.column, e.answer] for e in training_examples(opened(path, own), own))
        assert sorted(learned) == sorted(examples)


@settings(max_examples=30)
@given(**OUTPUTS)
def test_answers_are_learned_as_they_were_written(tmp_path_factory, filled, suffix, columns, probabilities, is_sorted):
    unlabelled = Table(filled.table.frame.drop(filled.recipe.columns, strict=False), "papers")
    # What other signs separate, all rows of a column together decide; see tests/prompts.
    recipe = filled.recipe.with_settings({name: {"output_separator": "; "} for name in ("Keywords", "ranked")})
    asked = Filled(unlabelled, recipe, filled.values)
    path = written(asked, tmp_path_factory.getbasetemp(), suffix, "all", probabilities, is_sorted=is_sorted)
    examples = training_examples(opened(path, asked.recipe), asked.recipe)
    learned = [(example.column, example.answer) for example in examples]
    answers = []
    for name, column in recipe.columns.items():
        cells = column.cells(filled.values[name], asked.decisions[name]).to_list()
        if name in ("Keywords", "ranked"):
            lists = [clean_keywords(column.keywords_of(value)) for value in filled.values[name]]
            answers += [(name, column.read_answer(keywords_as_text(keywords))) for keywords in lists]
        elif name == "topics":
            answers += [
                (f"topics: {label}", "yes" if label in read_labels(cell, column) else "no")
                for cell in cells
                for label in column.labels
            ]
        else:
            answers += [(name, column.read_answer(cell)) for cell in cells]
    assert sorted(learned) == sorted(each for each in answers if each[1] is not None)
