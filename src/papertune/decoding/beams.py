"""Beam search over a batch: the likeliest answers to each prompt, with their log-probabilities.

All beams of a row stand behind its one prompt as a tree; a new token sees the prompt and its own ancestors. So the
prompt's keys and values are kept once, not once for each beam, and a step costs as many tokens as there are beams:

    prompt │ neural  deep  │ network(1)  networks(1)  learning(2) │ ...
    ───────┼───────────────┼──────────────────────────────────────┤
    beam   │   1       2   │     3            4            5
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from papertune.decoding.engine import Engine, PromptState


@dataclass(frozen=True, slots=True)
class Beam:
    """An answer that has come to its end.

    Attributes:
        ids: Its token ids, without the end token.
        log_probability: Of all its tokens and the end token after the prompt, in nats.
    """

    ids: tuple[int, ...]
    log_probability: float


@torch.inference_mode()
def likeliest_answers(
    engine: Engine,
    state: PromptState,
    *,
    end_ids: Collection[int],
    beams: int,
    max_new_tokens: int,
    vocabulary: int | None = None,
) -> list[list[Beam]]:
    """Search for the likeliest answers to each prompt.

    With every step each of the likeliest unfinished answers is continued by every token, and as many of the
    continuations as there are beams are kept. A row is done when none of them can become likelier than those it has.

    Args:
        engine: Runs the model.
        state: The prompts; used up.
        end_ids: Tokens that end an answer.
        beams: How many unfinished answers are kept, and how many answers are wanted.
        max_new_tokens: Longest answer, in tokens, without the end token.
        vocabulary: How many ids the tokenizer has; the model may have more, which are never chosen. None: as many.

    Returns:
        For each prompt at most `beams` answers of at least one token, the likeliest first.
    """
    finished: list[list[Beam]] = [[] for _ in range(len(state.lengths))]
    rows = list(range(len(finished)))  # of the caller, still searched
    ends = torch.tensor(sorted(end_ids), device=engine.device)
    logits = state.last_logits[:, None]  # (batch, beams, vocab); at first there is one beam, the empty answer
    scores = torch.zeros(len(rows), 1, device=engine.device)
    answers: list[list[tuple[int, ...]]] = [[()] for _ in rows]
    # Which nodes each beam has behind the prompt, itself included, (batch, beams, nodes).
    path = torch.zeros(len(rows), 1, 0, dtype=torch.bool, device=engine.device)
    depths: list[int] = []
    for step in range(max_new_tokens + 1):
        ahead = logits.float().log_softmax(dim=-1) + scores[:, :, None]
        if step:
            ended = ahead[:, :, ends].logsumexp(dim=-1).tolist()
            for index, row in enumerate(rows):
                finished[row] += map(Beam, answers[index], ended[index])
                finished[row] = sorted(finished[row], key=lambda beam: -beam.log_probability)[:beams]
        if step == max_new_tokens:
            break
        ahead[:, :, ends] = -torch.inf
        ahead = ahead[:, :, :vocabulary]
        words = ahead.shape[2] - sum(end < ahead.shape[2] for end in end_ids)
        width = min(beams, ahead.shape[1] * words)
        scores, chosen = ahead.flatten(1).topk(width)  # (batch, beams)
        parents, tokens = chosen // ahead.shape[2], chosen % ahead.shape[2]
        kept = [index for index, row in enumerate(rows) if _may_improve(finished[row], scores[index], beams)]
        if not kept:
            break
        if len(kept) < len(rows):
            keep = torch.tensor(kept, device=engine.device)
            state.select(keep)
            scores, parents, tokens, path = scores[keep], parents[keep], tokens[keep], path[keep]
            rows, answers = [rows[index] for index in kept], [answers[index] for index in kept]
        answers = [
            [(*before[parent], token) for parent, token in zip(*pair, strict=True)]
            for before, *pair in zip(answers, parents.tolist(), tokens.tolist(), strict=True)
        ]
        path = _grown(path, parents)
        depths += [step + 1] * width
        logits = engine.grow_tree(state, tokens, path, torch.tensor(depths, device=engine.device))
    return finished


def _may_improve(finished: list[Beam], scores: Tensor, beams: int) -> bool:
    """Tell whether an unfinished answer may still come among the finished: what is added never makes it likelier."""
    return len(finished) < beams or float(scores[0]) > finished[-1].log_probability


def _grown(path: Tensor, parents: Tensor) -> Tensor:
    """Give the paths of new beams: each that of its parent, and itself.

    Args:
        path: bool, shape (batch, old beams, nodes).
        parents: Which of the old beams each new one continues, int64, shape (batch, beams).

    Returns:
        bool, shape (batch, beams, nodes + beams).
    """
    batch, beams = parents.shape
    before = path.gather(1, parents[:, :, None].expand(-1, -1, path.shape[2]))
    itself = torch.eye(beams, dtype=torch.bool, device=path.device).expand(batch, -1, -1)
    return torch.cat([before, itself], dim=2)
