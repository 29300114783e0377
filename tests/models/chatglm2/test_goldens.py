"""ChatGLM2 compared with recorded outputs of the published implementation (tiny_goldens.json)."""

from pathlib import Path

import pytest
import torch

from papertune.methods import checkpoint_activations, load_adapter

LOGITS = {"atol": 2e-4, "rtol": 1e-4}
LOSS = {"atol": 1e-5, "rtol": 0}
GRADIENTS = {"atol": 2e-5, "rtol": 1e-3}
HERE = Path(__file__).parent


def assert_close(found, expected, tolerance):
    torch.testing.assert_close(found.detach(), expected, **tolerance)


@pytest.fixture(params=["sdpa", "eager"])
def model(request, own_golden_model):
    own_golden_model.set_attn_implementation(request.param)
    return own_golden_model


@pytest.fixture
def case(goldens):
    """A function that returns the tensors of a case."""

    def tensors(name):
        start = f"{name}."
        return {key.removeprefix(start): tensor for key, tensor in goldens.items() if key.startswith(start)}

    return tensors


def batch_of(golden, prefix=""):
    names = ("input_ids", "attention_mask", "position_ids")
    return {name: golden[prefix + name] for name in names if prefix + name in golden}


def real(tensor, mask):
    """Return the rows of a tensor at real tokens."""
    return tensor[mask.bool()]


@pytest.mark.parametrize("name", ["a", "a1", "a_long", "a_pos"])
def test_single_sequences(model, case, name):
    golden = case(name)
    for use_cache in (True, False):
        output = model(**batch_of(golden), use_cache=use_cache)
        assert_close(output.logits, golden["logits"], LOGITS)


def test_positions_change_the_logits(model, case):
    golden = case("a_pos")
    assert (model(input_ids=golden["input_ids"]).logits - golden["logits"]).abs().max() > 0.1


def test_hidden_states(model, case):
    golden = case("a")
    output = model(input_ids=golden["input_ids"], output_hidden_states=True)
    assert len(output.hidden_states) == 4
    for index, states in enumerate(output.hidden_states):
        assert_close(states, golden[f"hidden.{index}"], LOGITS)
    assert_close(model.transformer(input_ids=golden["input_ids"]).last_hidden_state, golden["final_norm"], LOGITS)


def test_left_padded_batch(model, case):
    golden = case("b")
    logits = model(**batch_of(golden)).logits
    assert logits.isfinite().all()
    assert_close(real(logits, golden["attention_mask"]), real(golden["logits"], golden["attention_mask"]), LOGITS)


def test_cached_decoding(model, case):
    golden = case("c")
    prefill = model(input_ids=golden["input_ids"], use_cache=True)
    assert_close(prefill.logits, golden["prefill_logits"], LOGITS)
    cache = prefill.past_key_values
    assert len(cache.layers) == 3
    for index, layer in enumerate(cache.layers):
        assert_close(layer.keys, golden[f"cache_k.{index}"], LOGITS)
        assert_close(layer.values, golden[f"cache_v.{index}"], LOGITS)
    steps = [
        model(input_ids=token[None, None], past_key_values=cache, use_cache=True).logits
        for token in golden["step_tokens"][0]
    ]
    assert_close(torch.cat(steps, dim=1), golden["step_logits"], LOGITS)
    assert cache.get_seq_length() == 19


def test_several_tokens_after_a_cache(model, case):
    golden = case("c")
    cache = model(input_ids=golden["input_ids"], use_cache=True).past_key_values
    output = model(input_ids=golden["step_tokens"][:, :4], past_key_values=cache, use_cache=True)
    assert_close(output.logits, golden["chunk_logits"], LOGITS)


def generated(model, golden, prefix="", **options):
    output = model.generate(
        **batch_of(golden, prefix),
        do_sample=False,
        max_new_tokens=20,
        output_logits=True,
        return_dict_in_generate=True,
        **options,
    )
    return output.sequences, torch.stack(output.logits, dim=1)


def test_greedy_generation(model, case):
    golden = case("c")
    golden["attention_mask"] = torch.ones_like(golden["input_ids"])
    ids, logits = generated(model, golden, eos_token_id=None)
    assert torch.equal(ids, golden["greedy_ids"])
    assert_close(logits, golden["greedy_scores"], LOGITS)


