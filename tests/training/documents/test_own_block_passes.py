import numpy as np
import pytest
import torch

from papertune.methods import LoraMethod, build_trainable
from papertune.models import AttentionMasks
from papertune.training.documents import own_passes
from papertune.training.documents.blocks import collate_blocks, token_losses
from papertune.training.documents.own_passes import OwnBlockPasses
from papertune.training.layers.decoder import own_decoder

BLOCKS = [
    [np.arange(3, 20), np.array([7, 8, 2])],
    [np.array([9, 10, 11, 2])],
    [np.arange(30, 36), np.arange(40, 45), np.array([5, 2])],
]


@pytest.mark.parametrize(("pass_tokens", "positions"), [(512, 256), (20, 4)])
def test_losses_and_gradients_of_blocks_are_those_of_autograd(own_tiny_model, monkeypatch, pass_tokens, positions):
    monkeypatch.setattr(own_passes, "_PASS_TOKENS", pass_tokens)
    monkeypatch.setattr(own_passes, "_LOGIT_POSITIONS", positions)
    model = build_trainable(own_tiny_model, LoraMethod(rank=2), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.1
    batch = collate_blocks(BLOCKS)
    losses, _ = token_losses(model, AttentionMasks(model), batch)
    expected = losses.sum() / batch["examples"]
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    with own_decoder(model, torch.float32) as decoder:
        loss = OwnBlockPasses(decoder).learn(batch, batch["examples"])
    torch.testing.assert_close(loss, expected.detach())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            largest = float(gradients[name].abs().max())
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5 * largest)
