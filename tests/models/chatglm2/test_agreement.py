"""Computations with ChatGLM2 that must have the same result."""

import copy

import pytest
import torch
from accelerate import cpu_offload
from accelerate.utils import infer_auto_device_map
from transformers import StaticCache

from papertune.methods import checkpoint_activations
from papertune.models import answer_positions
from papertune.models.chatglm2 import layers
from papertune.models.chatglm2.layers import ChatGLMAttention, GLMBlock, eager_attention

TOLERANCE = {"rtol": 0, "atol": 5e-5}  # float32, logits of size 10
ROWS = [[7, 300, 12], [401, 5, 5, 80, 31, 2, 9, 44, 8], [3], [250, 17, 61, 90, 400, 6]]
CONFIGS = {"multi-query": {}, "multi-head": {"multi_query_attention": False}}


@pytest.fixture(params=CONFIGS)
def make(request, make_chatglm2):
    return lambda **changes: make_chatglm2(**CONFIGS[request.param], **changes)


@pytest.fixture(params=["sdpa", "eager"])
def model(request, make):
    return make(attention=request.param)


def alone(model, row):
    """Return the logits of a single row without a cache, shape (seq, vocab)."""
    return model(input_ids=torch.tensor([row]), use_cache=False).logits[0]


def padded(rows, side, pad=0):
    width = max(map(len, rows))
    pads = [[pad] * (width - len(row)) for row in rows]
    lines = zip(rows, pads, strict=True)
    ids = torch.tensor([gap + row if side == "left" else row + gap for row, gap in lines])
    lines = zip(rows, pads, strict=True)
    mask = torch.tensor(
        [[0] * len(gap) + [1] * len(row) if side == "left" else [1] * len(row) + [0] * len(gap) for row, gap in lines]
    )
    return ids, mask, (mask.cumsum(dim=-1) - 1).clamp(min=0)


def assert_close(found, expected):
    torch.testing.assert_close(found.detach(), expected.detach(), **TOLERANCE)


@pytest.mark.parametrize("pad", [0, 77])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_logits(model, side, pad):
    ids, mask, positions = padded(ROWS, side, pad)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    assert logits.isfinite().all()
    for index, row in enumerate(ROWS):
        assert_close(logits[index, mask[index].bool()], alone(model, row))


def test_right_padding_needs_no_mask(model):
    ids, mask, _ = padded(ROWS, "right")
    logits = model(input_ids=ids).logits
    for index, row in enumerate(ROWS):
        assert_close(logits[index, mask[index].bool()], alone(model, row))


@pytest.mark.parametrize("chunks", [[9], [1] * 9, [4, 5], [1, 3, 1, 4]])
def test_logits_with_a_cache(model, chunks):
    row = ROWS[1]
    cache, pieces, start = None, [], 0
    for size in chunks:
        ids = torch.tensor([row[start : start + size]])
        output = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache, start = output.past_key_values, start + size
        pieces.append(output.logits[0])
    assert_close(torch.cat(pieces), alone(model, row))


def test_several_tokens_after_a_padded_cache(model):
    """Left-padded prompts, then three more tokens of each row at once, then one."""
    more = [[9, 10, 11, 12], [20, 21, 22, 23], [30, 31, 32, 33], [40, 41, 42, 43]]
    ids, mask, positions = padded(ROWS, "left")
    cache = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True).past_key_values
    lengths = mask.sum(dim=-1, keepdim=True)
    found = []
    for start, stop in ((0, 3), (3, 4)):
        mask = torch.cat([mask, mask.new_ones(len(ROWS), stop - start)], dim=-1)
        output = model(
            input_ids=torch.tensor(more)[:, start:stop],
            attention_mask=mask,
            position_ids=lengths + torch.arange(start, stop),
            past_key_values=cache,
            use_cache=True,
        )
        found.append(output.logits)
    for index, row in enumerate(ROWS):
        assert_close(torch.cat(found, dim=1)[index], alone(model, row + more[index])[len(row) :])


def test_generation_with_a_static_cache(model):
    ids, mask, positions = padded(ROWS, "left")
    options = {"attention_mask": mask, "position_ids": positions, "do_sample": False, "max_new_tokens": 6}
    expected = model.generate(ids, **options)
    cache = StaticCache(config=model.config, max_cache_len=32)
    assert torch.equal(model.generate(ids, past_key_values=cache, **options), expected)