@pytest.mark.parametrize("positions", [True, False], ids=["positions", "mask alone"])
def test_greedy_generation_of_a_batch(model, case, positions):
    golden = case("c")
    if not positions:
        del golden["batch_position_ids"]
    ids, logits = generated(model, golden, "batch_", eos_token_id=None)
    assert torch.equal(ids, golden["batch_greedy_ids"])
    assert_close(logits, golden["batch_greedy_scores"], LOGITS)
    ids, _ = generated(model, golden, "batch_", eos_token_id=int(golden["eos_id"]))
    assert torch.equal(ids, golden["batch_greedy_ids_eos"])


def assert_gradients(model, golden, *, count):
    gradients = {key.removeprefix("grad."): tensor for key, tensor in golden.items() if key.startswith("grad.")}
    assert len(gradients) == count
    for name, expected in gradients.items():
        assert expected.abs().max() > 0
        assert_close(model.get_parameter(name).grad, expected, GRADIENTS)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("name", "count"), [("d1", 2), ("d2", 24)])
def test_losses_and_gradients(model, case, name, count, checkpointing):
    golden = case(name)
    model.train()
    if checkpointing:
        checkpoint_activations(model)
    output = model(input_ids=golden["input_ids"], labels=golden["labels"], use_cache=False)
    assert_close(output.loss, golden["loss"], LOSS)
    if name == "d2":
        assert_close(output.logits, golden["logits"], LOGITS)
        assert count == len(list(model.parameters()))
    output.loss.backward()
    assert_gradients(model, golden, count=count)


def test_loss_of_a_left_padded_batch(model, case):
    batch, golden = batch_of(case("d3")), case("d4")
    loss = model(**batch, labels=golden["labels"]).loss
    assert_close(loss, golden["loss"], LOSS)
    loss.backward()
    assert_gradients(model, golden, count=2)


class TestLora:
    """An adapter with the files that the original training writes."""

    @pytest.fixture
    def adapted(self, model):
        return load_adapter(model, HERE / "lora_adapter").eval()

    def test_logits(self, adapted, case):
        golden = case("f")
        assert_close(adapted(input_ids=golden["input_ids"]).logits, golden["logits"], LOGITS)
        batch = batch_of(case("b"))
        mask = batch["attention_mask"]
        assert_close(real(adapted(**batch).logits, mask), real(golden["batch_logits"], mask), LOGITS)

    def test_adapter_changes_the_logits(self, adapted, case):
        with adapted.disable_adapter():
            logits = adapted(input_ids=case("f")["input_ids"]).logits
        assert (logits - case("f")["logits"]).abs().max() > 0.1

    def test_logits_of_the_merged_model(self, adapted, case):
        golden = case("f")
        merged = adapted.merge_and_unload()
        assert_close(merged(input_ids=golden["input_ids"]).logits, golden["logits"], LOGITS)

    def test_loss_and_gradients(self, model, case):
        golden, batch = case("f"), case("d2")
        adapted = load_adapter(model, HERE / "lora_adapter", trainable=True).eval()
        loss = adapted(input_ids=batch["input_ids"], labels=batch["labels"]).loss
        assert_close(loss, golden["loss"], LOSS)
        loss.backward()
        names = {
            key.replace(".weight", ".default.weight"): tensor
            for key, tensor in golden.items()
            if key.startswith("grad.")
        }
        assert_gradients(adapted, names, count=6)

    def test_greedy_generation(self, adapted, case):
        golden = case("f")
        inputs = {"input_ids": golden["gen_input_ids"], "attention_mask": torch.ones_like(golden["gen_input_ids"])}
        output = adapted.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
        )
        assert torch.equal(output.sequences, golden["greedy_ids"])
        assert_close(torch.stack(output.logits, dim=1), golden["greedy_scores"], LOGITS)


# In half precision two implementations agree only roughly; test_rotary.py compares the rotary table exactly.
@pytest.mark.parametrize(("dtype", "key", "mean"), [(torch.float16, "fp16", 0.01), (torch.bfloat16, "bf16", 0.06)])
@pytest.mark.parametrize("original_table", [False, True])
def test_half_precision(own_golden_model, goldens, dtype, key, mean, original_table):
    own_golden_model.config.rotary_in_weight_dtype = original_table
    model = own_golden_model.to(dtype)
    logits = model(input_ids=goldens["a_long.input_ids"]).logits
    assert logits.dtype == dtype
    assert (logits.float() - goldens[f"h.{key}_logits"]).abs().mean() < mean
    assert (logits.float() - goldens["a_long.logits"]).abs().mean() < mean
