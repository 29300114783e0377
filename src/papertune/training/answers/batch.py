"""Training rows and batches. The loss runs over the tokens of answers, never over those of prompts.

An example is the ids of its prompt and of its answer without the last token. Logits are needed from the last token of
the prompt on. Targets are aligned with the tokens that predict them, so nothing is shifted later:

    ids        p0  p1  p2  a0  a1
    targets             a0  a1  end        three positions

If the loss runs over a label set, the prompt alone is enough, and the target is the index of the label:

    ids        p0  p1  p2
    targets             1                  among the logits of the label tokens

If labels part behind their first token, the tokens before the last parting stand behind the prompt as the trie with
which prediction scores the labels; a token sees the prompt and its own ancestors. The index of the label is the target
of all these positions together:

    ids        p0  p1  p2 │ a0  a1  b0
    targets             1    1   1   1       one question, four positions
    positions   0   1   2    3   4   3

Several questions about one document share its forward pass as a tree, and so do several possible answers to a question.
A question sees the document, an answer sees the document and its question; they see nothing else.

    ids        d0  d1 │ q0  q1  a0  a1  b0 │ r0  r1
    targets                 a0  a1  end         1       q1 is needed for both answers
                            b0          end
    positions   0   1   2   3   4   5   4    2   3
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.models import AttentionMasks
from papertune.prompts import pad_right, sorted_token_batches

# In `label_set`: the loss runs over the whole vocabulary. As an index it is the place behind all label sets.
VOCABULARY = -1


@dataclass(frozen=True, slots=True)
class Question:
    """One encoded example: the question after the shared beginning of a row, and its answers.

    Attributes:
        answers: Token ids of each answer with its end token; or a single answer, which is an index in a label set.
        label_set: Index of the label set that the loss runs over, or `VOCABULARY`.
        weight: Weight of the example in the loss.
        ids: Token ids of the question after the shared beginning.
        share: Fraction of an example; the questions of a labels column together are one example.
        trie: The trie of its label set if a label has several tokens, else None.
    """

    answers: list[list[int]]
    label_set: int = VOCABULARY
    weight: float = 1.0
    ids: list[int] = field(default_factory=list)
    share: float = 1.0
    trie: LabelTrie | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens that it adds to its row; the last token of an answer is only a target."""
        return len(self.ids) + sum(map(len, self.behind))

    @property
    def behind(self) -> list[Sequence[int]]:
        """Token ids behind the question: the inner nodes of the trie, or each answer without its last token."""
        return [answer[:-1] for answer in self.answers] if self.trie is None else [self.trie.tokens]

    @property
    def targets(self) -> int:
        """Number of positions whose logits are needed."""
        return sum(map(len, self.answers)) if self.trie is None else 1 + len(self.trie.tokens)


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A sequence of tokens: a shared beginning and the questions after it.

    Attributes:
        shared: Token ids that all prompts begin with; at least one.
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
            for behind in question.behind:
                ids += behind
        return ids


@dataclass(frozen=True, slots=True)
class _Span:
    """A question or an answer in the ids of a row.

    Attributes:
        start: Index of its first token.
        end: Index after its last token.
        position: Position id of its first token.
        hidden: Ranges of earlier tokens of the row that it does not see.
        trie: The trie whose inner nodes it consists of, else None.
    """

    start: int
    end: int
    position: int
    hidden: tuple[tuple[int, int], ...]
    trie: LabelTrie | None = None

    @property
    def is_branch(self) -> bool:
        """Whether it does not just continue the tokens before it."""
        return bool(self.hidden) or self.trie is not None


def collate(rows: Sequence[TrainingRow], pad_id: int) -> dict[str, Tensor]:
    """Build a batch of training rows.

    Returns:
        input_ids: int64, shape (batch, seq), padded on the right.
        lengths: Tokens of each row without padding, int64, shape (batch,).
        rows, columns: Where logits are needed, int64, shape (positions,).
        targets, label_sets: As in `Question`, int64, shape (positions,).
        weights: Weight times share of the example, divided by its positions, float32, shape (positions,).
        examples: Number of examples, float32, shape ().

        If any row is a tree, also:
        position_ids: int64, shape (batch, seq).
        visible: Which tokens each token sees, bool, shape (batch, seq, seq).
    """
    needed = [(number, *target) for number, row in enumerate(rows) for target in _targets(row)]
    batch = {
        "input_ids": pad_right([row.ids for row in rows], pad_id),
        "lengths": torch.tensor(list(map(len, rows))),
        "rows": torch.tensor([number for number, *_ in needed]),
        "columns": torch.tensor([column for _, column, _, _ in needed]),
        "targets": torch.tensor([target for _, _, target, _ in needed]),
        "label_sets": torch.tensor([question.label_set for *_, question in needed]),
        "weights": torch.tensor([q.weight * q.share / q.targets for *_, q in needed], dtype=torch.float32),
        "examples": torch.tensor(sum(q.share for row in rows for q in row.questions), dtype=torch.float32),
    }
    spans = [list(_spans(row)) for row in rows]
    return (
        batch | _tree(spans, batch["input_ids"].shape[1]) if any(s.is_branch for each in spans for s in each) else batch
    )


