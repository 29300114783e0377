"""Greedy decoding over a batch; finished rows leave the batch."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from papertune.decoding.answer import Answer
from papertune.decoding.engine import Engine, PromptState

# Returns what must not come after a row's decoded tokens: token ids, or a mask of the vocabulary, bool, shape (vocab,),
# true where a token is forbidden; None: end the row's answer.
Forbid = Callable[[Sequence[int]], Collection[int] | Tensor | None]


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

    Yields:
        A row, and the next token of its answer.
    """
    for row, token, _ in _steps(engine, state, end_ids, max_new_tokens, vocabulary, forbid):
        if token is not None:
            yield row, token


def greedy_answers(
    engine: Engine,
    state: PromptState,
    *,
    end_ids: Collection[int],
    max_new_tokens: int,
    vocabulary: int | None = None,
    forbid: Forbid | None = None,
) -> list[Answer]:
    """Decode like `greedy`, and return each answer with its log-probability.

    The probabilities are the model's own, as if nothing were forbidden.
    """
    tokens: list[list[int]] = [[] for _ in range(len(state.lengths))]
    sums = [0.0] * len(tokens)
    ended = [False] * len(tokens)
    for row, token, log_probability in _steps(
        engine, state, end_ids, max_new_tokens, vocabulary, forbid, is_scored=True
    ):
        sums[row] += log_probability
        if token is None:
            ended[row] = True
        else:
            tokens[row].append(token)
    return [Answer(tuple(ids), *rest) for ids, rest in zip(tokens, zip(sums, ended, strict=True), strict=True)]


@torch.inference_mode()
def _steps(
    engine: Engine,
    state: PromptState,
    end_ids: Collection[int],
    max_new_tokens: int,
    vocabulary: int | None,
    forbid: Forbid | None,
    *,
    is_scored: bool = False,
) -> Iterator[tuple[int, int | None, float]]:
    """Yield a row, its next token, None for the end, and the token's log-probability, 0 unless `is_scored`."""
    answers: list[list[int]] = [[] for _ in range(len(state.lengths))]
    active = list(range(len(answers)))
    ends = torch.tensor(sorted(end_ids), device=engine.device)
    for step in range(max_new_tokens):
        logits = state.last_logits[:, :vocabulary].to(torch.float32, copy=True)  # a fork may share them
        forbidden = [forbid(answers[row]) if forbid else () for row in active]
        for index, ids in enumerate(forbidden):
            exclude(ids, logits[index])
        chosen = logits.argmax(dim=-1)
        tokens = chosen.tolist()
        of_tokens = of_ends = [0.0] * len(active)
        if is_scored:
            logs = state.last_logits.float().log_softmax(dim=-1)
            of_tokens = logs.gather(1, chosen[:, None])[:, 0].tolist()
            of_ends = logs[:, ends].logsumexp(dim=-1).tolist()
        kept = [i for i, token in enumerate(tokens) if token not in end_ids and forbidden[i] is not None]
        for index, row in enumerate(active):
            if index not in kept:
                yield row, None, of_ends[index]
        for index in kept:
            answers[active[index]].append(tokens[index])
            yield active[index], tokens[index], of_tokens[index]
        if not kept or step + 1 == max_new_tokens:
            break
        if len(kept) < len(active):
            state.select(torch.tensor(kept, device=engine.device))
            active = [active[index] for index in kept]
        engine.extend(state, [[tokens[index]] for index in kept])


def exclude(forbidden: Collection[int] | Tensor | None, logits: Tensor) -> None:
    """Set the logits of forbidden tokens to minus infinity, in place.

    Args:
        forbidden: As `Forbid` returns it; None changes nothing.
        logits: Of one row, or log-probabilities, float, shape (vocab,).
    """
    if isinstance(forbidden, Tensor):
        width = min(len(forbidden), len(logits))
        logits[:width].masked_fill_(forbidden[:width].to(logits.device), -torch.inf)
    elif forbidden:
        logits[list(forbidden)] = -torch.inf


def answer_ends(model: Any, end_id: int | None) -> set[int]:
    """Return the tokens that end an answer: that of the tokenizer, and those of the generation configuration."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = [configured] if isinstance(configured, int) else (configured or [])
    return {*more} if end_id is None else {end_id, *more}
