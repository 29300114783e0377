import pytest
import torch
from torch import nn

from papertune.errors import ModelError
from papertune.models import answer_positions, output_layer


class Wrapper(nn.Module):
    """Wraps a model as DDP does."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, **inputs):
        return self.module(**inputs)


@pytest.mark.parametrize("wrap", [lambda model: model, Wrapper])
def test_selected_logits_equal_those_of_a_full_pass(tiny_model, wrap):
    ids = torch.randint(3, 400, (3, 11))
    rows, columns = torch.tensor([0, 0, 2, 1, 2]), torch.tensor([3, 10, 0, 7, 0])
    full = tiny_model(input_ids=ids).logits
    model = wrap(tiny_model)
    with answer_positions(model, rows, columns):
        chosen = model(input_ids=ids).logits
    assert chosen.shape == (5, tiny_model.config.vocab_size)
    torch.testing.assert_close(chosen, full[rows, columns], rtol=0, atol=1e-6)
    # After the context, and after an error in it, the model is unchanged.
    with pytest.raises(KeyError), answer_positions(model, rows, columns):
        raise KeyError
    torch.testing.assert_close(model(input_ids=ids).logits, full, rtol=0, atol=0)


def test_capped_logits_stay_correct():
    """Some models have operations after the output layer: Gemma2 caps its logits."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=0.1,
        initializer_range=1.0,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = Gemma2ForCausalLM(config).eval()
    ids = torch.randint(3, 50, (2, 5))
    full = model(input_ids=ids).logits
    assert full.abs().max() > 0.09, "the cap has no effect, so this test proves nothing"
    with answer_positions(model, torch.tensor([1, 0]), torch.tensor([4, 2])):
        chosen = model(input_ids=ids).logits
    torch.testing.assert_close(chosen, full[[1, 0], [4, 2]], rtol=0, atol=1e-6)


def test_model_without_output_layer(tiny_model):
    with pytest.raises(ModelError, match="LlamaModel has no output layer that transformers can name"):
        output_layer(tiny_model.model)
