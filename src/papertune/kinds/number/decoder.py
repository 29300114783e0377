"""Decodes numbers: greedily, among the tokens with which an allowed number can still come about."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.overflow import check_numbers, no_numbers
from papertune.errors import ModelError
from papertune.kinds.decoder import Decoder, DecodingTools, Value
from papertune.kinds.number.column import NumberColumn
from papertune.kinds.number.grammar import NumberGrammar
from papertune.kinds.text.cells import answer_as_text
from papertune.prompts import PromptEncoder

_CHARACTERS = frozenset("0123456789.-")
# Maximum number of beginnings whose next tokens are kept; a large table has many more.
_MAX_KEPT = 4096


class Written(NamedTuple):
    """What has been decoded of an answer.

    Attributes:
        text: The beginning of a number; None: it is the text for "not stated".
        empty: How many tokens of that text have been decoded; None: it is a number.
        is_begun: Whether there is any token.
    """

    text: str | None
    empty: int | None
    is_begun: bool = True


class NumberTokens:
    """The tokens that may come next in an answer.

    Args:
        tokenizer: A transformers tokenizer.
        encoder: Encodes answers as in training.
        grammar: The numbers that are allowed.
        empty: The text for "not stated"; "": a number must come.

    Raises:
        ModelError: If the tokenizer has no token for a digit.
    """

    def __init__(self, tokenizer: Any, encoder: PromptEncoder, grammar: NumberGrammar, empty: str) -> None:
        self._grammar = grammar
        self._empty = encoder.encode_text(empty)
        self.start = Written("", 0 if empty else None, is_begun=False)
        texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        special = set(tokenizer.all_special_ids)
        numeric = [n for n, text in enumerate(texts) if n not in special and _CHARACTERS.issuperset(text.strip())]
        # Some tokenizers begin every text with a blank, which is a part of its first token or a token of its own. Most
        # of them drop it in decoding, but not behind another token.
        beginnings = [ids for ids in encoder.encode_texts(list("-0123456789")) if ids]
        has_blank = any(texts[ids[0]].startswith(" ") for ids in beginnings)
        first = {token: texts[token] for token in numeric if texts[token].startswith(" ") is has_blank}
        self._first = _by_text({token: text.strip() for token, text in first.items()})
        self._first[""] = sorted({ids[0] for ids in beginnings if len(ids) > 1 and not texts[ids[0]].strip()})
        before = beginnings[-1]
        behind = tokenizer.batch_decode([[*before, token] for token in numeric])
        length = len(tokenizer.decode(before))
        self._later = _by_text({token: text[length:] for token, text in zip(numeric, behind, strict=True)})
        for character in "0123456789" + "." * (not grammar.integer) + "-" * grammar.can_begin("-"):
            if character not in self._later:
                raise ModelError(f'the tokenizer has no token for "{character}", so numbers cannot be decoded.')
        self._next: dict[Written, dict[int, Written]] = {}

    def may_follow(self, written: Written) -> Mapping[int, Written]:
        """Return the tokens that may come next, each with what is then written."""
        if written not in self._next:
            if len(self._next) >= _MAX_KEPT:
                self._next.clear()
            found: dict[int, Written] = {}
            if written.text is not None:
                for text, tokens in (self._later if written.is_begun else self._first).items():
                    if self._grammar.can_begin(written.text + text):
                        found |= dict.fromkeys(tokens, Written(written.text + text, None))
            if written.empty is not None and written.empty < len(self._empty):
                token = self._empty[written.empty]
                found[token] = Written(found[token].text if token in found else None, written.empty + 1)
            self._next[written] = found
        return self._next[written]

    def answer(self, written: Written) -> str | None:
        """Return the answer that is complete, "" for "not stated"; None if it is not complete."""
        if written.empty is not None and written.empty == len(self._empty):
            return ""
        return written.text if written.text is not None and self._grammar.is_complete(written.text) else None


class NumberDecoder(Decoder):
    """Decodes greedily among the tokens that can lead to an allowed number.

    The confidence is the product of the tokens' probabilities, each among the allowed next tokens: the probability of
    the answer among all allowed numbers and "not stated".

    Args:
        name: The column's name, for messages.
        column: The column.
        tools: Tokenizer and end tokens.
    """

    def __init__(self, name: str, column: NumberColumn, tools: DecodingTools) -> None:
        self._name = name
        self._end_ids = sorted(tools.end_ids)
        self._tokens = NumberTokens(tools.tokenizer, tools.encoder, column.grammar, column.empty)

    @torch.inference_mode()
    def answer(self, engine: Engine, state: PromptState, documents: Sequence[str], tokens: int) -> Sequence[Value]:
        """Return the answer for each row and its confidence."""
        check_numbers(self._name, state)
        written = [self._tokens.start] * len(state.lengths)
        log_probability = [0.0] * len(written)
        active = list(range(len(written)))
        while active:
            steps = self._steps(state, [written[row] for row in active])
            kept: list[int] = []
            added: list[list[int]] = []
            for index, (token, step) in enumerate(steps):
                row = active[index]
                log_probability[row] += step
                if token is not None:
                    written[row] = self._tokens.may_follow(written[row])[token]
                    kept.append(index)
                    added.append([token])
            if not kept:
                break
            if len(kept) < len(active):
                state.select(torch.tensor(kept, device=engine.device))
            active = [active[index] for index in kept]
            engine.extend(state, added)
        answers = [self._tokens.answer(each) or "" for each in written]
        confidences = map(math.exp, log_probability)
        return [answer_as_text(text, confidence) for text, confidence in zip(answers, confidences, strict=True)]

    def _steps(self, state: PromptState, written: Sequence[Written]) -> list[tuple[int | None, float]]:
        """Return the next token of each row, None where the answer ends, and its log-probability."""
        allowed = [list(self._tokens.may_follow(each)) for each in written]
        ends = [self._end_ids if self._tokens.answer(each) is not None else [] for each in written]
        rows = [[*some, *end] for some, end in zip(allowed, ends, strict=True)]
        width = max(map(len, rows))
        ids = torch.tensor([row + [row[0]] * (width - len(row)) for row in rows], device=state.last_logits.device)
        logits = state.last_logits.gather(1, ids).float().cpu()
        steps: list[tuple[int | None, float]] = []
        for row, scores, some in zip(rows, logits, allowed, strict=True):
            log_probabilities = scores[: len(row)].log_softmax(dim=0)
            if bool(log_probabilities.isnan().any()):
                raise no_numbers(self._name)
            # Several tokens can end an answer; their probabilities add up.
            end = float(log_probabilities[len(some) :].logsumexp(dim=0)) if len(row) > len(some) else -torch.inf
            best = int(log_probabilities[: len(some)].argmax()) if some else None
            if best is None or end >= float(log_probabilities[best]):
                steps.append((None, end))
            else:
                steps.append((some[best], float(log_probabilities[best])))
        return steps


def _by_text(texts: Mapping[int, str]) -> dict[str, list[int]]:
    """Return tokens by their text, without those that have none."""
    found: dict[str, list[int]] = {}
    for token, text in texts.items():
        if text and _CHARACTERS.issuperset(text):
            found.setdefault(text, []).append(token)
    return found
