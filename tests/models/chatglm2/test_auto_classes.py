"""Loading folders: published, sharded and saved ones."""

import json
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    StaticCache,
    pipeline,
)

from papertune.errors import ModelError
from papertune.models import load_model
from papertune.models.chatglm2 import ChatGLMConfig, ChatGLMForConditionalGeneration, ChatGLMTokenizer

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "chatglm2"
TRUST = [{}, {"trust_remote_code": False}, {"trust_remote_code": True}]


@pytest.fixture(autouse=True)
def _no_warnings(caplog):
    """Fail each test in which a library logs a warning."""
    libraries = [logging.getLogger(name) for name in ("transformers", "peft", "accelerate", "huggingface_hub")]
    before = [(logger, logger.propagate) for logger in libraries]
    for logger in libraries:
        logger.propagate = True
    yield
    for logger, propagate in before:
        logger.propagate = propagate
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


@pytest.fixture
def folder(chatglm2_folder, tmp_path):
    """A copy of the tiny model's folder."""
    return shutil.copytree(chatglm2_folder, tmp_path / "model")


def edit_json(file, **keys):
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def shard(folder, count=7):
    """Convert a folder's safetensors to pickled shards like the published ones, including the frequencies."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weights["transformer.rotary_pos_emb.inv_freq"] = torch.tensor([1.0, 0.01]).half()
    names = sorted(weights)
    files = {name: f"pytorch_model-{1 + index % count:05}-of-{count:05}.bin" for index, name in enumerate(names)}
    for file in set(files.values()):
        torch.save({name: weights[name] for name in names if files[name] == file}, folder / file)
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("trust", TRUST)
def test_auto_classes_load_a_published_folder(chatglm2_folder, trust):
    config = AutoConfig.from_pretrained(chatglm2_folder, **trust)
    assert type(config) is ChatGLMConfig
    for auto in (AutoModel, AutoModelForCausalLM):
        model, found = auto.from_pretrained(chatglm2_folder, output_loading_info=True, **trust)
        assert type(model) is ChatGLMForConditionalGeneration
        assert not any(found.values())
        assert type(auto.from_config(config, **trust)) is ChatGLMForConditionalGeneration
    assert type(AutoTokenizer.from_pretrained(chatglm2_folder, **trust)) is ChatGLMTokenizer


@pytest.mark.parametrize("trust", [False, True])
def test_load_model_loads_a_published_folder(chatglm2_folder, trust):
    model, tokenizer = load_model(chatglm2_folder, precision="fp32", device="cpu", trust_remote_code=trust)
    assert type(model) is ChatGLMForConditionalGeneration
    assert type(tokenizer) is ChatGLMTokenizer
    assert not model.training


@pytest.mark.slow
def test_load_model_registers_chatglm2_in_a_new_process(chatglm2_folder, tmp_path):
    """The tokenizer's folder has no configuration of the model, like that of a run."""
    tokenizer = tmp_path / "tokenizer"
    AutoTokenizer.from_pretrained(chatglm2_folder).save_pretrained(tokenizer)
    code = (
        "import sys; from papertune.models import Base, load_model, load_tokenizer\n"
        "assert 'transformers' not in sys.modules\n"
        f"print(type(load_tokenizer(Base('', {str(tokenizer)!r}, None))).__name__)\n"
        f"print(type(load_model({str(chatglm2_folder)!r}, device='cpu')[0]).__name__)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["ChatGLMTokenizer", "ChatGLMForConditionalGeneration"], done.stderr


def test_remote_code_of_the_tiny_folder_raises(folder):
    """Otherwise the tests of published folders could not fail."""
    edit_json(folder / "config.json", model_type="unheard_of")
    with pytest.raises(RuntimeError, match="remote code of a published folder is run"):
        AutoConfig.from_pretrained(folder, trust_remote_code=True)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are missing")
def test_published_files():
    config = AutoConfig.from_pretrained(PUBLISHED)
    assert type(config) is ChatGLMConfig
    for trust in TRUST:
        assert type(AutoTokenizer.from_pretrained(PUBLISHED, **trust)) is ChatGLMTokenizer
    defaults = ChatGLMConfig().to_dict()
    for name, value in config.to_dict().items():
        if name not in ("architectures", "dtype", "_name_or_path"):
            assert defaults.get(name, value) == value
    with torch.device("meta"):
        model = ChatGLMForConditionalGeneration(config)
    assert sum(weight.numel() for weight in model.parameters()) == 6_243_584_000
    index = json.loads((PUBLISHED / "pytorch_model.bin.index.json").read_text())
    assert {*model.state_dict(), "transformer.rotary_pos_emb.inv_freq"} == set(index["weight_map"])
    frequencies = config.kv_channels // 4
    assert index["metadata"]["total_size"] == 2 * 6_243_584_000 + 2 * frequencies


def test_usual_names_of_transformers(chatglm2_folder):
    config = AutoConfig.from_pretrained(chatglm2_folder)
    assert (config.num_hidden_layers, config.vocab_size, config.head_dim) == (2, 416, 8)
    assert (config.num_key_value_heads, config.intermediate_size, config.rms_norm_eps) == (2, 48, 1e-5)
    assert config.max_position_embeddings == 4096
    assert config.get_text_config() is config
    assert ChatGLMConfig(num_hidden_layers=3, vocab_size=50).num_layers == 3
    assert ChatGLMConfig(multi_query_attention=False, num_attention_heads=8).num_key_value_heads == 8
    assert ChatGLMConfig().num_key_value_heads == 2
    for cache in (DynamicCache(config=config), StaticCache(config=config, max_cache_len=8)):
        assert len(cache.layers) == 2


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num_attention_heads": 5}, "num_attention_heads = 5 is not a multiple of multi_query_group_num = 2."),
        ({"multi_query_group_num": 0}, "num_attention_heads = 32 is not a multiple of multi_query_group_num = 0."),
        ({"kv_channels": 6}, "kv_channels = 6 is not a multiple of 4, but half of a head is rotated in pairs."),
        ({"rmsnorm": False}, "rmsnorm = false is not supported; no published ChatGLM2 has other norms."),
        ({"fp32_residual_connection": True}, "fp32_residual_connection = true is not supported."),
        (
            {"quantization_bit": 4},
            "quantization_bit = 4: weights in the original's own quantization are not supported.",
        ),
        ({"pre_seq_len": 128}, "pre_seq_len = 128: the trained prefix is not part of this model."),
    ],
)
def test_unsupported_settings_are_reported(folder, changes, problem):
    with pytest.raises(ValueError, match=re.escape(f"config.json: {problem}")):
        ChatGLMConfig(**changes)
    if "num_attention_heads" not in changes and "multi_query_group_num" not in changes:
        edit_json(folder / "config.json", **changes)
        with pytest.raises(ModelError) as caught:
            load_model(folder, device="cpu")
        assert str(caught.value).startswith(f"{folder}: the model cannot be loaded: config.json: {problem}")


