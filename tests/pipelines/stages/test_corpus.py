"""What of the tables becomes a corpus."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.pipelines.stages import corpus
from papertune.pipelines.stages.corpus import Corpus, CorpusWriter
from papertune.prompts import PromptEncoder
from papertune.recipe import load_recipe
from papertune.tables import read_table

pytestmark = pytest.mark.once


@given(st.lists(st.integers(0, 5), max_size=20), st.lists(st.integers(1, 5), max_size=3, unique=True))
def test_a_paper_is_learned_where_it_is_first(keys, before):
    learned = corpus._first_ones(np.asarray(keys, dtype=np.uint64), np.asarray(before, dtype=np.uint64))
    expected = [key != 0 and key not in before and key not in keys[:place] for place, key in enumerate(keys)]
    assert learned.tolist() == expected


@pytest.fixture
def written(both_columns, tiny_tokenizer, tmp_path):
    """Return a function that writes a corpus of tables and returns it with its texts."""

    def write(tables, mix=0.0, dev=(), dev_fraction=0.0, training=None):
        recipe = load_recipe({**both_columns, "training": training or {}})
        documents, prompts = (PromptEncoder(tiny_tokenizer, recipe.encoding, chat=chat) for chat in (False, True))
        read = [read_table(table) for table in tables]
        writer = CorpusWriter(recipe, documents, prompts, mix)
        writer.write(tmp_path, len(tiny_tokenizer), read, [read_table(table) for table in dev], dev_fraction)
        found = Corpus.open(tmp_path)
        starts, tokens = found.file.starts, found.file.tokens
        return found, [tiny_tokenizer.decode(tokens[a:b].tolist()) for a, b in pairwise(starts)]

    return write


@pytest.mark.parametrize("part", [1, 3, 100])
def test_parts_change_nothing_but_which_instructions_are_drawn(written, papers, monkeypatch, part):
    monkeypatch.setattr(corpus, "_PART", part)
    rows = papers(10)
    for number in (0, 1, 2, 5, 9):
        rows[number] |= {"label": "", "Keywords": ""}  # without gold, so not an instruction
    found, texts = written([rows, rows[:4] + papers(3, 50)], mix=0.9)
    read = [text for text in texts if not text.startswith("<|im_start|>")]
    asked = [text for text in texts if text.startswith("<|im_start|>")]
    assert read == [f"title: {row['title']}\nabstract: {row['abstract']}<|im_end|>" for row in [*rows, *papers(3, 50)]]
    assert (found.papers, found.duplicates, found.instructions) == (13, 4, 2 * 8)
    assert len(set(asked)) == len(asked) == 16  # all there are: their share of the tokens is below 0.9
    assert not any(row["title"] in text for row in rows if not row["label"] for text in asked)


def test_drawn_dev_papers_are_as_many_as_the_recipe_scores(written, papers):
    found, texts = written(
        [papers(20), papers(20, 20)], dev_fraction=0.5, training={"dev_rows": 3, "calibration_rows": 4}
    )
    assert (len(found.selection), len(found.held_out), found.papers, len(texts)) == (3, 4, 33, 33)


def test_dev_papers_of_a_table_are_taken_once(written, papers):
    found, _ = written([papers(4)], dev=[[*papers(5, 60), *papers(5, 60)]])
    assert (len(found.selection), len(found.held_out)) == (3, 2)


def test_the_same_seed_draws_the_same_papers(written, papers):
    first, texts = written([papers(20)], dev_fraction=0.3)
    second, same = written([papers(20)], dev_fraction=0.3)
    assert (first.selection, first.held_out, texts) == (second.selection, second.held_out, same)
    other, _ = written([papers(20)], dev_fraction=0.3, training={"seed": 1})
    assert other.selection != first.selection
