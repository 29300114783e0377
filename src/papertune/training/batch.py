"""Training rows and batches: what is learnt are the tokens of the answer, nothing of the prompt.

An example enters training as the ids of its prompt and of its answer without the last token. Its logits are wanted from
the prompt's last token on (targets stay aligned with the tokens that predict them; nothing is shifted later):

    ids        p0  p1  p2  a0  a1
    targets             a0  a1  end        three positions

Where the loss runs over a label set, the prompt alone is enough, and the target is the label's index:

    ids        p0  p1  p2
    targets             1                  among the logits of the label tokens

Several questions about one document share its pass, and so do several answers that could each come next, as a tree: a
question sees the document, an answer sees the document and its question, and nothing else is seen.

    ids        d0  d1 │ q0  q1  a0  a1  b0 │ r0  r1
    targets                 a0  a1  end         1       q1 is wanted for both answers
                            b0          end
    places      0   1   2   3   4   5   4    2   3
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.models import AttentionMasks
from papertune.prompts import pad_right, sorted_token_batches

# Stands in `label_set` for "the whole vocabulary".
VOCABULARY = -1


@dataclass(frozen=True, slots=True)
class Question:
    """One encoded example: what is asked behind the shared part of a row, and the answers to it.

    Attributes:
        answers: Token ids of each answer, its end token included; or one answer, the index in a label set.
        label_set: Index of the label set that the loss runs over, or `VOCABULARY`.
        weight: How much the example counts.
        ids: Token ids of the question, as far as they are not in the shared part.
        share: How much of an example it is.
    """

    answers: list[list[int]]
    label_set: int = VOCABULARY
    weight: float = 1.0
    ids: list[int] = field(default_factory=list)
    share: float = 1.0

    @property
    def tokens(self) -> int:
        """How many tokens it adds to its row; the last one of each answer is a target only."""
        return len(self.ids) + sum(len(answer) - 1 for answer in self.answers)

    @property
    def targets(self) -> int:
        """How many positions are wanted."""
        return sum(map(len, self.answers))


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """What goes through the model together: a shared beginning, and the questions behind it.

    Attributes:
        shared: Token ids that all questions begin with; at least one.
        questions: The examples.
    """

    shared: list[int]
    questions: list[Question]

    def __len__(self) -> int:
        return len(self.shared) + sum(question.tokens for question in self.questions)

    @property
    def ids(self) -> list[int]:
        """Token ids of the whole row."""
        ids = list(self.shared)
        for question in self.questions:
            ids += question.ids
            for answer in question.answers:
                ids += answer[:-1]
        return ids


@dataclass(frozen=True, slots=True)
class _Span:
    """A run of tokens that follow each other in their text.

    Attributes:
        start: Where it begins in the row's ids.
        end: Where it ends.
        place: The place of its first token in its text.
        hidden: Which earlier tokens of the row it does not see, as ranges.
    """

    start: int
    end: int
    place: int
    hidden: tuple[tuple[int, int], ...]


def collate(rows: Sequence[TrainingRow], pad_id: int) -> dict[str, Tensor]:
    """Make a batch of training rows.

    Returns:
        input_ids: int64, shape (batch, seq), filled up at the right.
        lengths: Real tokens of each row, int64, shape (batch,).
        rows, columns: Where logits are wanted, int64, shape (positions,).
        targets, label_sets: As in `Question`, int64, shape (positions,).
        weights: Weight and share of the example over the length of its answers, float32, shape (positions,).
        examples: How many examples there are, float32, shape ().

        Where a row is a tree, also:
        places: Place of each token in its text, int64, shape (batch, seq).
        visible: Which tokens each token sees, bool, shape (batch, seq, seq).
    """
    wanted = [(number, *position) for number, row in enumerate(rows) for position in _wanted(row)]
    batch = {
        "input_ids": pad_right([row.ids for row in rows], pad_id),
        "lengths": torch.tensor(list(map(len, rows))),
        "rows": torch.tensor([number for number, *_ in wanted]),
        "columns": torch.tensor([place for _, place, _, _ in wanted]),
        "targets": torch.tensor([target for _, _, target, _ in wanted]),
        "label_sets": torch.tensor([question.label_set for *_, question in wanted]),
        "weights": torch.tensor([q.weight * q.share / q.targets for *_, q in wanted], dtype=torch.float32),
        "examples": torch.tensor(sum(q.share for row in rows for q in row.questions), dtype=torch.float32),
    }
    spans = [list(_spans(row)) for row in rows]
    return batch | _tree(spans, batch["input_ids"].shape[1]) if any(s.hidden for each in spans for s in each) else batch


def split_batch(batch: Mapping[str, Tensor], max_tokens: int) -> list[dict[str, Tensor]]:
    """Cut a batch into parts that go through the model one after the other; their losses and gradients add up.

    Args:
        batch: From `collate`.
        max_tokens: Padded tokens of a part; a longer row is a part of its own.

    Returns:
        The parts, longest rows first, each as from `collate` but for `examples`, which counts those of the whole.
    """
    lengths = batch["lengths"].tolist()
    parts = sorted_token_batches(lengths, max_tokens, max_rows=len(lengths))
    if len(parts) == 1:
        return [dict(batch)]
    device = batch["input_ids"].device
    split: list[dict[str, Tensor]] = []
    for part in parts:
        members = torch.tensor(part, device=device)
        width = int(batch["lengths"][members[0]])
        here = batch["rows"][:, None] == members  # (positions, rows of the part)
        wanted = here.any(dim=1)
        cut = {
            "input_ids": batch["input_ids"][members, :width],
            "lengths": batch["lengths"][members],
            "rows": here[wanted].int().argmax(dim=1),
            **{name: batch[name][wanted] for name in ("columns", "targets", "label_sets", "weights")},
            "examples": batch["examples"],
        }
        if "visible" in batch:
            cut["places"] = batch["places"][members, :width]
            cut["visible"] = batch["visible"][members, :width, :width]
        split.append(cut)
    return split


def tree_inputs(masks: AttentionMasks, batch: Mapping[str, Tensor], virtual: int = 0) -> dict[str, Any]:
    """Give what a batch tells the model besides its tokens; nothing where no row is a tree.

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


