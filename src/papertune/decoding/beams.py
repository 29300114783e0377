"""Beam search over a batch: the most probable answers to each prompt, with their log-probabilities.

All beams of a row form a tree after its prompt; a new token sees the prompt and its own ancestors. So the keys and
values of the prompt are stored once, not once for each beam, and a step costs one token for each beam:

    prompt │ neural  deep  │ network(1)  networks(1)  learning(2) │ ...
    ───────┼───────────────┼──────────────────────────────────────┤
    beam   │   1       2   │     3            4            5
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from papertune.decoding.answer import Answer
from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.greedy import Forbid, exclude


@torch.inference_mode()
def beam_search(
    engine: Engine,
    state: PromptState,
    *,
    end_ids: Collection[int],
    beams: int,
    max_new_tokens: int,
    vocabulary: int | None = None,
    forbid: Forbid | None = None,
    by_mean: bool = False,
) -> list[list[Answer]]:
    """Search for the most probable answers to each prompt.

    Every step continues the unfinished answers by every token and keeps the most probable `beams` continuations. A row
    is done when none of them can become more probable than its complete answers.

    Args:
        engine: Runs the model.
        state: The prompts; consumed.
        end_ids: Tokens that end an answer.
        beams: Maximum number of unfinished answers, and of returned answers.
        max_new_tokens: Maximum length of an answer, in tokens, without the end token.
        vocabulary: Number of token ids of the tokenizer; ids from here on are never chosen. None: all ids of the model.
        forbid: Returns the tokens that must not come next in an answer.
        by_mean: Rank complete answers, the empty one among them, by the mean log-probability of their tokens, so that
            long ones are not at a disadvantage (Wu et al. 2016, arXiv:1609.08144, with alpha 1). A row is then done
            when no unfinished answer has a higher mean so far than its complete answers.

    Returns:
        For each prompt at most `beams` answers, the best first; of at least one token unless `by_mean`.
    """
    rank = _mean if by_mean else _total
    finished: list[list[Answer]] = [[] for _ in range(len(state.lengths))]
    found = _Unfinished.at_first(len(finished), engine.device)
    ends = torch.tensor(sorted(end_ids), device=engine.device)
    logits = state.last_logits[:, None]  # (batch, beams, vocab); the first beam is the empty answer
    for step in range(max_new_tokens + 1):
        totals = _totals(logits, found.scores)
        if forbid is not None:
            _exclude_forbidden(totals, found.scores, found.answers, forbid)
        if step or by_mean:
            ended = totals[:, :, ends].logsumexp(dim=-1).tolist()
            for row, *pair in zip(found.rows, found.answers, ended, strict=True):
                finished[row] = _best([*finished[row], *_complete(*pair)], beams, rank)
        if step == max_new_tokens:
            break
        totals[:, :, ends] = -torch.inf
        scores, parents, tokens = _most_probable(totals[:, :, :vocabulary], end_ids, beams)
        best = (scores[:, 0] / (step + 1 if by_mean else 1)).tolist()
        kept = [index for index, row in enumerate(found.rows) if _can_improve(finished[row], best[index], beams, rank)]
        if not kept:
            break
        if len(kept) < len(found.rows):
            state.select(torch.tensor(kept, device=engine.device))
            found.select(kept)
            scores, parents, tokens = scores[kept], parents[kept], tokens[kept]
        few = beams if by_mean else _hopeful(scores, [finished[row] for row in found.rows], beams)
        found.grow(scores[:, :few], parents[:, :few], tokens[:, :few])
        logits = engine.grow_tree(state, tokens[:, :few], found.path, torch.tensor(found.depths, device=engine.device))
    return finished


@dataclass
class _Unfinished:
    """The unfinished answers of the rows that are not done.

    Attributes:
        rows: The caller's rows.
        answers: Tokens of each beam, by row.
        scores: Log-probability of each beam, nats, shape (batch, beams).
        path: Nodes of each beam after the prompt, including itself, bool, shape (batch, beams, nodes).
        depths: Number of tokens from the prompt to each node.
    """

    rows: list[int]
    answers: list[list[tuple[int, ...]]]
    scores: Tensor
    path: Tensor
    depths: list[int] = field(default_factory=list)

    @classmethod
    def at_first(cls, rows: int, device: torch.device) -> "_Unfinished":
        """Return one empty answer for each row."""
        path = torch.zeros(rows, 1, 0, dtype=torch.bool, device=device)
        return cls([*range(rows)], [[()] for _ in range(rows)], torch.zeros(rows, 1, device=device), path)

    def select(self, kept: Sequence[int]) -> None:
        """Keep some rows of the batch only."""
        keep = torch.tensor(kept, device=self.scores.device)
        self.rows, self.answers = [self.rows[index] for index in kept], [self.answers[index] for index in kept]
        self.scores, self.path = self.scores[keep], self.path[keep]

    def grow(self, scores: Tensor, parents: Tensor, tokens: Tensor) -> None:
        """Replace the beams by their continuations; all have the shape (batch, beams)."""
        self.answers = [
            [(*before[parent], token) for parent, token in zip(*pair, strict=True)]
            for before, *pair in zip(self.answers, parents.tolist(), tokens.tolist(), strict=True)
        ]
        self.scores, self.path = scores, _extend_paths(self.path, parents)
        self.depths += [len(self.answers[0][0])] * tokens.shape[1]


def _totals(logits: Tensor, scores: Tensor) -> Tensor:
    """Return the log-probability of each beam with each next token, float32, shape (batch, beams, vocab).

    Args:
        logits: Of the next tokens, shape (batch, beams, vocab).
        scores: Log-probability of each beam, shape (batch, beams).
    """
    totals = logits.to(torch.float32, copy=True)
    for row, own in zip(totals, scores, strict=True):  # in place, row by row: in a quarter of the time
        row -= (row.logsumexp(dim=-1) - own)[:, None]
    return totals


def _most_probable(totals: Tensor, end_ids: Collection[int], beams: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probability, parent and token of the most probable continuations, each of shape (batch, beams).

    Args:
        totals: Log-probability of each continuation, shape (batch, beams, vocab).
        end_ids: Tokens that are no continuation.
        beams: Maximum number of continuations.
    """
    words = totals.shape[2] - sum(end < totals.shape[2] for end in end_ids)
    scores, chosen = totals.flatten(1).topk(min(beams, totals.shape[1] * words))
    return scores, chosen // totals.shape[2], chosen % totals.shape[2]


