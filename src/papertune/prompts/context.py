"""Whether prompts and answers fit into the context of a model."""

import warnings
from collections.abc import Callable
from typing import Any

from papertune.errors import ModelError, PapertuneWarning, RecipeError
from papertune.models.context import context_tokens
from papertune.prompts.encoder import PromptEncoder
from papertune.recipe import EncodingSpec, Recipe

# The smallest number that `encoding.max_prompt_tokens` can have.
MIN_PROMPT_TOKENS = 16


def check_context(recipe: Recipe, encoder: PromptEncoder, config: Any) -> None:
    """Check before a training that every prompt and its answer fit into the model's context.

    Args:
        recipe: The columns that the model learns, the lengths and the method.
        encoder: Has the model's tokenizer.
        config: The model's configuration; one without a context has room for everything.

    Raises:
        RecipeError: If the longest prompt and the longest answer together do not fit.
    """
    context = context_tokens(config)
    if context is None:
        return
    name, answer = _longest_answer(
        recipe, lambda each: max(each.max_answer_tokens(encoder), each.max_learned_tokens(encoder))
    )
    room = context - answer - recipe.method.prefix_tokens
    if recipe.encoding.max_prompt_tokens <= room:
        return
    remedy = (
        f"Set encoding.max_prompt_tokens to {room} or less, or choose a model with a longer context."
        if room >= MIN_PROMPT_TOKENS
        else "Shorten the answers (encoding.max_answer_tokens, and max_new_tokens of the column), or choose a model "
        "with a longer context."
    )
    raise RecipeError(
        f"encoding.max_prompt_tokens is {recipe.encoding.max_prompt_tokens:,}, and {name} takes up to {answer:,} "
        f"tokens more{_prefix(recipe.method.prefix_tokens)}, but {recipe.model} reads {context:,} tokens at most. "
        f"{remedy}"
    )


def encoder_within_context(
    tokenizer: Any, recipe: Recipe, config: Any, prefix_tokens: int, *, answer_tokens: int | None = None
) -> PromptEncoder:
    """Return the encoder of a run's prompts; it truncates those that would leave no room for an answer.

    Args:
        tokenizer: The run's tokenizer.
        recipe: The run's recipe.
        config: The model's configuration.
        prefix_tokens: The length of the model's prefix.
        answer_tokens: Maximum tokens of an answer; None: as the recipe's columns need.

    Raises:
        ModelError: If there is no room for a prompt.
    """
    encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
    context = context_tokens(config)
    if context is None:
        return encoder
    name, answer = _longest_answer(recipe, lambda each: each.max_answer_tokens(encoder))
    if answer_tokens is not None:
        name, answer = "an answer", answer_tokens
    room = context - answer - prefix_tokens
    if encoder.max_prompt_tokens <= room:
        return encoder
    if room < MIN_PROMPT_TOKENS:
        raise ModelError(
            f"{recipe.model} reads {context:,} tokens at most, and {name} takes up to {answer:,}, so "
            "there is no room for a prompt. Choose shorter answers (max_new_tokens) or another model."
        )
    warnings.warn(
        f"encoding.max_prompt_tokens of the run is {encoder.max_prompt_tokens:,}, and {name} takes up to {answer:,} "
        f"tokens more{_prefix(prefix_tokens)}, but {recipe.model} reads {context:,} tokens at most: longer prompts are "
        f"truncated to {room:,} tokens.",
        PapertuneWarning,
        stacklevel=3,
    )
    spec = EncodingSpec(max_prompt_tokens=room, max_answer_tokens=recipe.encoding.max_answer_tokens)
    return PromptEncoder(tokenizer, spec, chat=recipe.chat)


def _prefix(tokens: int) -> str:
    return f", the prefix {tokens:,}" if tokens else ""


def _longest_answer(recipe: Recipe, tokens: Callable[[Any], int]) -> tuple[str, int]:
    """Return which question has the longest answers, in words, and their maximum tokens."""
    lengths = {name: tokens(column) for name, column in recipe.questions.items()}
    longest = max(lengths, key=lengths.__getitem__)
    return f'an answer of "{longest}"', lengths[longest]
