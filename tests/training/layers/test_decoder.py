import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from papertune.methods import FreezeMethod, FullMethod, LoraMethod, build_trainable, checkpoint_activations
from papertune.models import AttentionMasks, answer_positions
from papertune.training.answers.batch import Question, TrainingRow, collate, tree_inputs
from papertune.training.layers import attention
from papertune.training.layers.decoder import is_covered, own_decoder

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
CHAINED = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 1e4}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama, biases, long heads": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES | {"attention_bias": True, "mlp_bias": True, "head_dim": 12, "tie_word_embeddings": True})
    ),
    "llama 3": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SIZES, rope_parameters={**CHAINED, "original_max_position_embeddings": 8}, max_position_embeddings=32
        )
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES | {"num_key_value_heads": 1})),
}
# Rows of several lengths, one of them over several blocks of queries; and rows whose answers share a document.
BATCHES = {
    "rows": [TrainingRow([*range(3, 20)], [Question([[7, 8]])]), TrainingRow([9, 8, 7], [Question([[5]])])],
    "trees": [
        TrainingRow([*range(3, 12)], [Question([[7, 8, 2], [9, 2], [2]], ids=[8, 9]), Question([[4, 6]], ids=[4])]),
        TrainingRow([6] * 8, [Question([[1, 2], [4, 9]])]),
    ],
}
METHODS = {
    "all": LoraMethod(rank=3, alpha=5),
    "last": LoraMethod(rank=2, layers=1, rslora=True),
    "some": LoraMethod(rank=4, targets=("v_proj", "up_proj", "o_proj")),
}


def trained_model(make, method, dtype=torch.float32):
    """Return a model with adapters that are not zero, and with norms and biases that are not the first ones."""
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter += 0.3 * torch.randn(parameter.shape)
    model = build_trainable(model.to(dtype).eval(), method, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape))
    return model


def loss_of(logits):
    return (logits.float() * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum()


def autograd_pass(model, batch):
    """Return logits and gradients as transformers, peft and autograd compute them."""
    with answer_positions(model, batch["rows"], batch["columns"]):
        logits = model(input_ids=batch["input_ids"], **tree_inputs(AttentionMasks(model), batch)).logits
    model.zero_grad()
    loss_of(logits).backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def own_pass(model, batch):
    positions = batch.get("position_ids", torch.arange(batch["input_ids"].shape[1])[None])
    first = int(batch["columns"].min())
    with own_decoder(model, model.dtype) as decoder:
        decoder.read_adapters()
        below = decoder.states_below(batch["input_ids"], positions, batch.get("visible"))
        states, done = decoder.forward(below, positions, batch.get("visible"), first)
        logits = decoder.logits(states.requires_grad_())[batch["rows"], batch["columns"] - first]
        (gradient,) = torch.autograd.grad(loss_of(logits), states)
        model.zero_grad()
        decoder.add_gradients([decoder.backward(gradient, done)])
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", ["rows", "trees"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_those_of_autograd(name, method, kind, monkeypatch):
    monkeypatch.setattr(attention, "_BLOCK", 5)
    model, batch = trained_model(MODELS[name], METHODS[method]), collate(BATCHES[kind], pad_id=0)
    expected_logits, expected = autograd_pass(model, batch)
    logits, gradients = own_pass(model, batch)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-5, atol=1e-5 * float(expected_logits.abs().max()))
    assert gradients.keys() == expected.keys()
    for each, gradient in expected.items():
        assert gradient.any()
        assert gradients[each].is_contiguous()  # as fused optimizers want it
        torch.testing.assert_close(gradients[each], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("kind", BATCHES)
def test_bfloat16_is_as_near_to_float32_as_autograd_in_bfloat16(kind):
    batch = collate(BATCHES[kind], pad_id=0)
    _, exact = autograd_pass(trained_model(MODELS["llama"], METHODS["all"], torch.bfloat16).float(), batch)
    model = trained_model(MODELS["llama"], METHODS["all"], torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        _, slow = autograd_pass(model, batch)
    _, fast = own_pass(model, batch)

    def distance(gradients):
        return sum((gradients[name] - exact[name]).square().sum().item() for name in exact) ** 0.5

    assert distance(fast) < 0.1 * distance({name: torch.zeros(()) for name in exact})
    assert distance(fast) < 1.2 * distance(slow)


def test_weights_belong_to_their_layers_again_afterwards(own_tiny_model):
    model = build_trainable(own_tiny_model, LoraMethod(), seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with own_decoder(model, torch.float32) as decoder:
        assert decoder is not None
        attention_layer = model.get_base_model().model.layers[0].self_attn
        q, k = attention_layer.q_proj.base_layer.weight, attention_layer.k_proj.base_layer.weight
        assert q.untyped_storage().data_ptr() == k.untyped_storage().data_ptr()
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name])
    pointers = [weight.untyped_storage().data_ptr() for weight in model.parameters()]
    assert len(pointers) == len(set(pointers))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    "method", [LoraMethod(dropout=0.1), LoraMethod(dora=True), FullMethod(kind="full"), FreezeMethod(kind="freeze")]
)
def test_other_methods_are_left_to_autograd(own_tiny_model, method):
    with own_decoder(build_trainable(own_tiny_model, method, seed=0), torch.float32) as decoder:
        assert decoder is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_another_precision_than_products_are_left_to_autograd(own_tiny_model, dtype):
    with own_decoder(build_trainable(own_tiny_model, LoraMethod(), seed=0), dtype) as decoder:
        assert decoder is None


def test_recomputed_activations_are_left_to_autograd(own_tiny_model):
    model = build_trainable(own_tiny_model, LoraMethod(), seed=0)
    checkpoint_activations(model)
    with own_decoder(model, torch.float32) as decoder:
        assert decoder is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)),
        lambda: LlamaForCausalLM(LlamaConfig(**SIZES, hidden_act="gelu")),
        lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_dropout=0.1)),
        lambda: LlamaForCausalLM(
            LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4})
        ),
        lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
    ],
)
def test_other_models_are_left_to_autograd(make):
    assert not is_covered(build_trainable(make(), LoraMethod(), seed=0).get_base_model(), torch.float32)
