import importlib.util
import logging
from contextlib import suppress

import pytest
import torch
from torch import nn

from papertune.errors import MissingExtraError, ModelError
from papertune.models import check_quantization, dequantized, is_quantized, load_model
from papertune.models.chatglm2 import ChatGLMConfig, ChatGLMForConditionalGeneration

IDS = torch.arange(3, 23).reshape(2, 10)
# Relative to the largest weight of a block: half of the widest gap between two of NF4's 16 levels, and 1% for the
# block's scale, which is also rounded.
NF4_ERROR = 0.305 / 2 + 0.01
# Half a step, and the rounding to float16 before it: 2^-11 of the weight.
INT8_ERROR = 0.5 / 127 + 2**-11


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits.float()


def linear_weights(model):
    return {name: m.weight for name, m in model.named_modules() if isinstance(m, nn.Linear)}


@pytest.fixture(scope="module", params=[4, 8])
def bits(request):
    return request.param


@pytest.fixture(scope="module")
def folder(bits, tiny_folder, wide_folder):
    """The folder of a tiny model; with 4 bits its matrices must be wide."""
    return wide_folder if bits == 4 else tiny_folder


@pytest.fixture(scope="module")
def full_model(folder):
    return load_model(folder, precision="fp32", device="cpu")[0]


@pytest.fixture(scope="module")
def quantized(folder, bits):
    """The tiny model with quantized weights; tests must not change it."""
    return load_model(folder, precision="fp32", device="cpu", base_bits=bits)[0]


def test_linear_layers_except_the_output_layer_are_quantized(quantized, full_model, bits):
    assert is_quantized(quantized)
    assert not is_quantized(full_model)
    full = linear_weights(full_model)
    for name, weight in linear_weights(quantized).items():
        if name == "lm_head":
            assert torch.equal(weight, full[name])
        else:
            assert weight.element_size() == 1
            assert weight.numel() * 8 == full[name].numel() * bits
            assert not weight.requires_grad
    rest = {n: p for n, p in quantized.named_parameters() if "_proj" not in n}
    assert all(torch.equal(p, full_model.get_parameter(name)) for name, p in rest.items())
    assert len(rest) == 7


def test_weights_are_rounded_to_their_levels(folder, full_model, bits):
    model = dequantized(load_model(folder, precision="fp32", device="cpu", base_bits=bits)[0])
    assert not is_quantized(model)
    full = linear_weights(full_model)
    found = {name: weight for name, weight in linear_weights(model).items() if name != "lm_head"}
    assert len(found) == 14
    for name, weight in found.items():
        assert (weight.shape, weight.dtype) == (full[name].shape, torch.float32)
        # One scale for each block of 64 weights, or for each row.
        shape = (-1, 64) if bits == 4 else weight.shape
        error, size = ((w.reshape(shape)).abs().amax(dim=1) for w in (weight - full[name], full[name]))
        assert (error <= size * (NF4_ERROR if bits == 4 else INT8_ERROR)).all()
        assert error.max() > 0
        levels = {len(row.unique()) for row in weight.reshape(shape)}
        assert max(levels) <= 2**bits


def test_logits_equal_those_of_the_dequantized_model(folder, quantized, full_model, bits):
    plain = dequantized(load_model(folder, precision="fp32", device="cpu", base_bits=bits)[0])
    # With 8 bits bitsandbytes also rounds the inputs.
    torch.testing.assert_close(logits(quantized), logits(plain), rtol=0, atol=1e-4 if bits == 4 else 0.3)
    assert (logits(plain) - logits(full_model)).abs().max() > 0.1


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_other_parameters_have_the_chosen_precision(folder, bits, precision, dtype):
    model, _ = load_model(folder, precision=precision, device="cpu", base_bits=bits)
    assert model.dtype == dtype
    assert {p.dtype for p in model.parameters() if p.is_floating_point()} == {dtype}
    with torch.no_grad():
        assert model(input_ids=IDS).logits.dtype == dtype


def test_nothing_is_logged(folder, bits, caplog):
    with caplog.at_level(logging.WARNING):
        logits(load_model(folder, precision="fp32", device="cpu", base_bits=bits)[0])
    assert caplog.messages == []


def test_weights_are_not_rearranged_on_cpus_with_bfloat16(wide_folder, monkeypatch):
    import bitsandbytes

    # Simulates such a CPU; rearranged weights would need a kernel that this CPU may not have.
    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: True)
    model, _ = load_model(wide_folder, precision="fp32", device="cpu", base_bits=4)
    fresh, _ = load_model(wide_folder, precision="fp32", device="cpu", base_bits=4)
    assert torch.equal(logits(model), logits(fresh))
    states = [m.weight.quant_state for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(states) == 14
    assert not any(getattr(state, "packing_format_for_cpu", False) for state in states)


def test_model_is_rejected_if_weights_would_be_unpacked_wrongly(wide_folder, monkeypatch):
    from bitsandbytes import functional

    unpack = functional.dequantize_4bit
    # On a CPU with AVX-512, blocks of 64 weights that continue in the next row get the scale of another block.
    monkeypatch.setattr(functional, "dequantize_4bit", lambda *args, **kwargs: unpack(*args, **kwargs).roll(1, 0))
    with pytest.raises(ModelError, match=r"base_bits = 4: .* wrong numbers on this CPU for model\.layers\.\d.*inputs"):
        load_model(wide_folder, precision="fp32", device="cpu", base_bits=4)


def test_narrow_matrices_are_correct_or_rejected(tmp_path, tiny_tokenizer, make_model):
    narrow = make_model()
    narrow.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    model = narrow
    with suppress(ModelError):
        model = dequantized(load_model(tmp_path, precision="fp32", device="cpu", base_bits=4)[0])
    for name, weight in linear_weights(model).items():
        full = linear_weights(narrow)[name]
        assert (weight - full).abs().max() <= full.abs().max() * NF4_ERROR


def test_quantized_chatglm2(tmp_path, tiny_tokenizer, bits):
    config = ChatGLMConfig(
        padded_vocab_size=len(tiny_tokenizer),
        hidden_size=64,
        ffn_hidden_size=64,
        num_layers=2,
        num_attention_heads=4,
        kv_channels=16,
        initializer_range=0.1,
    )
    full = ChatGLMForConditionalGeneration(config)
    full.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    model, _ = load_model(tmp_path, precision="fp32", device="cpu", base_bits=bits)
    small = {name.rsplit(".", 1)[-1] for name, w in linear_weights(model).items() if w.element_size() == 1}
    assert small == {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}
    difference = (logits(model) - logits(full)).abs().max()
    assert 0 < difference < 0.5 * logits(full).abs().max()


class TestWithoutThePackage:
    @pytest.fixture(autouse=True)
    def _missing(self, monkeypatch):
        find = importlib.util.find_spec
        monkeypatch.setattr(
            "papertune.models.quantization.base_bits.find_spec",
            lambda name: None if name == "bitsandbytes" else find(name),
        )

    def test_message_has_the_install_command(self, tiny_folder):
        with pytest.raises(MissingExtraError) as caught:
            load_model(tiny_folder, base_bits=4)
        assert str(caught.value) == (
            "method.base_bits = 4 needs bitsandbytes, which is not installed: pip install 'papertune[quantized]'"
        )

    def test_unquantized_models_do_not_need_it(self, tiny_folder):
        check_quantization(None)
        load_model(tiny_folder, precision="fp32", device="cpu")
