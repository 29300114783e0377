"""Log-probabilities of many answers to each prompt of a batch.

The answers to a prompt form a tree of tokens after it, like the labels of a `LabelTrie`; tokens that answers share at
their beginning are computed once. On a CPU each tree goes through the model by itself. On a GPU those of a batch go
together, part by part:

    row 0   'deep'  'learn'(1)  'net'(1)  'graph' │ 's'(4)  ...        (n): after node n, else after the prompt
    row 1   'cell'  'cells'     .         .       │ .       .          .: padding

So only the logits of one part are in memory at a time: 500 nodes times a vocabulary of 49,152 take 100 MB.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from papertune.decoding.engine import CPU_PART_TOKENS, Engine, PromptState
from papertune.models import answer_positions

# Positions whose logits are summed up together.
_SUMMED_POSITIONS = 16


@dataclass(frozen=True)
class _Tree:
    """Answers as paths through shared tokens.

    Attributes:
        tokens: Token id of each node; parents come before their children.
        parents: Parent of each node; -1: the prompt's last token.
        depths: Tokens from the prompt, at least 1.
        ends: Last node of each answer.
    """

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    ends: list[int]


@torch.inference_mode()
def answer_log_probabilities(
    engine: Engine,
    state: PromptState,
    answers: Sequence[Sequence[Sequence[int]]],
    end_ids: Collection[int],
    part_nodes: int = 2048,
) -> list[list[float]]:
    """Return the log-probability of each answer, including its end.

    Args:
        engine: Runs the model.
        state: The prompts; not changed.
        answers: For each prompt the token ids of its answers, without an end token; each answer has at least one.
        end_ids: Tokens that end an answer.
        part_nodes: Nodes, including padding, that go through the model together on a GPU.

    Returns:
        For each answer the log-probability of all its tokens and an end token after the prompt, in nats.
    """
    if engine.device.type == "cpu" and len(answers) > 1 and state.is_divisible:
        # Row by row: a pass over one row's tree is large enough for a CPU, and there is no padding.
        return [
            answer_log_probabilities(engine, state.part([number]), [row], end_ids)[0] if row else []
            for number, row in enumerate(answers)
        ]
    trees = [_tree(row) for row in answers]
    width = max(len(tree.tokens) for tree in trees)
    if width == 0:
        return [[] for _ in answers]
    tokens, parents, depths = (
        torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], device=engine.device)
        for rows, fill in (
            ([tree.tokens for tree in trees], 0),
            ([tree.parents for tree in trees], -1),
            ([tree.depths for tree in trees], 1),
        )
    )  # (batch, nodes)
    sizes = torch.tensor([len(tree.tokens) for tree in trees], device=engine.device)
    real = torch.arange(width, device=engine.device) < sizes[:, None]
    steps, endings = _steps(engine, state, tokens, parents, depths, real, sorted(end_ids), part_nodes)
    for depth in range(2, int(depths.max()) + 1):
        rows, nodes = (depths == depth).nonzero(as_tuple=True)
        steps[rows, nodes] += steps[rows, parents[rows, nodes]]
    totals = (steps + endings).tolist()
    return [[total[end] for end in tree.ends] for total, tree in zip(totals, trees, strict=True)]


def _steps(
    engine: Engine,
    state: PromptState,
    tokens: Tensor,
    parents: Tensor,
    depths: Tensor,
    real: Tensor,
    end_ids: list[int],
    part_nodes: int,
) -> tuple[Tensor, Tensor]:
    """Run the trees; return the log-probability of each node's token, and of an end token after it.

    Args:
        engine: Runs the model.
        state: The prompts.
        tokens: int64, shape (batch, nodes).
        parents: int64, shape (batch, nodes).
        depths: int64, shape (batch, nodes).
        real: False for padding, bool, shape (batch, nodes).
        end_ids: Tokens that end an answer.
        part_nodes: Nodes that go through the model together on a GPU.

    Returns:
        Two tensors, float32, shape (batch, nodes), 0 for padding.
    """
    batch, width = tokens.shape
    sees = _ancestors(parents, depths)
    steps, endings = torch.zeros(2, batch, width, device=engine.device)
    first = real & (parents < 0)
    rows, nodes = first.nonzero(as_tuple=True)
    steps[rows, nodes] = state.last_logits.float().log_softmax(dim=-1)[rows, tokens[rows, nodes]]
    together = CPU_PART_TOKENS if engine.device.type == "cpu" else part_nodes
    part = max(1, together // batch)
    for begin in range(0, width, part):
        end = min(begin + part, width)
        rows, places = real[:, begin:end].nonzero(as_tuple=True)
        with answer_positions(engine.model, rows, places):
            logits = engine.grow_tree(state, tokens[:, begin:end], sees[:, begin:end, :end], depths[:, :end])
        # A few positions at a time: copies of all logits would take several times their memory.
        parts = torch.split(logits, _SUMMED_POSITIONS)
        total = torch.cat([part.float().logsumexp(dim=-1) for part in parts])  # (positions,)
        endings[rows, begin + places] = logits[:, end_ids].float().logsumexp(dim=-1) - total
        position = torch.zeros(batch, end - begin, dtype=torch.int64, device=engine.device)
        position[rows, places] = torch.arange(len(rows), device=engine.device)
        rows, nodes = ((parents >= begin) & (parents < end)).nonzero(as_tuple=True)
        above = position[rows, parents[rows, nodes] - begin]
        steps[rows, nodes] = logits[above, tokens[rows, nodes]].float() - total[above]
    state.cache.crop(-width)
    return steps, endings


def _tree(answers: Sequence[Sequence[int]]) -> _Tree:
    tree = _Tree([], [], [], [])
    known: dict[tuple[int, int], int] = {}
    for ids in answers:
        node = -1
        for depth, token in enumerate(ids, start=1):
            if (node, token) not in known:
                known[node, token] = len(tree.tokens)
                tree.tokens.append(token)
                tree.parents.append(node)
                tree.depths.append(depth)
            node = known[node, token]
        tree.ends.append(node)
    return tree


def _ancestors(parents: Tensor, depths: Tensor) -> Tensor:
    """Return which nodes each node sees: itself and its ancestors.

    Args:
        parents: int64, shape (batch, nodes); -1: no parent.
        depths: int64, shape (batch, nodes); at least 1.

    Returns:
        bool, shape (batch, nodes, nodes).
    """
    batch, width = parents.shape
    sees = torch.eye(width, dtype=torch.bool, device=parents.device).repeat(batch, 1, 1)
    for depth in range(2, int(depths.max()) + 1):
        rows, nodes = (depths == depth).nonzero(as_tuple=True)
        sees[rows, nodes] |= sees[rows, parents[rows, nodes]]
    return sees
