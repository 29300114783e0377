"""What answers one question for a batch of prompts."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from papertune.decoding.engine import Engine, PromptState
    from papertune.decoding.label_scoring import LabelTrie
    from papertune.prompts import PromptEncoder

# What the model gives for one row and question: label probabilities in the recipe's order, or text.
Value = list[float] | str


@dataclass(frozen=True)
class DecodingTools:
    """What decoders are made from.

    Attributes:
        encoder: Encodes prompts and answers.
        tokenizer: A transformers tokenizer.
        end_ids: Tokens that end an answer.
        document_template: The recipe's template; what it says itself is not part of a document.
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
        trie: The labels, where they are scored and nothing is generated: the predictor then answers several such
            questions in one pass, and without a cache where each label is one token.
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
            state: The prompts; used up.
            documents: What the prompts hold of each row's document; "" each where it is not needed.
            tokens: How many tokens may go through the model together behind the prompts.

        Returns:
            A value for each row, or candidates.

        Raises:
            ModelError: If the model's numbers overflow.
        """

    def value(self, answer: Any) -> Value:
        """Return the value of an answer: what the journal keeps."""
        found: Value = answer
        return found
