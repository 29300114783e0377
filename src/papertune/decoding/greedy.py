"""Greedy decoding over a batch; finished rows leave the batch."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch

from papertune.decoding.engine import Engine, PromptState

# Returns the ids that must not come after a row's decoded tokens; None: end the row's answer.
Forbid = Callable[[Sequence[int]], Collection[int] | None]


def greedy(
    engine: Engine,
    state: PromptState,
    *,
    end_ids: Collection[int],
    max_new_tokens: int,
    vocabulary: int | None = None,
    forbid: Forbid | None = None,
) -> list[list[int]]:
    """Continue each prompt with the most probable token, repeatedly.

    Args:
        engine: Runs the model.
        state: The prompts; consumed.
        end_ids: Tokens that end an answer.
        max_new_tokens: Maximum number of tokens of an answer.
        vocabulary: Number of token ids of the tokenizer; ids from here on are never chosen. None: all ids of the model.
        forbid: Returns the tokens that must not come next in a row.

    Returns:
        Token ids of each row's answer, without the end token.
    """
    answers: list[list[int]] = [[] for _ in range(len(state.lengths))]
    steps = greedy_tokens(
        engine, state, end_ids=end_ids, max_new_tokens=max_new_tokens, vocabulary=vocabulary, forbid=forbid
    )
    for row, token in steps:
        answers[row].append(token)
    return answers


@torch.inference_mode()
def greedy_tokens(
    engine: Engine,
    state: PromptState,
    *,
    end_ids: Collection[int],
    max_new_tokens: int,
    vocabulary: int | None = None,
    forbid: Forbid | None = None,
) -> Iterator[tuple[int, int]]:
    """Decode like `greedy`, and yield each token as soon as it is chosen.

    Args:
        engine: Runs the model.
        state: The prompts; consumed.
        end_ids: Tokens that end an answer.
        max_new_tokens: Maximum number of tokens of an answer.
        vocabulary: Number of token ids of the tokenizer; ids from here on are never chosen. None: all ids of the model.
        forbid: Returns the tokens that must not come next in a row.

    Yields:
        A row, and the next token of its answer.
    """
    answers: list[list[int]] = [[] for _ in range(len(state.lengths))]
    active = list(range(len(answers)))
    for step in range(max_new_tokens):
        logits = state.last_logits[:, :vocabulary].to(torch.float32, copy=True)  # a fork may share them
        forbidden = [forbid(answers[row]) if forbid else () for row in active]
        for index, ids in enumerate(forbidden):
            if ids:
                logits[index, list(ids)] = -torch.inf
        tokens = logits.argmax(dim=-1).tolist()
        kept = [i for i, token in enumerate(tokens) if token not in end_ids and forbidden[i] is not None]
        for index in kept:
            answers[active[index]].append(tokens[index])
            yield active[index], tokens[index]
        if not kept or step + 1 == max_new_tokens:
            break
        if len(kept) < len(active):
            state.select(torch.tensor(kept, device=engine.device))
            active = [active[index] for index in kept]
        engine.extend(state, [[tokens[index]] for index in kept])


def answer_ends(model: Any, end_id: int | None) -> set[int]:
    """Return the tokens that end an answer: that of the tokenizer, and those of the generation configuration."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = [configured] if isinstance(configured, int) else (configured or [])
    return {*more} if end_id is None else {end_id, *more}
