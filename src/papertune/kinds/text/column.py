"""The column of free text: its settings, and what the rest of papertune asks of it."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictStr, model_validator

from papertune.errors import Sentence, quoted
from papertune.kinds.base import Text
from papertune.kinds.text.answered import AnsweredSpec

if TYPE_CHECKING:
    from random import Random

    from papertune.evaluation.report import SampleText
    from papertune.evaluation.systems.outputs import Fill
    from papertune.kinds.decoder import Decoder, DecodingTools, Value
    from papertune.kinds.findings import GoldCheck
    from papertune.kinds.predictions import Predictions
    from papertune.kinds.scoring import Scoring
    from papertune.prompts import PromptEncoder
    from papertune.prompts.examples import RowReader


class TextColumn(AnsweredSpec):
    """A column that holds a free answer to the question.

    Attributes:
        question: What the model is asked about the document.
        max_new_tokens: Maximum length of a predicted answer, in tokens.
        decoding: "greedy": the most probable token each time; "beams": beam search.
        beams: Number of unfinished answers that beam search keeps.
        pattern: A regular expression that every answer matches as a whole; None: any text.
        empty: The answer that means "not stated": its cell is empty, and an empty cell teaches it. "": rows with an
            empty cell are not learned.
    """

    kind: Literal["text"]
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    decoding: Literal["greedy", "beams"] = "greedy"
    beams: Annotated[int, Field(ge=1)] = 4
    pattern: Text | None = None
    empty: StrictStr = ""

    @model_validator(mode="after")
    def _check(self) -> "TextColumn":
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern is {self.pattern!r}, which is not a regular expression: {error}") from None
        if self.empty and not self.empty.strip():
            raise ValueError("empty is blank; write the answer that the model should learn, such as 'not stated'")
        return self

    # Cells

    def read_answer(self, cell: str) -> str | None:
        """Return the text of a cell; for an empty cell the text of `empty`, or None without one."""
        from papertune.kinds.text.cells import tidy

        return (self.empty.strip() if self.is_empty(cell) else tidy(cell)) or None

    def cell_of(self, answer: str) -> str:
        """Return an answer as a cell: "" if it is the text of `empty`."""
        from papertune.kinds.text.cells import tidy

        text = tidy(answer)
        return "" if self.is_empty(text) else text

    def is_empty(self, cell: str) -> bool:
        """Whether a cell is empty or has the text of `empty`."""
        return cell.strip().casefold() in ("", self.empty.strip().casefold())

    def check_gold(self, check: "GoldCheck") -> None:
        """Warn of empty cells, and check that all others match the pattern."""
        empty: list[int] = []
        unmatched: list[int] = []
        for row, cell in check.cells():
            if self.is_empty(cell):
                empty.append(row)
            elif self.pattern is not None and not re.fullmatch(self.pattern, cell.strip()):
                unmatched.append(row)
                if check.purpose == "train":
                    text = (
                        f"{quoted(cell)} does not match columns.{check.name}.pattern, {self.pattern!r}. Correct the "
                        "cell or the pattern."
                    )
                    check.problem(row, Sentence(text, "unmatched", value=cell, pattern=self.pattern))
        if not self.empty:
            check.warn_of_empty(Sentence("empty", "empty_cells"), empty)
        if check.purpose == "score":
            text = "{} not matched by the pattern, so no prediction can be right"
            check.warn(Sentence(text, "unmatched_cells"), unmatched)

    # Learning

    def encode_answers(self, answer: str, encoder: "PromptEncoder") -> list[list[int]]:
        """Return the text; one that is too long is truncated, and then has no end token."""
        ids = [*encoder.encode_text(answer), encoder.end_id]
        return [ids[: encoder.max_answer_tokens]]

    def check_tokens(self, encoder: "PromptEncoder") -> None:
        """Check that answers that match the pattern can be decoded."""
        if self.pattern is not None:
            from papertune.decoding.pattern import pattern_grammar

            pattern_grammar(self.pattern, self.empty.strip())

    def count_left_out(self, answer: str, encoded: Sequence[Sequence[int]], encoder: "PromptEncoder") -> int:
        """Return 1 if an answer is truncated."""
        return int(encoded[0][-1] != encoder.end_id)

    def left_out_in_words(self, name: str, count: int) -> str:
        """Return the warning for truncated answers."""
        answers = "1 answer has" if count == 1 else f"{count:,} answers have"
        ends = "its end is" if count == 1 else "their ends are"
        return f'column "{name}": {answers} more tokens than encoding.max_answer_tokens; {ends} not learned.'

    def answer_facts(self, name: str, answers: Sequence[str], encoder: "PromptEncoder") -> list[str]:
        """Return the lengths of the answers, and how many are too long to be learned or predicted whole."""
        lengths = [len(ids) + 1 for ids in encoder.encode_texts(answers)]
        mean = sum(lengths) / len(lengths)
        facts = [f"{name}: {len(lengths):,} answers of {min(lengths)} to {max(lengths)} tokens, mean {mean:.0f}"]
        if len(lengths) == 1:
            facts = [f"{name}: 1 answer of {lengths[0]} tokens"]
        if truncated := sum(length > encoder.max_answer_tokens for length in lengths):
            facts.append(self.left_out_in_words(name, truncated))
        if longer := sum(length - 1 > self.max_new_tokens for length in lengths):
            answers_are = "1 answer is" if longer == 1 else f"{longer:,} answers are"
            facts.append(
                f'column "{name}": {answers_are} longer than columns.{name}.max_new_tokens, {self.max_new_tokens}; a '
                "prediction cannot be that long."
            )
        return facts

    def max_answer_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the limit of a predicted answer."""
        return self.max_new_tokens

    def max_learned_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the limit of an answer in training."""
        return encoder.max_answer_tokens

    # Preferences

    def corruptions(self, answer: str, text: str, others: Sequence[str], generator: "Random") -> dict[str, str]:
        """Return another paper's answer, a sentence of this one, half of the answer; as the pattern allows."""
        from papertune.kinds.text.corruptions import corrupt

        found = corrupt("" if self.is_empty(answer) else answer, text, others, self.empty.strip())
        return {
            tier: worse
            for tier, worse in found.items()
            if not self.is_same_answer(worse, answer)
            and (self.pattern is None or self.is_empty(worse) or re.fullmatch(self.pattern, worse))
        }

    # Feedback

    @property
    def is_written(self) -> bool:
        """True: the model writes the text."""
        return True

    def text_of(self, value: "Value") -> str:
        """Return the text of a value."""
        from papertune.kinds.text.cells import read_answer

        return self.read_answer(read_answer(str(value))[0]) or ""

    def answer_f1(self, gold: str, answer: str) -> float:
        """Return the F1 of the words of both texts."""
        from papertune.metrics.text_scores import token_f1

        return token_f1(self.cell_of(gold), self.cell_of(answer))

    # Predicting

    def decoder(self, name: str, tools: "DecodingTools") -> "Decoder":
        """Return a decoder of free text."""
        from papertune.kinds.text.decoder import TextDecoder

        return TextDecoder(name, self, tools)

    def reason_for_empty(self, decision: Any) -> str:
        """Return what an empty cell means."""
        nothing = (
            "the model wrote nothing" if self.pattern is None else "the model wrote nothing that matches the pattern"
        )
        return f"{nothing}, or {self.empty!r}" if self.empty else nothing

    # Evaluating

    @property
    def scoring(self) -> "Scoring":
        """Exact match, token F1, ROUGE-L and chrF; systems are compared by ROUGE-L."""
        from papertune.kinds.text import scoring

        return scoring

    def baselines(self) -> "dict[str, Fill]":
        """Return the first sentence, the last sentence and the most frequent answer."""
        from papertune.kinds.text import baselines

        return baselines.baselines(self)

    def sample(self, predictions: "Predictions", row: int, gold: "RowReader", name: str) -> "SampleText":
        """Return the answer beside the table's, with its confidence."""
        from papertune.evaluation.report import SampleText

        confidence = predictions.confidences[row] if predictions.confidences is not None else None
        return SampleText(name, predictions.cells[row], (gold.given(row, name) or "").strip(), confidence)
