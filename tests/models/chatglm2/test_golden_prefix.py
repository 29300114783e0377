"""P-Tuning v2 on ChatGLM2: recorded outputs of the published implementation, and its checkpoints."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import papertune
from papertune.decoding.engine import Engine
from papertune.decoding.greedy import greedy
from papertune.errors import ModelError, RunError
from papertune.methods import build_trainable, checkpoint_activations, load_adapter, prefix_of
from papertune.methods.prefix.official import load_official_prefix, official_prefix, save_official_prefix
from papertune.models.chatglm2 import ChatGLMTokenizer
from papertune.recipe import PtuningV2Method

HERE = Path(__file__).parent
LOGITS = {"atol": 2e-4, "rtol": 1e-4}
LOSS = {"atol": 1e-5, "rtol": 0}
GRADIENTS = {"atol": 2e-5, "rtol": 1e-3}
FILES = {"e0": HERE / "tiny_ptuning_embedding.safetensors", "e1": HERE / "tiny_ptuning_projection.safetensors"}


@pytest.fixture(params=FILES)
def name(request):
    return request.param


@pytest.fixture
def golden(goldens, name):
    return {key[3:]: tensor for key, tensor in goldens.items() if key.startswith(f"{name}.")}


@pytest.fixture(params=["sdpa", "eager"])
def tuned(request, own_golden_model, name):
    own_golden_model.set_attn_implementation(request.param)
    return load_official_prefix(own_golden_model, FILES[name], trainable=True).eval()


def assert_close(found, expected, tolerance=LOGITS):
    torch.testing.assert_close(found.detach(), expected, **tolerance)


def test_keys_and_values_of_the_prefix(tuned, golden):
    prefix = prefix_of(tuned)
    found = torch.stack([prefix.keys, prefix.values], dim=1)  # (layers, 2, heads, virtual, head_dim)
    assert_close(found.transpose(2, 3), golden["prefix_kv"], {"atol": 1e-6, "rtol": 1e-6})
    assert prefix.first_position == 0


def test_logits(tuned, golden):
    for use_cache in (False, True):
        assert_close(tuned(input_ids=golden["input_ids"], use_cache=use_cache).logits, golden["logits"])
    bare = tuned.get_base_model()(input_ids=golden["input_ids"]).logits
    assert (bare - golden["logits"]).abs().max() > 0.1


def test_left_padded_batch(tuned, golden):
    mask = golden["batch_attention_mask"]
    logits = tuned(
        input_ids=golden["batch_input_ids"], attention_mask=mask, position_ids=golden["batch_position_ids"]
    ).logits
    assert_close(logits[mask.bool()], golden["batch_logits"][mask.bool()])


def test_greedy_decoding(tuned, golden):
    """With papertune's engine, which pads batches on the right."""
    mask = golden["gen_attention_mask"].bool()
    rows = [ids[real].tolist() for ids, real in zip(golden["gen_input_ids"], mask, strict=True)]
    engine = Engine(tuned)
    state = engine.prefill(rows)
    ids, scores = [], []
    for _ in range(12):
        scores.append(state.last_logits)
        ids.append(state.last_logits.argmax(dim=-1))
        engine.extend(state, ids[-1][:, None].tolist())
    assert torch.equal(torch.stack(ids, dim=1), golden["greedy_ids"][:, -12:])
    assert_close(torch.stack(scores, dim=1), golden["greedy_scores"])


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_decoding_by_generate(tuned, golden, use_cache):
    """With transformers' `generate`, which needs batches padded on the left."""
    ids = tuned.generate(
        input_ids=golden["gen_input_ids"],
        attention_mask=golden["gen_attention_mask"],
        max_new_tokens=12,
        min_new_tokens=12,
        do_sample=False,
        use_cache=use_cache,
        pad_token_id=0,
    )
    assert torch.equal(ids[:, -12:], golden["greedy_ids"][:, -12:])


def test_chat_with_a_prefix(make_chatglm2, sentencepiece_file):
    tokenizer = ChatGLMTokenizer(sentencepiece_file)
    model = build_trainable(make_chatglm2(), PtuningV2Method(kind="ptuning_v2", prefix_length=6), seed=0).eval()
    options = {"do_sample": False, "max_length": 60}
    answer, history = model.chat(tokenizer, "heart", history=[], **options)
    assert history == [("heart", answer)]
    assert answer != model.get_base_model().chat(tokenizer, "heart", history=[], **options)[0]
    ids = tokenizer(tokenizer.build_prompt("heart"))["input_ids"]
    engine = Engine(model)
    (expected,) = greedy(
        engine, engine.prefill([ids]), end_ids={2}, max_new_tokens=60 - len(ids), vocabulary=len(tokenizer)
    )
    assert answer == tokenizer.decode(expected).strip()
    with pytest.raises(ModelError, match="stream_chat does not see a trained prefix"):
        model.stream_chat(tokenizer, "heart")


