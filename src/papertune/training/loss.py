"""The answer-only loss: what is learnt are the tokens of the answer, nothing of the prompt.

An example enters training as the ids of its prompt and of its answer without the last token. Its logits are wanted from
the prompt's last token on (targets stay aligned with the tokens that predict them; nothing is shifted later):

    ids        p0  p1  p2  a0  a1
    targets             a0  a1  end        three positions

Where the loss runs over a label set, the prompt alone is enough, and the target is the label's index:

    ids        p0  p1  p2
    targets             1                  among the logits of the label tokens

An example may have several answers, each of which could have come next. They share one pass of their prompt, as a tree:
the tokens of an answer see the prompt and their own answer, and have the places that follow the prompt's.

    ids        p0  p1  p2  a0  a1  b0
    targets             a0  a1  end        p2 is wanted once for each answer
                        b0          end
    places      0   1   2   3   4   3

Each example counts the same, however long its answer: the loss is the mean over examples of the mean over the tokens
of their answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.encoding import pad_right
from papertune.models import AttentionMasks

# Stands in `label_set` for "the whole vocabulary".
VOCABULARY = -1


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One encoded example.

    Attributes:
        prompt: Token ids of the prompt.
        answers: Token ids of each answer, its end token included; or one answer, the index in a label set.
        label_set: Index of the label set that the loss runs over, or `VOCABULARY`.
        weight: How much the example counts.
    """

    prompt: list[int]
    answers: list[list[int]]
    label_set: int = VOCABULARY
    weight: float = 1.0

    @property
    def branches(self) -> list[list[int]]:
        """The answers as they go into the model: without their last token."""
        return [answer[:-1] for answer in self.answers]

    @property
    def ids(self) -> list[int]:
        """What goes into the model."""
        return [*self.prompt, *(token for branch in self.branches for token in branch)]

    @property
    def targets(self) -> list[int]:
        """The target at each wanted position."""
        return [target for answer in self.answers for target in answer]

    @property
    def wanted(self) -> list[int]:
        """Place in `ids` of each token whose logits are wanted."""
        places: list[int] = []
        start = len(self.prompt)
        for branch in self.branches:
            places += [len(self.prompt) - 1, *range(start, start + len(branch))]
            start += len(branch)
        return places

    @property
    def is_tree(self) -> bool:
        """Whether some of the tokens must not see all earlier ones."""
        return sum(bool(branch) for branch in self.branches) > 1


def collate(rows: Sequence[TrainingRow], pad_id: int) -> dict[str, Tensor]:
    """Make a batch of training rows.

    Returns:
        input_ids: int64, shape (batch, seq), filled up at the right.
        rows, columns: Where logits are wanted, int64, shape (positions,).
        targets, label_sets: As in `TrainingRow`, int64, shape (positions,).
        weights: Weight of the example over the length of its answers, float32, shape (positions,).
        examples: How many examples there are, int64, shape ().

        Where an example is a tree, also:
        places: Place of each token in its text, int64, shape (batch, seq).
        visible: Which tokens each token sees, bool, shape (batch, seq, seq).
    """
    positions = [(row, number, place, target) for number, row in enumerate(rows) for place, target in _wanted(row)]
    batch = {
        "input_ids": pad_right([row.ids for row in rows], pad_id),
        "rows": torch.tensor([number for _, number, _, _ in positions]),
        "columns": torch.tensor([place for _, _, place, _ in positions]),
        "targets": torch.tensor([target for _, _, _, target in positions]),
        "label_sets": torch.tensor([row.label_set for row, _, _, _ in positions]),
        "weights": torch.tensor([row.weight / len(row.targets) for row, _, _, _ in positions], dtype=torch.float32),
        "examples": torch.tensor(len(rows)),
    }
    return batch | _tree(rows, batch["input_ids"].shape[1]) if any(row.is_tree for row in rows) else batch


def _wanted(row: TrainingRow) -> list[tuple[int, int]]:
    return list(zip(row.wanted, row.targets, strict=True))


def _tree(rows: Sequence[TrainingRow], seq: int) -> dict[str, Tensor]:
    places = torch.arange(seq).repeat(len(rows), 1)
    visible = torch.ones(seq, seq, dtype=torch.bool).tril().repeat(len(rows), 1, 1)
    for number, row in enumerate(rows):
        prompt = start = len(row.prompt)
        for branch in row.branches:
            end = start + len(branch)
            places[number, start:end] = torch.arange(prompt, prompt + len(branch))
            visible[number, start:end, prompt:start] = False
            start = end
    return {"places": places, "visible": visible}


def tree_inputs(masks: AttentionMasks, batch: Mapping[str, Tensor], virtual: int = 0) -> dict[str, Any]:
    """Give what a batch tells the model besides its tokens; nothing where no example is a tree.

    Args:
        masks: Makes the model's masks.
        batch: From `collate`.
        virtual: Virtual tokens before each row.
    """
    if "visible" not in batch:
        return {}
    places = batch["places"] + virtual
    before = torch.arange(virtual, device=places.device).expand(len(places), -1)
    visible = F.pad(batch["visible"], (virtual, 0), value=True)
    mask = masks.make(visible, places, torch.cat([before, places], dim=1))
    return {"attention_mask": mask, "position_ids": batch["places"]}


def answer_loss(
    logits: Tensor, targets: Tensor, label_sets: Tensor, weights: Tensor, label_tokens: Sequence[Tensor]
) -> Tensor:
    """Sum the weighted cross-entropy of the wanted positions, in float32.

    Args:
        logits: Any float dtype, shape (positions, vocab).
        targets: Token id, or index in the label set, int64, shape (positions,).
        label_sets: Index into `label_tokens`, or `VOCABULARY`, int64, shape (positions,).
        weights: float32, shape (positions,).
        label_tokens: For each label set its token ids, int64, shape (labels,).

    Returns:
        In nats, float32, shape ().
    """
    total = logits.new_zeros((), dtype=torch.float32)
    for label_set in torch.unique(label_sets).tolist():
        chosen = label_sets == label_set
        scores = logits[chosen]
        if label_set != VOCABULARY:
            scores = scores[:, label_tokens[label_set]]
        nll = F.cross_entropy(scores.float(), targets[chosen], reduction="none")
        total = total + (nll * weights[chosen]).sum()
    return total
