"""A prefix that begins as a text: before training the model answers as if it read that text before the prompt."""

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from test_prefix import DROPPED, IDS, LONG, ORDINARY, PLAIN, PROJECTED, TOLERANCE, logits, make, save, trainable_of

from papertune.methods import LoraMethod, build_trainable, checkpoint_activations, load_adapter, prefix_of
from papertune.methods.prefix.text_start import TextPrefixEncoder
from papertune.methods.ptuning_v2 import PtuningV2Method

TEXT = [7, 50, 9]
FIVE = [7, 50, 9, 7, 50]  # what fits into a prefix of five
RANDOM = PLAIN.model_copy(update={"init": "random"})


def nudge(model):
    """Change all trainable parameters, as a training does."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in trainable_of(model).values():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    return model


@pytest.mark.parametrize("method", [PLAIN, PROJECTED], ids=["plain", "projected"])
@pytest.mark.parametrize("name", [*ORDINARY, "text first"])
def test_an_untrained_prefix_answers_like_the_text_before_the_prompt(name, method):
    read = torch.cat([torch.tensor([FIVE, FIVE]), IDS], dim=1)
    model = build_trainable(make(name), method, seed=0, text=TEXT)
    torch.testing.assert_close(logits(model), logits(make(name), read)[:, 5:], **TOLERANCE)


@pytest.mark.parametrize("name", ["llama", "text first"])
def test_a_long_text_is_cut_to_the_length_of_the_prefix(name):
    model = build_trainable(make(name), PLAIN, seed=0, text=[*FIVE, 11, 12])
    same = build_trainable(make(name), PLAIN, seed=0, text=FIVE)
    torch.testing.assert_close(prefix_of(model).keys, prefix_of(same).keys, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mistral", "gemma"])
def test_layers_with_a_window_keep_a_text_that_is_longer_than_it(name):
    read = torch.cat([torch.tensor([[*TEXT, *TEXT, *TEXT, 7, 50]] * 2), IDS], dim=1)
    model = build_trainable(make(name), LONG, seed=0, text=TEXT)
    torch.testing.assert_close(logits(model), logits(make(name), read)[:, 11:], **TOLERANCE)


def test_the_prefix_of_a_bfloat16_model_is_computed_in_bfloat16_and_kept_in_float32():
    model = build_trainable(make("llama").bfloat16(), PLAIN, seed=0, text=TEXT)
    exact = prefix_of(build_trainable(make("llama"), PLAIN, seed=0, text=TEXT))
    keys = prefix_of(model).keys
    assert keys.dtype == torch.float32
    torch.testing.assert_close(keys, keys.bfloat16().float(), rtol=0, atol=0)
    torch.testing.assert_close(keys, exact.keys, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("method", "text"), [(RANDOM, TEXT), (PLAIN, [])], ids=["random", "no text"])
def test_without_a_text_the_prefix_begins_with_random_numbers(method, text):
    model = build_trainable(make("llama"), method, seed=0, text=text)
    torch.manual_seed(0)
    expected = torch.nn.Embedding(5, 64).weight
    torch.testing.assert_close(model.prompt_encoder["default"].embedding.weight, expected, rtol=0, atol=0)
    assert not isinstance(model.prompt_encoder["default"], TextPrefixEncoder)


def test_a_method_without_a_prefix_ignores_the_text():
    model = build_trainable(make("llama"), LoraMethod(), seed=0, text=TEXT)
    torch.testing.assert_close(logits(model), logits(make("llama")), rtol=0, atol=0)


@pytest.mark.parametrize("method", [PLAIN, PROJECTED], ids=["plain", "projected"])
def test_what_is_learned_is_in_units_of_the_text_layer_by_layer(method):
    model = build_trainable(make("llama"), method, seed=0, text=TEXT)
    before = prefix_of(model)
    encoder = model.prompt_encoder["default"]
    with torch.no_grad():
        if method.projection:
            encoder.transform[-1].bias.fill_(0.5 * 32 / 50)  # divided by the hidden size
        else:
            encoder.embedding.weight.fill_(0.5 / 50)
    after = prefix_of(model)
    for start, end in ((before.keys, after.keys), (before.values, after.values)):
        for layer in range(2):
            size = start[layer].square().mean().sqrt()
            expected = start[layer] + 0.5 * size
            torch.testing.assert_close(end[layer], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", [PLAIN, PROJECTED], ids=["plain", "projected"])
def test_every_part_is_trained_after_the_first_step(method):
    model = build_trainable(make("llama"), method, seed=0, text=TEXT).train()
    optimizer = torch.optim.AdamW(trainable_of(model).values(), lr=1e-3, weight_decay=0.0)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    assert all(p.grad.any() and p.dtype == torch.float32 for p in trainable_of(model).values())
    assert all("prompt_encoder" in name for name in trainable_of(model))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's own call
@pytest.mark.parametrize("method", [PLAIN, PROJECTED, LONG], ids=["plain", "projected", "long"])
@pytest.mark.parametrize("name", ORDINARY)
def test_the_saved_prefix_gives_the_same_logits_in_peft(name, method, tmp_path):
    model = nudge(build_trainable(make(name), method, seed=0, text=TEXT))
    expected = logits(model)
    folder = save(model, tmp_path / "adapter")
    assert list(load_file(folder / "adapter_model.safetensors")) == ["prompt_embeddings"]
    torch.testing.assert_close(logits(PeftModel.from_pretrained(make(name), folder)), expected, **TOLERANCE)
    torch.testing.assert_close(logits(load_adapter(make(name), folder)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", [PLAIN, PROJECTED], ids=["plain", "projected"])
def test_a_saved_encoder_is_restored_with_its_text(method, tmp_path):
    model = nudge(build_trainable(make("llama"), method, seed=0, text=TEXT))
    other = build_trainable(make("llama"), method, seed=1, text=[80, 81])
    model.save_encoder(tmp_path)
    other.load_encoder(tmp_path)
    torch.testing.assert_close(logits(other), logits(model), rtol=0, atol=0)


@pytest.mark.parametrize("method", [PLAIN, PROJECTED, DROPPED], ids=["plain", "projected", "dropped"])
def test_checkpointing_changes_neither_loss_nor_gradient(method):
    results = []
    for checkpointing in (False, True):
        model = nudge(build_trainable(make("llama"), method, seed=0, text=TEXT))
        if checkpointing:
            checkpoint_activations(model)
        torch.manual_seed(2)
        loss = model.train()(input_ids=IDS, use_cache=False).logits.logsumexp(-1).mean()
        loss.backward()
        results.append((loss.detach(), [p.grad for p in trainable_of(model).values()]))
    (loss, gradients), (loss_again, gradients_again) = results
    torch.testing.assert_close(loss_again, loss, rtol=0, atol=0)
    for gradient, again in zip(gradients, gradients_again, strict=True):
        torch.testing.assert_close(again, gradient, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("init", "rate", "is_advised"), [("text", 1e-3, False), ("text", 2e-2, True), ("random", 2e-2, False)]
)
def test_a_rate_for_random_prefixes_is_reported(init, rate, is_advised):
    advice = PtuningV2Method(kind="ptuning_v2", init=init).rate_advice(rate)
    assert ("suits a prefix of random numbers. This one begins as text" in advice) is is_advised