def _wanted(row: TrainingRow) -> Iterator[tuple[int, int, Question]]:
    """Give the place in the row, the target and the question of each wanted position."""
    at = len(row.shared)
    for question in row.questions:
        asked = at + len(question.ids) - 1 if question.ids else len(row.shared) - 1
        at += len(question.ids)
        for answer in question.answers:
            for place, target in zip([asked, *range(at, at + len(answer) - 1)], answer, strict=True):
                yield place, target, question
            at += len(answer) - 1


def _spans(row: TrainingRow) -> Iterator[_Span]:
    """Give the questions and answers of a row that have tokens."""
    shared = at = len(row.shared)
    for question in row.questions:
        before = ((shared, at),) if at > shared else ()
        start, at = at, at + len(question.ids)
        if question.ids:
            yield _Span(start, at, shared, before)
        asked, place = at, shared + len(question.ids)
        for answer in question.answers:
            hidden = (*before, (asked, at)) if at > asked else before
            start, at = at, at + len(answer) - 1
            if at > start:
                yield _Span(start, at, place, hidden)


def _tree(rows: Sequence[Sequence[_Span]], seq: int) -> dict[str, Tensor]:
    places = torch.arange(seq).repeat(len(rows), 1)
    visible = torch.ones(seq, seq, dtype=torch.bool).tril().repeat(len(rows), 1, 1)
    for number, spans in enumerate(rows):
        for span in spans:
            places[number, span.start : span.end] = torch.arange(span.place, span.place + span.end - span.start)
            for first, last in span.hidden:
                visible[number, span.start : span.end, first:last] = False
    return {"places": places, "visible": visible}