def test_generation_of_a_batch_equals_that_of_its_rows(model):
    ids, mask, _ = padded(ROWS, "left")
    options = {"do_sample": False, "max_new_tokens": 8, "eos_token_id": None}
    batch = model.generate(ids, attention_mask=mask, **options)[:, ids.shape[1] :]
    for index, row in enumerate(ROWS):
        ids = torch.tensor([row])
        single = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(row) :]
        assert torch.equal(batch[index], single)
    ids = torch.tensor([ROWS[1]])
    uncached = model.generate(ids, attention_mask=torch.ones_like(ids), use_cache=False, **options)[0, len(ROWS[1]) :]
    assert torch.equal(batch[1], uncached)


def test_attention_functions_agree(make):
    """They differ at padding tokens, whose logits have no meaning."""
    ids, mask, positions = padded(ROWS, "left")
    outputs = {
        name: make(attention=name)(input_ids=ids, attention_mask=mask, position_ids=positions).logits
        for name in ("sdpa", "eager")
    }
    assert_close(outputs["sdpa"][mask.bool()], outputs["eager"][mask.bool()])


def test_attention_weights(make):
    model = make(attention="eager")
    weights = model(input_ids=torch.tensor([ROWS[1]]), output_attentions=True).attentions
    assert [tuple(layer.shape) for layer in weights] == [(1, 4, 9, 9)] * 2
    assert_close(weights[0].sum(dim=-1), torch.ones(1, 4, 9))
    assert weights[0].triu(diagonal=1).abs().max() == 0


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_makes_no_nan_in_float16(make, attention):
    """All scores are far below zero, and the mask's number is the minimum of float16."""
    model = make(attention=attention)
    with torch.no_grad():
        for block in model.transformer.encoder.layers:
            bias = block.self_attention.query_key_value.bias
            if model.config.multi_query_attention:  # a number that is not rotated: 20 in queries, -20 in keys
                bias[4:32:8], bias[36:48:8] = 20, -20
            else:
                bias[4::24], bias[12::24] = 20, -20
    ids, mask, positions = padded(ROWS, "left")
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    exact = model(**inputs).logits[mask.bool()]
    found = model.half()(**inputs).logits[mask.bool()].float()
    assert found.isfinite().all()
    assert (found - exact).abs().mean() < 0.3


def test_attention_functions_do_not_get_positions(make, monkeypatch):
    """Flash attention would interpret a gap as the beginning of another text."""
    options = {}
    model = make(attention="eager")
    monkeypatch.setattr(layers, "eager_attention", lambda *a, **k: options.update(k) or eager_attention(*a, **k))
    model(input_ids=torch.tensor([[5, 6, 7]]), position_ids=torch.tensor([[0, 7, 9]]))
    assert "scaling" in options
    assert "position_ids" not in options


