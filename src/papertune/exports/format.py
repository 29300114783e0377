"""What a format of export is, and what it gets to write."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from papertune.errors import RunError
from papertune.exports.gguf_files.writing import Weights
from papertune.prompts import PromptEncoder
from papertune.run import Run


@dataclass(frozen=True)
class SamplePrompt:
    """A prompt and what the model gives for it.

    Attributes:
        question: The question's name.
        text: The prompt as text that the tokenizer turns into its ids; None if there is none, as with special tokens
            in a document.
        ids: Token ids.
        next: Log-probabilities of next tokens by id, after the prompt and each of some continuations.
        probabilities: The probability of each label, before calibration; empty for a question without labels.
        writes_label: Whether the most probable next token of all begins a label.
    """

    question: str
    text: str | None
    ids: list[int]
    next: list[tuple[list[int], dict[int, float]]]
    probabilities: dict[str, float]
    writes_label: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the prompt for JSON."""
        return {
            "question": self.question,
            "prompt_ids": self.ids,
            "prompt_text": self.text,
            "next": [
                {"after_ids": after, "log_probabilities": {str(token): value for token, value in found.items()}}
                for after, found in self.next
            ],
            "probabilities": self.probabilities,
        }


@dataclass(frozen=True)
class Exported:
    """What is exported.

    Attributes:
        run: The run.
        model: Its model, merged, in float32.
        tokenizer: Its tokenizer.
        encoder: Makes token ids of prompts.
        weights: Number format of the written weights.
        adapter: Whether the adapter is written by itself.
        name: The folder's name.
    """

    run: Run
    model: Any
    tokenizer: Any
    encoder: PromptEncoder
    weights: Weights
    adapter: bool
    name: str


class ExportFormat(ABC):
    """A program or place that a run is exported to.

    Attributes:
        name: What --to calls it.
        title: What it is called in sentences.
        weights: The number formats that it can have, the default first.
        has_adapters: Whether an adapter can be written by itself.
        library: The hub's name for what reads the folder.
        tags: What the model card is found by.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    weights: ClassVar[tuple[Weights, ...]]
    has_adapters: ClassVar[bool] = True
    library: ClassVar[str] = "transformers"
    tags: ClassVar[tuple[str, ...]] = ()

    def default_weights(self, *, adapter: bool) -> Weights:
        """Return the number format that is written if none is asked for; an adapter by itself stays in float32."""
        return "f32" if adapter else self.weights[0]

    def check(self, run: Run, *, adapter: bool) -> None:  # noqa: B027 - most formats have limits, hub has none
        """Check before any weights are loaded that a run can be exported.

        Args:
            run: The run.
            adapter: Whether its adapter is to be written by itself.

        Raises:
            ModelError, RunError: If it cannot; the message has the way round it.
        """

    @abstractmethod
    def write(self, exported: Exported, folder: Path) -> None:
        """Write the files.

        Args:
            exported: What to write. The model may be changed.
            folder: An empty folder.
        """

    @abstractmethod
    def serving(self, exported: Exported, labels: Sequence[int]) -> str:
        """Return in Markdown how the folder is served and asked.

        Args:
            exported: What was written.
            labels: Token ids among which a probability is read, as an example; empty for a run without labels.
        """

    def warning(self, exported: Exported, prompts: Sequence[SamplePrompt]) -> str:
        """Return what the user should know of how the program will answer; "" if there is nothing.

        Args:
            exported: What is written.
            prompts: The sample prompts.
        """
        return ""


def check_plain_adapter(run: Run, config: dict[str, Any]) -> None:
    """Refuse an adapter that is more than W0 + scale x B A.

    Args:
        run: The run.
        config: Content of its adapter_config.json.

    Raises:
        RunError: If it is one.
    """
    from papertune.methods.plain_lora import is_plain

    merge = "Leave --adapter out: the merged model has all of it."
    path = run.directory.path
    if config.get("use_dora"):
        raise RunError(f"{path} was trained with DoRA, and other programs read plain LoRA adapters only. {merge}")
    if run.recipe.base_bits is not None:
        raise RunError(
            f"{path} was trained on a base model in {run.recipe.base_bits} bits, which other programs do not have. "
            f"{merge}"
        )
    if not is_plain(config):
        raise RunError(f"{path}: its adapter has settings that other programs do not read. {merge}")


def listed_formats(names: Sequence[str]) -> str:
    """Return number formats for a sentence: "f16, bf16 or q8_0"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