def split_batch(batch: Mapping[str, Tensor], max_tokens: int) -> list[dict[str, Tensor]]:
    """Split a batch into parts whose losses and gradients add up to those of the batch.

    Args:
        batch: From `collate`; it may also have "numbers", of the rows, shape (batch,).
        max_tokens: Maximum of padded tokens in a part; a longer row is a part of its own.

    Returns:
        The parts, longest rows first, each as from `collate`; `examples` is that of the whole batch.
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
        needed = here.any(dim=1)
        values = {
            "input_ids": batch["input_ids"][members, :width],
            "lengths": batch["lengths"][members],
            "rows": here[needed].int().argmax(dim=1),
            **{name: batch[name][needed] for name in ("columns", "targets", "label_sets", "weights")},
            "examples": batch["examples"],
        }
        if "numbers" in batch:
            values["numbers"] = batch["numbers"][members]
        if "visible" in batch:
            values["position_ids"] = batch["position_ids"][members, :width]
            values["visible"] = batch["visible"][members, :width, :width]
        split.append(values)
    return split


def tree_inputs(masks: AttentionMasks, batch: Mapping[str, Tensor], virtual: int = 0) -> dict[str, Any]:
    """Return the model's inputs besides token ids; none if no row is a tree.

    Args:
        masks: Builds the model's masks.
        batch: From `collate`.
        virtual: Number of virtual tokens before each row.
    """
    if "visible" not in batch:
        return {}
    positions = batch["position_ids"] + virtual
    before = torch.arange(virtual, device=positions.device).expand(len(positions), -1)
    visible = F.pad(batch["visible"], (virtual, 0), value=True)
    mask = masks.make(visible, positions, torch.cat([before, positions], dim=1))
    return {"attention_mask": mask, "position_ids": batch["position_ids"]}


def _targets(row: TrainingRow) -> Iterator[tuple[int, int, Question]]:
    """Yield the index in the row, the target and the question of each position whose logits are needed."""
    at = len(row.shared)
    for question in row.questions:
        asked = at + len(question.ids) - 1 if question.ids else len(row.shared) - 1
        at += len(question.ids)
        if question.trie is not None:
            (target,) = question.answers[0]
            end = at + len(question.trie.tokens)
            yield from ((column, target, question) for column in (asked, *range(at, end)))
            at = end
            continue
        for answer in question.answers:
            for column, target in zip([asked, *range(at, at + len(answer) - 1)], answer, strict=True):
                yield column, target, question
            at += len(answer) - 1


def _spans(row: TrainingRow) -> Iterator[_Span]:
    """Yield the questions and answers of a row that have tokens."""
    shared = at = len(row.shared)
    for question in row.questions:
        before = ((shared, at),) if at > shared else ()
        start, at = at, at + len(question.ids)
        if question.ids:
            yield _Span(start, at, shared, before)
        asked, position = at, shared + len(question.ids)
        for behind in question.behind:
            hidden = (*before, (asked, at)) if at > asked else before
            start, at = at, at + len(behind)
            if at > start:
                yield _Span(start, at, position, hidden, question.trie)


@lru_cache(maxsize=64)
def _ancestors(trie: LabelTrie) -> Tensor:
    return trie.ancestors()


def _tree(rows: Sequence[Sequence[_Span]], seq: int) -> dict[str, Tensor]:
    position_ids = torch.arange(seq).repeat(len(rows), 1)
    visible = torch.ones(seq, seq, dtype=torch.bool).tril().repeat(len(rows), 1, 1)
    for number, spans in enumerate(rows):
        for span in spans:
            own = slice(span.start, span.end)
            if span.trie is None:
                position_ids[number, own] = torch.arange(span.position, span.position + span.end - span.start)
            else:
                position_ids[number, own] = span.position - 1 + torch.tensor(span.trie.depths)
                visible[number, own, own] = _ancestors(span.trie)
            for start, end in span.hidden:
                visible[number, own, start:end] = False
    return {"position_ids": position_ids, "visible": visible}