def test_unsupported_arguments_of_from_pretrained_are_reported(folder):
    """The authors load a model for P-Tuning v2 with them; without its prefix it would answer as if untrained."""
    config = AutoConfig.from_pretrained(folder, pre_seq_len=128)
    problem = re.escape("config.json: pre_seq_len = 128: the trained prefix is not part of this model. Set it to null")
    with pytest.raises(ValueError, match=problem):
        AutoModel.from_pretrained(folder, config=config)
    with pytest.raises(ValueError, match=problem):
        AutoModel.from_pretrained(folder, pre_seq_len=128)


def test_quantization_bit_0_means_no_quantization():
    config = ChatGLMConfig(quantization_bit=0, pre_seq_len=None)
    assert config.quantization_bit == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_pickled_shards(folder, monkeypatch, dtype):
    expected = load_file(folder / "model.safetensors")
    shard(folder)
    loads = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: loads.append((Path(a[0]).name, k)) or load(*a, **k))
    model, found = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    assert not any(found.values())
    assert sorted(name for name, _ in loads) == [f"pytorch_model-{n:05}-of-00007.bin" for n in range(1, 8)]
    for _, options in loads:
        assert options["weights_only"] is True
        # Shards are mapped, not read, so that memory has only one copy of the weights.
        assert options["mmap"] is True
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, expected[name].to(dtype))
    assert load_model(folder, device="cpu", precision="fp32")[0].config.num_layers == 2