@pytest.mark.parametrize("checkpointing", [False, True])
def test_loss_and_gradients(tuned, golden, name, checkpointing):
    """The gradient of the prefix is propagated through the projection that it was computed with."""
    if checkpointing:
        checkpoint_activations(tuned)
        tuned.train()
    loss = tuned(input_ids=golden["train_input_ids"], labels=golden["train_labels"]).loss
    assert_close(loss, golden["train_loss"], LOSS)
    loss.backward()
    (gradient,) = [weight.grad for weight in tuned.parameters() if weight.requires_grad]
    start = "transformer.prefix_encoder."
    encoder = {key.removeprefix(start): value.requires_grad_() for key, value in load_file(FILES[name]).items()}
    numbers = encoder["embedding.weight"]
    if name == "e1":
        inner = torch.tanh(numbers @ encoder["trans.0.weight"].T + encoder["trans.0.bias"])
        numbers = inner @ encoder["trans.2.weight"].T + encoder["trans.2.bias"]
    found = torch.autograd.grad(numbers, list(encoder.values()), grad_outputs=gradient)
    assert len(found) == sum(key.startswith("grad.") for key in golden) == (1 if name == "e0" else 5)
    for key, value in zip(encoder, found, strict=True):
        assert value.abs().max() > 0
        assert_close(value, golden[f"grad.{start}{key}"], GRADIENTS)


def test_prefix_saved_as_a_peft_adapter(tuned, golden, golden_model, tmp_path):
    PtuningV2Method(kind="ptuning_v2").save(tuned, tmp_path / "adapter", "a model", torch.float32)
    again = load_adapter(copy.deepcopy(golden_model), tmp_path / "adapter")
    assert_close(again(input_ids=golden["input_ids"]).logits, golden["logits"])


