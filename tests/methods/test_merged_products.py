import pytest
import torch

from papertune.methods import FullMethod, LoraMethod, build_trainable, checkpoint_activations
from papertune.methods.merged_products import merged_products

IDS = torch.arange(3, 33).view(2, 15)


def merged_step(model, layers):
    """Return logits and gradients with merged products, after moving the adapters away from zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.train()
    with merged_products(model, torch.float32) as count:
        assert count == layers
        logits = model(input_ids=IDS).logits
        logits.square().mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient.any() for gradient in gradients.values())
    model.zero_grad()
    return logits.detach(), gradients


def plain_step(model):
    logits = model(input_ids=IDS).logits
    logits.square().mean().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", [LoraMethod(rank=4), LoraMethod(rank=3, alpha=5, rslora=True, layers=1)])
def test_merged_products_give_the_logits_and_gradients_of_peft(own_tiny_model, method, checkpointing):
    model = build_trainable(own_tiny_model, method, seed=0)
    if checkpointing:
        checkpoint_activations(model)
    logits, gradients = merged_step(model, layers=7 * (method.layers or 2))
    expected_logits, expected = plain_step(model)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_merged_products_add_the_bias(own_tiny_model):
    layer = own_tiny_model.model.layers[0].mlp.up_proj
    layer.bias = torch.nn.Parameter(torch.linspace(-1, 1, layer.out_features))
    model = build_trainable(own_tiny_model, LoraMethod(rank=2, targets=("up_proj",)), seed=0)
    torch.testing.assert_close(merged_step(model, layers=2)[0], plain_step(model)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [LoraMethod(dropout=0.1), LoraMethod(dora=True), FullMethod(kind="full")])
def test_dropout_dora_and_full_are_not_merged(own_tiny_model, method):
    with merged_products(build_trainable(own_tiny_model, method, seed=0), torch.float32) as count:
        assert count == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bfloat16_weights_are_not_merged(own_tiny_model, dtype):
    model = build_trainable(own_tiny_model.bfloat16(), LoraMethod(), seed=0)
    with merged_products(model, dtype) as count:
        assert count == 0


def test_float32_weights_with_bfloat16_products_are_not_merged(own_tiny_model):
    with merged_products(build_trainable(own_tiny_model, LoraMethod(), seed=0), torch.bfloat16) as count:
        assert count == 0


def test_layers_are_restored_afterwards(own_tiny_model):
    model = build_trainable(own_tiny_model, LoraMethod(), seed=0)
    with merged_products(model, torch.float32):
        assert any("forward" in vars(module) for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())