def test_pickles_that_run_code_are_rejected(folder):
    shard(folder)
    file = folder / "pytorch_model-00001-of-00007.bin"
    weights = torch.load(file) | {"transformer.output_layer.weight": pickle.PickleBuffer}
    torch.save(weights, file)
    with pytest.raises(ModelError, match="Weights only load failed"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("missing", ["transformer.output_layer.weight", "transformer.encoder.final_layernorm.weight"])
def test_missing_weights_are_reported(folder, missing):
    shard(folder)
    index = json.loads((folder / "pytorch_model.bin.index.json").read_text())
    file = folder / index["weight_map"].pop(missing)
    weights = torch.load(file)
    del weights[missing]
    torch.save(weights, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=re.escape(f"1 are missing or have another shape ({missing})")):
        load_model(folder, device="cpu")


def test_frequencies_in_the_weights_are_ignored(folder, chatglm2_folder):
    """The published ones are in half precision."""
    shard(folder)
    ids = torch.arange(30)[None]
    models = [AutoModel.from_pretrained(place) for place in (folder, chatglm2_folder)]
    assert torch.equal(*(model(input_ids=ids).logits for model in models))


def test_save_and_load(chatglm2_folder, tmp_path):
    model = AutoModel.from_pretrained(chatglm2_folder)
    model.config.rotary_in_weight_dtype = True
    model.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == set(load_file(chatglm2_folder / "model.safetensors"))
    config = json.loads((tmp_path / "config.json").read_text())
    assert "auto_map" not in config, "the saved folder has no Python files"
    assert (config["model_type"], config["num_layers"], config["padded_vocab_size"]) == ("chatglm", 2, 416)
    again = AutoModel.from_pretrained(tmp_path)
    assert again.config.rotary_in_weight_dtype is True
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert again.generation_config.eos_token_id == 2
    assert again.generation_config.pad_token_id == 0


def test_folder_without_a_tokenizer_config(folder):
    (folder / "tokenizer_config.json").unlink()
    assert type(AutoTokenizer.from_pretrained(folder)) is ChatGLMTokenizer


def test_name_or_path_is_the_folder(folder):
    edit_json(folder / "config.json", _name_or_path="THUDM/chatglm2-6b")
    assert AutoModel.from_pretrained(folder).name_or_path == str(folder)


def test_tied_embeddings(folder):
    edit_json(folder / "config.json", tie_word_embeddings=True)
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.output_layer.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model = AutoModel.from_pretrained(folder)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_resized_embeddings(chatglm2_folder):
    model = AutoModel.from_pretrained(chatglm2_folder)
    before = model(input_ids=torch.tensor([[5, 6]])).logits
    model.resize_token_embeddings(420, mean_resizing=False)
    after = model(input_ids=torch.tensor([[5, 6]])).logits
    assert after.shape[-1] == model.config.padded_vocab_size == 420
    assert torch.equal(after[..., :416], before)


def test_initialization_of_new_weights(chatglm2_folder):
    config = AutoConfig.from_pretrained(chatglm2_folder)
    config.initializer_range = 0.02
    model = AutoModelForCausalLM.from_config(config)
    weights = model.state_dict()
    assert weights["transformer.encoder.layers.0.mlp.dense_h_to_4h.weight"].std() == pytest.approx(0.02, rel=0.1)
    assert weights["transformer.encoder.final_layernorm.weight"].eq(1).all()
    assert weights["transformer.encoder.layers.0.self_attention.query_key_value.bias"].eq(0).all()


def test_text_generation_pipeline(chatglm2_folder):
    tokenizer = AutoTokenizer.from_pretrained(chatglm2_folder)
    model = AutoModelForCausalLM.from_pretrained(chatglm2_folder)
    generate = pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")
    suppressed = list(range(len(tokenizer), 416))
    (output,) = generate("the heart", max_new_tokens=4, do_sample=False, suppress_tokens=suppressed)
    assert output["generated_text"].startswith("the heart")


def test_command_line_imports_no_heavy_packages():
    code = (
        "import sys, papertune.cli; print([n for n in ('torch', 'transformers', 'sentencepiece') if n in sys.modules])"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
