"""What fits into a GPU: the memory that training takes with a recipe and its variants."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import floor
from typing import Any

import torch

from papertune.methods import METHODS, Method
from papertune.recipe import Recipe
from papertune.training import MAX_QUESTION_TOKENS
from papertune.training.memory import BatchShape, TrainingMemory, training_memory

GB = 2**30
CARDS_GB = (8, 16, 24)
# CUDA's own context and libraries, and what the allocator cannot use.
RESERVED_GB = 1


@dataclass(frozen=True)
class MemoryRow:
    """One way to train.

    Attributes:
        setting: The method and its settings, as in a recipe.
        is_recipe: Whether the recipe trains in this way.
        memory: The peak with the recipe's micro_batch_size.
        largest: The largest micro_batch_size that fits, by size of the card in GB; 0: none.
    """

    setting: str
    is_recipe: bool
    memory: TrainingMemory
    largest: Mapping[int, int]


def batch_shape(recipe: Recipe) -> BatchShape:
    """Return the largest batch that a recipe allows: every prompt and every answer has the maximum length."""
    columns = list(recipe.questions.values())
    answers = [column.max_answer_bytes(recipe.encoding.max_answer_tokens) for column in columns]
    rows, prompt = recipe.training.micro_batch_size, recipe.encoding.max_prompt_tokens
    is_shared = len(columns) > 1 and recipe.layout == "document-first"
    is_tree = is_shared or any(column.has_answer_tree for column in columns)
    # The last token of an answer is a target only.
    if not is_shared:
        return BatchShape(rows, prompt + max(answers) - 1, max(answers), is_tree)
    # Questions after the first; their tokens are hardly ever shorter than two bytes.
    more = sum(len(column.question.encode()) // 2 for column in columns[1:])
    behind = min(more + sum(answers) - len(answers), MAX_QUESTION_TOKENS)
    return BatchShape(rows, prompt + behind, sum(answers), is_tree)


def memory_rows(config: Any, recipe: Recipe) -> Iterator[MemoryRow]:
    """Compute the memory of a recipe and of the other methods for the same model and batches.

    Args:
        config: The model's configuration.
        recipe: The method, the batch shape and the precision.

    Raises:
        ModelError: If it cannot be computed for this model.
    """
    shape = batch_shape(recipe)
    dtype = torch.float32 if recipe.training.precision == "fp32" else torch.bfloat16
    several = max(2, shape.rows)
    for name, method in _methods(recipe.method).items():
        for checkpointing in (False, True):
            one, more = training_memory(
                config,
                method,
                [replace(shape, rows=rows) for rows in (1, several)],
                dtype=dtype,
                gradient_checkpointing=checkpointing,
                accumulation=recipe.training.accumulation,
            )
            per_row = (more.total - one.total) / (several - 1)
            yield MemoryRow(
                setting=f"{name}, gradient_checkpointing" if checkpointing else name,
                is_recipe=(method, checkpointing) == (recipe.method, recipe.training.gradient_checkpointing),
                memory=one if shape.rows == 1 else more,
                largest={card: _largest(card, one.total, per_row) for card in CARDS_GB},
            )


def _largest(card_gb: int, one: int, per_row: float) -> int:
    room = (card_gb - RESERVED_GB) * GB - one
    return 0 if room < 0 else 1 + floor(room / per_row)


def _methods(own: Method) -> dict[str, Method]:
    """Return the methods of the table by name: the recipe's as it is, the others with their defaults."""
    found: dict[str, Method] = {}
    for method in sorted(METHODS, key=lambda method: method.saves_adapter):
        if isinstance(own, method):
            found |= own.memory_variants()
        elif method.has_memory_row:
            found |= method(kind=method.kind_name()).memory_variants()
    return found
