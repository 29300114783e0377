import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from papertune.models import find_config
from papertune.pipelines.memory import CARDS_GB, GB, batch_shape, memory_rows
from papertune.recipe import load_recipe
from papertune.training.memory import BatchShape, training_memory

pytestmark = pytest.mark.once


def test_batch_shape_of_recipes():
    tutorial = load_recipe("xfg-label")
    # "1" and "0": a byte, a blank before it, and the end token, which is a target only.
    assert batch_shape(tutorial) == BatchShape(rows=4, seq=512 + 2, answer_tokens=3)
    lists = load_recipe("xfg-keywords")
    assert batch_shape(lists) == BatchShape(4, 512 + 511, 512)
    both = load_recipe("medical-papers", ["encoding.max_prompt_tokens=100", "encoding.max_answer_tokens=20"])
    question = len("Name one keyword of this paper.") // 2
    assert batch_shape(both) == BatchShape(8, 100 + question + 2 + 19, 23, is_tree=True)
    alone = load_recipe(both, ["layout=question-first"])
    assert batch_shape(alone) == BatchShape(8, 100 + 19, 20, is_tree=True)
    assert not batch_shape(both.only(("label",))).is_tree
    words = load_recipe(tutorial, ['columns.label.labels=["yes", "yet"]', "columns.label.loss=labels"])
    # The position before the label, and of each label its bytes and a blank.
    assert batch_shape(words) == BatchShape(rows=4, seq=512 + 8, answer_tokens=9, is_tree=True)
    assert not batch_shape(load_recipe(words, ['columns.label.labels=["yes", "no"]'])).is_tree


@pytest.fixture
def short(recipe):
    return load_recipe(recipe, ["encoding.max_prompt_tokens=64", "encoding.max_answer_tokens=16"])


def test_the_rows_compare_all_methods(short, tiny_folder):
    rows = list(memory_rows(find_config(str(tiny_folder)), short))
    assert [row.setting for row in rows[::2]] == [
        "full", "lora", "lora, base_bits = 8", "lora, base_bits = 4", "ptuning_v2",
    ]  # fmt: skip
    assert [row.setting for row in rows[1::2]] == [f"{row.setting}, gradient_checkpointing" for row in rows[::2]]
    assert [row.setting for row in rows if row.is_recipe] == ["lora"]
    own = next(row for row in rows if row.is_recipe)
    (expected,) = training_memory(
        find_config(str(tiny_folder)), short.method, [batch_shape(short)], dtype=torch.float32
    )
    assert own.memory == expected
    assert own.memory.trainable == 3712


def test_the_row_of_a_freeze_recipe_is_shown_and_marked(short, tiny_folder):
    freeze = "method={ kind = 'freeze', layers = 1 }"
    other = load_recipe(short, [freeze, "training.gradient_checkpointing=true", "layout=question-first"])
    rows = list(memory_rows(find_config(str(tiny_folder)), other))
    assert [row.setting for row in rows if row.is_recipe] == ["freeze, gradient_checkpointing"]


def test_the_largest_batch_fits_and_a_larger_one_does_not(short, tiny_folder):
    config = find_config(str(tiny_folder))
    row = next(row for row in memory_rows(config, short) if row.is_recipe)
    shape = batch_shape(short)
    for card in CARDS_GB:
        largest = row.largest[card]
        shapes = [replace(shape, rows=largest), replace(shape, rows=round(largest * 1.02))]
        fits, too_large = training_memory(config, short.method, shapes, dtype=torch.float32)
        assert fits.total <= (card - 1) * GB * 1.01
        assert too_large.total > (card - 1) * GB


def test_no_batch_fits_for_a_model_that_is_too_large():
    recipe = load_recipe("xfg-label", ["encoding.max_prompt_tokens=16"])
    row = next(iter(memory_rows(find_config(recipe.model), recipe)))
    assert row.setting == "full"
    assert row.memory.weights == pytest.approx(4 * 6_243_584_000, rel=1e-4)
    assert set(row.largest.values()) == {0}


def test_the_documentation_shows_the_computed_numbers():
    page = (Path(__file__).parents[2] / "docs" / "memory.md").read_text("utf-8")
    shown = re.search(r"^\| `lora` \(the recipe\) \| (.*) \|$", page, re.MULTILINE)
    assert shown
    tutorial = load_recipe("xfg-label")
    (found,) = training_memory(
        find_config(tutorial.model),
        tutorial.method,
        [batch_shape(tutorial)],
        dtype=torch.bfloat16,
        accumulation=tutorial.training.accumulation,
    )
    parts = (found.weights, found.gradients, found.optimizer, found.activations, found.total)
    # The numbers depend a little on the version of transformers.
    assert [float(cell) for cell in shown[1].split(" | ")[:5]] == pytest.approx(
        [p / GB for p in parts], rel=0.03, abs=0.006
    )
    assert f"{found.parameters:,} parameters" in page
