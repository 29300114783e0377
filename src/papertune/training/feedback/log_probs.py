"""Log-probabilities of answers and measures of pairs, for scores and not for gradients."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.models import answer_positions
from papertune.prompts import pad_right, sorted_token_batches

# Padded tokens in a pass.
_PASS_TOKENS = 2048


@torch.inference_mode()
def answer_log_probs(
    model: Any, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the log-probability of each answer after its prompt.

    Args:
        model: A causal language model, in evaluation mode.
        sequences: Token ids of a prompt and of an answer; neither is empty.
        dtype: Number format of the products.

    Returns:
        Sums over the tokens of the answers, in nats, float64, shape (sequences,).
    """
    device = next(model.parameters()).device
    found = torch.zeros(len(sequences), dtype=torch.float64)
    lengths = [len(prompt) + len(answer) for prompt, answer in sequences]
    for batch in sorted_token_batches(lengths, _PASS_TOKENS, max_rows=len(lengths) or 1):
        members = [sequences[number] for number in batch]
        ids = pad_right([[*prompt, *answer[:-1]] for prompt, answer in members], 0).to(device)
        places = [
            (row, len(prompt) - 1 + step) for row, (prompt, answer) in enumerate(members) for step in range(len(answer))
        ]
        rows, columns = torch.tensor(places, device=device).T
        targets = torch.tensor([token for _, answer in members for token in answer], device=device)
        autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        with autocast, answer_positions(model, rows, columns):
            logits = model(input_ids=ids, use_cache=False).logits
        tokens = logits.float().log_softmax(dim=-1).gather(1, targets[:, None])[:, 0].double().cpu()
        sums = torch.zeros(len(members), dtype=torch.float64).index_add(0, rows.cpu(), tokens)
        found[torch.as_tensor(batch)] = sums
    return found


def pair_measures(margins: Sequence[float]) -> dict[str, float]:
    """Return what is measured on dev pairs: the share with a positive margin, half of those without one, and the loss.

    Args:
        margins: Reward of the better answer minus that of the other one.
    """
    found = torch.tensor(list(margins), dtype=torch.float64)
    right = float(((found > 0) + 0.5 * (found == 0)).mean())
    return {
        "pairs_right": right,
        "margin": float(found.mean()),
        "pairs_log_loss": float(-F.logsigmoid(found).mean()),
        "score": right,
    }