def _complete(answers: Sequence[tuple[int, ...]], ended: Sequence[float]) -> list[Answer]:
    """Return the answers that may end, with the log-probability that they do; it is NaN if the model overflows."""
    return [Answer(ids, log) for ids, log in zip(answers, ended, strict=True) if log != -math.inf]


def _best(answers: list[Answer], count: int, rank: Callable[[Answer], float]) -> list[Answer]:
    return sorted(answers, key=rank, reverse=True)[:count]


def _total(answer: Answer) -> float:
    return answer.log_probability


def _mean(answer: Answer) -> float:
    return answer.mean_log_probability


def _exclude_forbidden(
    totals: Tensor, scores: Tensor, answers: Sequence[Sequence[tuple[int, ...]]], forbid: Forbid
) -> None:
    """Set the log-probabilities of forbidden continuations to minus infinity, in place.

    Args:
        totals: Log-probability of each continuation, shape (batch, beams, vocab).
        scores: Log-probability of each beam, shape (batch, beams); minus infinity where it has no continuation.
        answers: The beams of each row.
        forbid: Returns what is forbidden.
    """
    for row, possible, beams in zip(totals, (scores != -torch.inf).tolist(), answers, strict=True):
        for beam, is_possible, logits in zip(beams, possible, row, strict=True):
            forbidden = forbid(beam) if is_possible else None
            if forbidden is None:
                logits.fill_(-torch.inf)
            else:
                exclude(forbidden, logits)


def _can_improve(finished: list[Answer], best: float, beams: int, rank: Callable[[Answer], float]) -> bool:
    """Whether an unfinished answer can enter the finished ones; more tokens never make its total more probable."""
    return best != -math.inf and (len(finished) < beams or best > rank(finished[-1]))


def _hopeful(scores: Tensor, finished: Sequence[Sequence[Answer]], beams: int) -> int:
    """Return how many beams of some row are above its complete answers, and so may lead to one of its best.

    Args:
        scores: Log-probability of each beam, in descending order, shape (batch, beams).
        finished: The complete answers of each row, the most probable first.
        beams: How many answers are wanted.
    """
    least = [row[-1].log_probability if len(row) == beams else -math.inf for row in finished]
    hopeless = scores <= torch.tensor(least, device=scores.device)[:, None]  # NaN is not
    return int((~hopeless).sum(dim=1).max())


def _extend_paths(path: Tensor, parents: Tensor) -> Tensor:
    """Return the path of each new beam: the path of its parent, and itself.

    Args:
        path: bool, shape (batch, old beams, nodes).
        parents: The old beam that each new one continues, int64, shape (batch, beams).

    Returns:
        bool, shape (batch, beams, nodes + beams).
    """
    batch, beams = parents.shape
    before = path.gather(1, parents[:, :, None].expand(-1, -1, path.shape[2]))
    itself = torch.eye(beams, dtype=torch.bool, device=path.device).expand(batch, -1, -1)
    return torch.cat([before, itself], dim=2)