@pytest.mark.parametrize("labels_at", [slice(None), slice(3, 5)])
def test_gradient_checkpointing(make, labels_at, monkeypatch):
    ids = torch.tensor([ROWS[1], ROWS[1][::-1]])
    labels = torch.full_like(ids, -100)
    labels[:, labels_at] = ids[:, labels_at]
    calls = []
    forward = ChatGLMAttention.forward
    monkeypatch.setattr(ChatGLMAttention, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    gradients, losses, counts = [], [], []
    for checkpointing in (False, True):
        model = make(hidden_dropout=0.0).train()
        if checkpointing:
            checkpoint_activations(model)
        calls.clear()
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        losses.append(loss)
        counts.append(len(calls))
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert counts == [2, 4], "with checkpointing each layer is computed twice"
    assert_close(*losses)
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0
        assert_close(gradients[1][name], gradient)


def test_logits_of_some_tokens(model):
    ids = torch.tensor([ROWS[1], ROWS[1][::-1]])
    full = model(input_ids=ids).logits
    assert torch.equal(model(input_ids=ids, logits_to_keep=2).logits, full[:, -2:])
    assert torch.equal(model(input_ids=ids, logits_to_keep=torch.tensor([1, 4])).logits, full[:, [1, 4]])
    rows, columns = torch.tensor([1, 0, 1]), torch.tensor([0, 3, 8])
    with answer_positions(model, rows, columns):
        found = model(input_ids=ids).logits
    assert_close(found, full[rows, columns])


def test_embeddings_instead_of_ids(model):
    ids = torch.tensor([ROWS[1]])
    embedded = model.get_input_embeddings()(ids)
    assert torch.equal(model(inputs_embeds=embedded).logits, model(input_ids=ids).logits)
    for inputs in ({}, {"input_ids": ids, "inputs_embeds": embedded}):
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
            model(**inputs)


def test_loss_is_that_of_the_next_token(model):
    ids = torch.tensor([ROWS[1], ROWS[1][::-1]])
    labels = ids.clone()
    labels[0, :4] = -100
    output = model(input_ids=ids, labels=labels)
    logprobs = output.logits.log_softmax(dim=-1)
    losses = [-logprobs[row, i - 1, ids[row, i]] for row in (0, 1) for i in range(4 if row == 0 else 1, 9)]
    assert_close(output.loss, torch.stack(losses).mean())
    # The trainer passes the number of labels of all micro-batches.
    assert_close(model(input_ids=ids, labels=labels, num_items_in_batch=26).loss, torch.stack(losses).sum() / 26)


def test_dropout_is_used_in_training_only(make):
    ids = torch.tensor([ROWS[1]])
    for name in ("hidden_dropout", "attention_dropout"):
        model = make(**{name: 0.5})
        assert torch.equal(alone(model, ROWS[1]), alone(make(), ROWS[1]))
        model.train()
        assert not torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_outputs_keep_half_precision(make, dtype):
    model = make().to(dtype)
    output = model(input_ids=torch.tensor([ROWS[1]]), use_cache=True, output_hidden_states=True)
    assert {output.logits.dtype, *(states.dtype for states in output.hidden_states)} == {dtype}
    assert {layer.keys.dtype for layer in output.past_key_values.layers} == {dtype}
    assert (output.logits[0].float() - alone(make(), ROWS[1])).abs().mean() < 0.3


def test_norms_of_large_numbers(make):
    """Sums of squares of 300 overflow float16."""
    model = make().half()
    norm = model.transformer.encoder.layers[0].input_layernorm
    states = torch.tensor([[300.0, -300.0] * 16]).half()
    expected = norm.weight.float() * states.float().sign()
    torch.testing.assert_close(norm(states), expected.half(), rtol=0, atol=0)


def test_norms_are_rounded_once(make):
    """After the multiplication with the weight, not before it as in Llama."""
    norm = make(hidden_size=40).half().transformer.encoder.layers[0].input_layernorm
    states = torch.randn(500, 40).half()
    exact = states.double()
    exact = exact / (exact.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * norm.weight.double()
    assert ((norm(states) - exact).abs() > 0.501 * 2**-10 * exact.abs()).float().mean() < 1e-3


@pytest.mark.slow
def test_compiled_model(make):
    """It is traced into one graph; the backend "eager" traces without compiling."""
    model = make()
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="eager")
    ids, mask, positions = padded(ROWS, "left")
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "use_cache": False}
    with torch.no_grad():
        assert_close(compiled(**inputs).logits[mask.bool()], model(**inputs).logits[mask.bool()])
    torch.compiler.reset()


def test_layers_are_not_split_between_devices(make):
    """A device map has no weights of a single block."""
    model = make(num_layers=4)
    block = sum(weight.numel() * 4 for weight in model.transformer.encoder.layers[0].parameters())
    rest = sum(weight.numel() * 4 for weight in model.parameters()) - 4 * block
    room = {0: rest + int(1.5 * block), "cpu": 10**9}
    found = infer_auto_device_map(model, max_memory=room, no_split_module_classes=model._no_split_modules)
    assert set(found.values()) == {0, "cpu"}
    for module, parts in ((module, name) for name, module in model.named_modules() if isinstance(module, GLMBlock)):
        assert module is not None
        assert not any(key.startswith(f"{parts}.") for key in found)


def test_offloaded_weights(make):
    """With weights on the CPU or on disk, hooks move them to the device."""
    model = make()
    expected = alone(model, ROWS[1])
    offloaded = cpu_offload(copy.deepcopy(model), execution_device=torch.device("cpu"))
    assert {weight.device.type for weight in offloaded.parameters()} == {"meta"}
    with torch.no_grad():
        assert torch.equal(alone(offloaded, ROWS[1]), expected)
