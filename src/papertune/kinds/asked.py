"""The interface of columns with one question."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from papertune.kinds.base import ColumnSpec

if TYPE_CHECKING:
    from random import Random

    from papertune.kinds.decoder import Decoder, DecodingTools, Value
    from papertune.prompts import PromptEncoder


class AskedSpec(ColumnSpec):
    """A column with one question: how its answer is learned and decoded."""

    def questions(self, name: str) -> "dict[str, AskedSpec]":
        """Return the column itself as its only question."""
        return {name: self}

    @abstractmethod
    def encode_answers(self, answer: str, encoder: "PromptEncoder") -> list[list[int]]:
        """Return the token ids to learn for an answer, each with the end token; several if it has alternatives.

        Parts that are too long for the column are left out.
        """

    @property
    def joined_labels(self) -> tuple[str, ...]:
        """The labels, if several sources can answer the question; () for kinds whose answers are generated."""
        return ()

    @property
    def chosen_sources(self) -> tuple[str, ...] | None:
        """The sources that the recipe names; None: all that are there. Only the model generates answers."""
        return ("model",)

    @property
    def loss_labels(self) -> Sequence[str] | None:
        """The labels if the loss runs over the label set only, else None."""
        return None

    def answer_weights(self, answers: Iterable[str]) -> dict[str, float]:
        """Return the weight of each answer in the loss, given those of the training examples; empty: all 1."""
        return {}

    def check_tokens(self, encoder: "PromptEncoder") -> None:
        """Check that the answers have different tokens.

        Raises:
            RecipeError: If two of them are the same tokens.
        """

    def count_left_out(self, answer: str, encoded: Sequence[Sequence[int]], encoder: "PromptEncoder") -> int:
        """Return how many parts of an answer are not learned, since they have too many tokens.

        Args:
            answer: The answer.
            encoded: What `encode_answers` returns for it.
            encoder: Has encoded it.
        """
        return 0

    def answer_facts(self, name: str, answers: Sequence[str], encoder: "PromptEncoder") -> list[str]:
        """Return what a check reports about the answers to learn, a line each."""
        return []

    def left_out_in_words(self, name: str, count: int) -> str:
        """Return the warning for parts of answers that are not learned."""
        return f'column "{name}": {count:,} parts of answers have too many tokens; not learned.'

    @abstractmethod
    def max_answer_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the maximum tokens of an answer in prediction."""

    def max_learned_tokens(self, encoder: "PromptEncoder") -> int:
        """Return the maximum tokens of an answer in training."""
        return self.max_answer_tokens(encoder)

    def max_answer_bytes(self, max_answer_tokens: int) -> int:
        """Return an upper bound of an answer's tokens in training, without a tokenizer."""
        return max_answer_tokens

    @property
    def has_answer_tree(self) -> bool:
        """Whether several answers of one row go through the model together."""
        return False

    def example_group(self, answer: str) -> str:
        """Return the group from which few-shot examples are taken in turns: the label, or "" for free answers."""
        return ""

    def one_answer(self, answer: str) -> str:
        """Return a single answer of an answer to learn: all of it, or the first of several."""
        return answer

    # Feedback

    @property
    def is_written(self) -> bool:
        """Whether an answer is one text that the model writes, so that several can be drawn and compared."""
        return False

    def text_of(self, value: "Value") -> str:
        """Return the answer in a value as text to learn; only where answers are written.

        Raises:
            NotImplementedError: If they are not.
        """
        raise NotImplementedError

    def present_share(self, answer: str, document: str) -> float:
        """Return the share of an answer that stands in the document, from 0 to 1: of its words."""
        from papertune.metrics.text_scores import words_of

        words, known = words_of(answer), set(words_of(document))
        return sum(word in known for word in words) / len(words) if words else 0.0

    def answer_f1(self, gold: str, answer: str) -> float:
        """Return how good a written answer is, from 0 to 1, by this kind's own score of a row.

        Args:
            gold: The answer to learn.
            answer: What the model has written.

        Raises:
            NotImplementedError: If answers are not written.
        """
        raise NotImplementedError

    def read_written(self, cell: str) -> str | None:
        """Return the answer of a cell that a run has written or a person has corrected; None without an answer."""
        return self.read_answer(cell)

    def is_same_answer(self, first: str, second: str) -> bool:
        """Whether two answers mean the same: blanks do not count."""
        return first.split() == second.split()

    def preferences(self, better: str, worse: str) -> list[tuple[str, str]]:
        """Return pairs of answers to learn from, the better first, given two answers with different meanings.

        There are none where nothing of the worse answer was wrong, but something was missing, and the question asks
        for one part at a time.
        """
        return [(better, worse)]

    def single_answers(self, answer: str) -> list[str]:
        """Return what the question asks for, of an answer: all of it, or each of its parts."""
        return [answer]

    def corruptions(self, answer: str, text: str, others: Sequence[str], generator: "Random") -> dict[str, str]:
        """Return wrong answers by tier, none of which means the same as `answer`.

        Args:
            answer: The right answer.
            text: The cells of the document.
            others: Right answers of other papers that mean something else, in random order.
            generator: Chooses what is changed.
        """
        return {"other-paper": others[0]} if others else {}

    @abstractmethod
    def decoder(self, name: str, tools: "DecodingTools") -> "Decoder":
        """Return a decoder, which answers the question for a batch of prompts."""
