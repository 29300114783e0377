"""The error of a model whose numbers overflow: without it decoding would still return some text."""

from papertune.decoding.engine import PromptState
from papertune.errors import ModelError


def no_numbers(name: str) -> ModelError:
    """Return the error of a column for which the model's probabilities overflow."""
    return ModelError(
        f'the model\'s probabilities for "{name}" are not numbers: its weights are damaged, or too large for this '
        "precision. Try --precision fp32, or train with a lower training.learning_rate."
    )


def check_numbers(name: str, state: PromptState) -> None:
    """Check the logits after the prompts.

    Raises:
        ModelError: If one of them is not a number.
    """
    if bool(state.last_logits.isnan().any()):
        raise no_numbers(name)
