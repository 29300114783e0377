import copy
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from papertune.errors import ModelError
from papertune.methods import build_trainable
from papertune.methods.merged_products import merged_products
from papertune.models import answer_positions, find_config
from papertune.recipe import FreezeMethod, FullMethod, LoraMethod, PtuningV2Method
from papertune.training.memory import BatchShape, training_memory

pytestmark = pytest.mark.slow

SHAPE = BatchShape(rows=2, seq=64, answer_tokens=3)
FULL, LORA = FullMethod(kind="full"), LoraMethod(rank=4)


def config(**changes):
    numbers = {
        "vocab_size": 400,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    }
    return LlamaConfig(**{**numbers, **changes})


def memory(method=LORA, shape=SHAPE, model=None, dtype=torch.float32, **options):
    (found,) = training_memory(model or config(), method, [shape], dtype=dtype, **options)
    return found


def saved_bytes(model, shape):
    """Run a real model on a CPU and return the bytes that autograd keeps for the backward pass, without weights."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    rows = torch.arange(shape.rows).repeat_interleave(shape.answer_tokens)
    columns = torch.arange(shape.seq - shape.answer_tokens, shape.seq).repeat(shape.rows)
    ids = torch.zeros(shape.rows, shape.seq, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), answer_positions(model, rows, columns):
        output = model(input_ids=ids, use_cache=False)
    assert output.logits.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize(
    ("name", "count"),
    [("THUDM/chatglm2-6b", 6_243_584_000), ("zai-org/chatglm2-6b", 6_243_584_000), ("smollm2-135m", 134_515_008)],
)
def test_parameters_are_counted_exactly(name, count):
    found = memory(FreezeMethod(kind="freeze", layers=1), BatchShape(1, 8, 1), find_config(name), torch.bfloat16)
    assert found.parameters == count


def test_weights_by_hand():
    embedding, layer = 400 * 64, 4 * 64 * 64 + 3 * 64 * 96 + 2 * 64
    parameters = 2 * embedding + 3 * layer + 64
    rotary = 8 * 4  # a buffer of frequencies, twice
    full = memory(FULL)
    assert (full.parameters, full.trainable) == (parameters, parameters)
    assert full.weights == 4 * parameters + 2 * rotary
    assert (full.gradients, full.optimizer) == (4 * parameters, 8 * parameters)
    adapter = 3 * 4 * (4 * (64 + 64) + 3 * (64 + 96))
    lora = memory(dtype=torch.bfloat16)
    assert (lora.parameters, lora.trainable) == (parameters, adapter)
    assert lora.weights == 2 * parameters + 4 * adapter + 2 * rotary
    assert (lora.gradients, lora.optimizer) == (4 * adapter, 8 * adapter)
    linear = 3 * (layer - 2 * 64)
    four = memory(LoraMethod(rank=4, base_bits=4), dtype=torch.bfloat16)
    assert lora.weights - four.weights == pytest.approx(linear * (2 - 1 / 2 - 1 / 64 - 1 / 64 / 64), abs=21)
    eight = memory(LoraMethod(rank=4, base_bits=8), dtype=torch.bfloat16)
    scales = 3 * 4 * (4 * 64 + 2 * 96 + 64)
    assert lora.weights - eight.weights == linear - scales
    assert (four.parameters, four.trainable) == (eight.parameters, eight.trainable) == (parameters, adapter)


@pytest.mark.parametrize("method", [FULL, LORA, LoraMethod(rank=2, targets=("q_proj",)), LoraMethod(rank=2, dora=True)])
@pytest.mark.parametrize("changes", [{"num_hidden_layers": 8}, {"num_hidden_layers": 9, "intermediate_size": 256}])
def test_activations_are_those_that_a_real_model_keeps(method, changes):
    shape = BatchShape(rows=4, seq=96, answer_tokens=2)
    real = build_trainable(LlamaForCausalLM(config(**changes)), method, seed=0).train()
    with merged_products(real, torch.float32):
        kept = saved_bytes(real, shape)
    found = memory(method, shape, config(**changes), accumulation=2)
    # Gradients exist from the start, so only results that are being computed come on top.
    assert 0.97 * kept < found.activations < 1.15 * kept


def test_gradient_checkpointing_keeps_one_layer_and_the_inputs_of_all():
    deep = config(num_hidden_layers=12)
    shape = BatchShape(rows=4, seq=128, answer_tokens=2)
    plain, frugal = (memory(LORA, shape, deep, gradient_checkpointing=on) for on in (False, True))
    inputs = 12 * 4 * 128 * 64 * 4
    assert inputs < frugal.activations < inputs + plain.activations / 12 * 2.5
    assert (plain.weights, plain.gradients) == (frugal.weights, frugal.gradients)


PREFIXES = [PtuningV2Method(kind="ptuning_v2", projection=projection) for projection in (False, True)]


@pytest.mark.parametrize("method", [LORA, LoraMethod(rank=4, base_bits=8), *PREFIXES])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_grow_with_the_rows(method, checkpointing):
    shapes = [BatchShape(rows, 64, 2) for rows in (4, 8, 12)]
    found = training_memory(config(), method, shapes, dtype=torch.bfloat16, gradient_checkpointing=checkpointing)
    one, two, three = (each.activations for each in found)
    assert two - one == pytest.approx(three - two, rel=0.01)
    assert two - one > 4 * 64 * 64 * 2


def test_logits_are_counted_at_answers_only():
    wide = config(vocab_size=30_000)
    few, many = (memory(LORA, BatchShape(2, 64, tokens), wide) for tokens in (2, 32))
    positions = 2 * (32 - 2) * 30_000 * 4
    assert 2 * positions < many.activations - few.activations < 5 * positions


def test_4_bits_add_an_unpacked_weight_and_8_bits_also_the_inputs():
    one_target = {"rank": 4, "targets": ("q_proj",)}
    plain, four, eight = (
        memory(LoraMethod(**one_target, base_bits=bits), dtype=torch.bfloat16) for bits in (None, 4, 8)
    )
    assert plain.activations <= four.activations <= plain.activations + 64 * 96 * 2
    # Nothing else keeps the input of an MLP's last layer, which has no adapter.
    assert eight.activations - plain.activations > 3 * 2 * 64 * 96 * 2


def test_with_accumulation_gradients_are_alive_during_the_whole_step():
    alone, together = (memory(FULL, BatchShape(2, 512, 2), accumulation=count) for count in (1, 4))
    assert alone.total < together.total <= alone.total + alone.gradients


def test_a_tree_adds_a_mask_in_each_layer():
    plain = memory(shape=SHAPE)
    tree = memory(shape=replace(SHAPE, is_tree=True))
    assert tree.activations - plain.activations >= 3 * 2 * 64 * 64 * 4
    grouped = config(num_key_value_heads=1)
    assert memory(model=grouped, shape=replace(SHAPE, is_tree=True)).activations > memory(model=grouped).activations


def test_models_with_unfused_attention_keep_the_scores():
    eager = config()
    eager._attn_implementation = "eager"
    shape = BatchShape(2, 256, 2)
    scores = 2 * 4 * 256 * 256 * 4
    assert memory(shape=shape, model=eager).activations > memory(shape=shape).activations + 3 * scores


def test_the_configuration_is_not_changed():
    mine = config()
    before = copy.deepcopy(mine.to_dict())
    memory(model=mine)
    assert mine.to_dict() == before
    assert mine._attn_implementation != "papertune_tally"


def test_a_model_that_reads_data_cannot_be_computed(monkeypatch):
    def forward(self, *_, **__):
        raise RuntimeError("Tensor.item() cannot be called on meta tensors\nmore")

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    with pytest.raises(ModelError) as caught:
        memory()
    assert str(caught.value) == (
        "LlamaConfig: the memory of this model cannot be computed without its weights (Tensor.item() cannot be called "
        "on meta tensors). Measure it: train a few steps with --set training.max_steps=3."
    )


def test_other_runtime_errors_of_the_model_are_raised_unchanged(monkeypatch):
    def forward(self, *_, **__):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        memory()


def test_targets_that_the_model_lacks_are_an_error():
    with pytest.raises(ModelError, match=r"^method\.targets names query_key_value, but the model has no such"):
        memory(LoraMethod(targets=("query_key_value",)))
