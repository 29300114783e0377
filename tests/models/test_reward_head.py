"""The head of a reward model."""

import pytest
import torch

from papertune.errors import RunError
from papertune.methods import LoraMethod, build_trainable
from papertune.models.reward_head import FILE, add_reward_head, load_reward_head, save_reward_head


def test_the_head_stands_in_the_place_of_the_output_layer_and_begins_with_equal_rewards(own_tiny_model):
    add_reward_head(own_tiny_model)
    output = own_tiny_model(torch.tensor([[5, 6, 7]])).logits
    assert output.shape == (1, 3, 1)
    assert output.abs().max() == 0


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_a_model_with_an_adapter_beside_its_weights_gets_a_head(own_tiny_model, is_wrapped):
    # Quantized runs predict with the inner model of peft's, whose layers keep the adapter.
    wrapped = build_trainable(own_tiny_model, LoraMethod(rank=2), seed=0)
    model = wrapped if is_wrapped else wrapped.get_base_model()
    add_reward_head(model)
    assert model(torch.tensor([[5, 6]])).logits.shape == (1, 2, 1)


def test_the_head_computes_in_float32_within_bfloat16(own_tiny_model):
    head = add_reward_head(own_tiny_model)
    torch.nn.init.normal_(head.weight)
    hidden = torch.randn(2, 32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = head(hidden)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, hidden @ head.weight.T)


def test_a_saved_head_is_read_again(own_tiny_model, make_model, tmp_path):
    torch.nn.init.normal_(add_reward_head(own_tiny_model).weight)
    save_reward_head(own_tiny_model, tmp_path)
    other = make_model()
    add_reward_head(other)
    load_reward_head(other, tmp_path)
    assert torch.equal(other.lm_head.weight, own_tiny_model.lm_head.weight)


@pytest.mark.parametrize("content", [None, b"no tensors"])
def test_a_missing_or_damaged_head_is_an_error_that_names_the_file(own_tiny_model, tmp_path, content):
    add_reward_head(own_tiny_model)
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(RunError, match=f"{FILE}: the head of the reward model cannot be read: .* Train again, or"):
        load_reward_head(own_tiny_model, tmp_path)
