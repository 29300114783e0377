"""Decoders: they answer one question for a batch of prompts."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from papertune.decoding.engine import Engine, PromptState
    from papertune.decoding.scoring.label_scoring import LabelTrie
    from papertune.prompts import PromptEncoder

# The value of a question for one row: label probabilities in the recipe's order, or text.
Value = list[float] | str


@dataclass(frozen=True)
class DecodingTools:
    """What decoders need.

    Attributes:
        encoder: Encodes prompts and answers.
        tokenizer: A transformers tokenizer.
        end_ids: Tokens that end an answer.
        document_template: The recipe's template; its own words are not part of a document.
        decision: How the column is predicted, as `ColumnSpec.decision` returns it.
    """

    encoder: "PromptEncoder"
    tokenizer: Any
    end_ids: Collection[int]
    document_template: str
    decision: Any = None


class Decoder(ABC):
    """Answers one question.

    Attributes:
        trie: The labels, if labels are scored and nothing is generated: the predictor then answers several such
            questions in one pass, without a cache if each label is one token.
        has_candidates: Whether `answer` returns candidates from which `value` chooses.
        decision: How the column is predicted; it may change when the run is calibrated.
    """

    trie: "LabelTrie | None" = None
    has_candidates: bool = False
    decision: Any = None

    @property
    def reads_document(self) -> bool:
        """Whether `answer` needs the text of the documents for a prediction."""
        return False

    @abstractmethod
    def answer(self, engine: "Engine", state: "PromptState", documents: Sequence[str], tokens: int) -> Sequence[Any]:
        """Answer the question for a batch.

        Args:
            engine: Runs the model.
            state: The prompts; consumed.
            documents: The part of each document in the prompt; "" if it is not needed.
            tokens: Maximum tokens after the prompts that go through the model together.

        Returns:
            A value for each row, or candidates.

        Raises:
            ModelError: If the model's numbers overflow.
        """

    def sample(self, engine: "Engine", state: "PromptState", uniforms: "Tensor", temperature: float) -> list[Value]:
        """Draw an answer for each prompt of a batch; only for columns whose answers are written.

        Args:
            engine: Runs the model.
            state: The prompts; consumed.
            uniforms: As in `papertune.decoding.sampling.sample`.
            temperature: As there.

        Raises:
            NotImplementedError: If answers are not written.
        """
        raise NotImplementedError

    def value(self, answer: Any) -> Value:
        """Return the value of an answer, which the journal stores."""
        found: Value = answer
        return found