class TestOfficialCheckpoints:
    @pytest.mark.parametrize("form", ["file", "safetensors", "pickle"])
    def test_reading(self, name, golden, form, tmp_path):
        source = FILES[name]
        if form == "safetensors":
            shutil.copyfile(source, tmp_path / "model.safetensors")
        elif form == "pickle":
            torch.save(load_file(source), tmp_path / "pytorch_model.bin")
        found = official_prefix(source if form == "file" else tmp_path)
        expected = golden["prefix_kv"].permute(2, 0, 1, 3, 4).flatten(1)
        assert found.dtype == torch.float32
        assert_close(found, expected, {"atol": 1e-6, "rtol": 1e-6})

    def test_writing_in_the_plain_form(self, tuned, golden, name, own_golden_model, tmp_path):
        save_official_prefix(tuned, tmp_path / "written")
        (file,) = (tmp_path / "written").iterdir()
        weights = torch.load(file, weights_only=True)
        assert set(weights) == {"transformer.prefix_encoder.embedding.weight"}
        (numbers,) = weights.values()
        assert_close(numbers, golden["prefix_kv"].permute(2, 0, 1, 3, 4).flatten(1), {"atol": 1e-6, "rtol": 1e-6})
        if name == "e0":
            assert torch.equal(numbers, *load_file(FILES[name]).values())
        again = load_official_prefix(own_golden_model, tmp_path / "written")
        assert torch.equal(prefix_of(again).keys, prefix_of(tuned).keys)

    @pytest.mark.parametrize("projection", [False, True], ids=["plain", "projected"])
    def test_a_prefix_that_begins_as_text_is_written_as_it_is_after_training(self, make_chatglm2, projection, tmp_path):
        method = PtuningV2Method(kind="ptuning_v2", prefix_length=5, projection=projection)
        tuned = build_trainable(make_chatglm2(), method, seed=0, text=[7, 50, 9])
        with torch.no_grad():
            for parameter in tuned.prompt_encoder.parameters():
                parameter.add_(0.1)
        save_official_prefix(tuned, tmp_path)
        again = load_official_prefix(make_chatglm2(), tmp_path)
        ids = torch.arange(3, 27).reshape(2, 12)
        torch.testing.assert_close(again.eval()(input_ids=ids).logits, tuned.eval()(input_ids=ids).logits, **LOGITS)

    def test_half_precision(self, tmp_path):
        """Training in float16 writes such checkpoints; the projection is computed in float32."""
        halved = {key: tensor.half() for key, tensor in load_file(FILES["e1"]).items()}
        torch.save(halved, tmp_path / "pytorch_model.bin")
        embedding, first, first_bias, last, last_bias = (
            halved[f"transformer.prefix_encoder.{part}"].double()
            for part in ("embedding.weight", "trans.0.weight", "trans.0.bias", "trans.2.weight", "trans.2.bias")
        )
        expected = torch.tanh(embedding @ first.T + first_bias) @ last.T + last_bias
        assert_close(official_prefix(tmp_path).double(), expected, {"atol": 1e-5, "rtol": 0})

    def test_checkpoint_of_a_gpu_is_read_without_one(self, monkeypatch, tmp_path):
        """The authors' script saves such checkpoints."""
        monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        torch.save(load_file(FILES["e0"]), tmp_path / "pytorch_model.bin")
        found = official_prefix(tmp_path)
        assert found.device.type == "cpu"
        assert torch.equal(found, *load_file(FILES["e0"]).values())

    def test_older_file_format(self, tmp_path):
        torch.save(load_file(FILES["e0"]), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
        assert torch.equal(official_prefix(tmp_path), *load_file(FILES["e0"]).values())

    def test_prefix_is_not_trainable_by_default(self, own_golden_model):
        assert not any(w.requires_grad for w in load_official_prefix(own_golden_model, FILES["e0"]).parameters())

    def test_folders_without_a_prefix(self, own_golden_model, golden_folder, tmp_path):
        assert official_prefix(tmp_path) is None
        assert official_prefix(golden_folder) is None  # a whole model
        torch.save([1, 2], tmp_path / "pytorch_model.bin")
        assert official_prefix(tmp_path) is None
        with pytest.raises(RunError, match=r"holds no weights named transformer\.prefix_encoder\.\*"):
            load_official_prefix(own_golden_model, golden_folder)

    def test_invalid_checkpoints(self, own_golden_model, make_chatglm2, tiny_model, tmp_path):
        weights = load_file(FILES["e1"])
        del weights["transformer.prefix_encoder.trans.2.bias"]
        save_file(weights, tmp_path / "model.safetensors")
        with pytest.raises(RunError, match=r"has no transformer\.prefix_encoder\.trans\.2\.bias, so the prefix is not"):
            official_prefix(tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"incomplete")
        with pytest.raises(RunError, match="the weights cannot be read"):
            official_prefix(tmp_path)
        message = "has 192 numbers for each virtual token, but the model needs 64: 2 layers with 2 key-value heads of 8"
        with pytest.raises(ModelError, match=message):
            load_official_prefix(make_chatglm2(), FILES["e0"])
        with pytest.raises(ModelError, match=r"LlamaForCausalLM: .* are for ChatGLM2"):
            load_official_prefix(tiny_model, FILES["e0"])

    def test_pickled_code_is_not_run(self, tmp_path):
        torch.save({"transformer.prefix_encoder.embedding.weight": Path}, tmp_path / "pytorch_model.bin")
        with pytest.raises(RunError, match="Weights only load failed"):
            official_prefix(tmp_path)


class TestAdopt:
    """`adopt` turns an official checkpoint into a run."""

    @pytest.fixture
    def recipe(self, chatglm2_folder):
        return {
            "model": str(chatglm2_folder),
            "table": {"id": "id", "document": "{title}"},
            "columns": {"label": {"kind": "label", "question": "?", "labels": ["1", "0"]}},
            "method": {"kind": "ptuning_v2"},
        }

    @pytest.fixture
    def checkpoint(self, tmp_path):
        torch.manual_seed(0)
        folder = tmp_path / "checkpoint"
        folder.mkdir()
        numbers = torch.randn(6, 2 * 2 * 2 * 8)
        torch.save({"transformer.prefix_encoder.embedding.weight": numbers}, folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps({"pre_seq_len": 6, "prefix_projection": False}))
        return folder

    def test_adopted_run_predicts(self, checkpoint, recipe, tmp_path):
        run = papertune.adopt(checkpoint, recipe, tmp_path / "run", device="cpu")
        assert run.recipe.method.prefix_length == 6
        assert run.recipe.method.projection is False
        assert run.manifest.trained_weights == 6 * 64
        papers = [{"id": "a", "title": "the heart"}, {"id": "b", "title": "心脏 networks"}]
        found = papertune.load_run(tmp_path / "run", device="cpu").predict(papers, probabilities=True, precision="fp32")
        assert set(found["label"]) <= {"0", "1"}
        # Another prefix has other probabilities.
        torch.save(
            {"transformer.prefix_encoder.embedding.weight": torch.zeros(6, 64)}, checkpoint / "pytorch_model.bin"
        )
        other = papertune.adopt(checkpoint, recipe, tmp_path / "other", device="cpu")
        assert not other.predict(papers, probabilities=True, precision="fp32").equals(found)

    def test_prefix_of_a_run_is_written_in_the_official_form(self, checkpoint, recipe, tmp_path):
        run = papertune.adopt(checkpoint, recipe, tmp_path / "run", device="cpu")
        model, _ = run.load()
        save_official_prefix(model, tmp_path / "official")
        assert torch.equal(official_prefix(tmp_path / "official"), official_prefix(checkpoint))

    def test_folder_without_an_adapter(self, golden_folder, recipe, tmp_path):
        with pytest.raises(RunError, match=r"holds no adapter_config\.json"):
            papertune.adopt(golden_folder, recipe, tmp_path / "run", device="cpu")

    def test_recipe_with_another_method(self, checkpoint, recipe, tmp_path):
        recipe["method"] = {"kind": "lora"}
        with pytest.raises(papertune.RecipeError, match=r'is "lora", but .* is a P-Tuning v2 prefix'):
            papertune.adopt(checkpoint, recipe, tmp_path / "run", device="cpu")
        assert not (tmp_path / "run").exists()
