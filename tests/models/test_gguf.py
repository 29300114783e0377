import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest
import torch

from papertune.errors import ModelError
from papertune.models import cache, cache_folder, find_base, load_model
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Prompt
from papertune.recipe import EncodingSpec


def write_gguf(path, model, tokenizer, splitting="smollm"):
    """Write a Llama and its byte-level tokenizer as a .gguf file without a chat template."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    if splitting is not None:
        writer.add_tokenizer_pre(splitting)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if index in tokenizer.added_tokens_decoder else 1 for index in range(len(tokens))])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if ".q_proj." in name or ".k_proj." in name:
            # llama.cpp rotates pairs of neighbouring numbers, transformers the two halves.
            halves = tensor.reshape(-1, 2, config.head_dim // 2, config.hidden_size)
            tensor = halves.transpose(1, 2).reshape(tensor.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_file_without_a_chat_template(tiny_model, tiny_tokenizer, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "tiny.gguf"
    write_gguf(file, tiny_model, tiny_tokenizer)
    model, tokenizer = load_model(str(file), precision="fp32", device="cpu")
    assert tuple(capsys.readouterr()) == ("", "")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, tiny_model.state_dict()[name].bfloat16().float(), rtol=0, atol=0)
    assert tokenizer.chat_template is None
    ids = PromptEncoder(tokenizer, EncodingSpec()).encode(Prompt("", "the <|im_end|> 漢", "\n\nQ")).ids
    assert ids == PromptEncoder(tiny_tokenizer, EncodingSpec()).encode_text("the <|im_end|> 漢\n\nQ\n")
    # The second call converts nothing; the checksum is that of the file.
    monkeypatch.setattr(cache, "_convert", lambda *_: pytest.fail("converted again"))
    base = find_base(str(file))
    assert base.location == str(tmp_path / "cache" / f"tiny-{base.checksum[:12]}-2")


def test_a_file_is_parsed_once(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    import gguf

    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "tiny.gguf", tiny_model, tiny_tokenizer)
    parsed, reader = [], gguf.GGUFReader

    def parse(path):
        parsed.append(path)
        return reader(path)

    monkeypatch.setattr(gguf, "GGUFReader", parse)
    find_base(str(tmp_path / "tiny.gguf"))
    assert parsed == [str(tmp_path / "tiny.gguf")]
    assert gguf.GGUFReader is parse


# SmolLM2 isolates each digit first (its published tokenizer.json); GPT-2 does not, and joins a blank and a number.
PARTS = {"smollm": ["a", "ĠĠ", "1", "2", "Ċ", "3"], "gpt-2": ["a", "Ġ", "Ġ12", "Ċ", "3"]}


@pytest.mark.parametrize("name", ["smollm", "starcoder", "gpt-2", "llama-bpe", None, "a-new-one"])
def test_text_is_split_as_the_file_says(name, tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "tiny.gguf"
    write_gguf(file, tiny_model, tiny_tokenizer, name)
    if name == "a-new-one":
        with pytest.raises(ModelError) as caught:
            find_base(str(file))
        assert str(caught.value) == (
            f'{file}: its tokenizer splits text as "a-new-one" does, which is unknown here, so the model would read '
            "wrong tokens. Give the model as a folder with its tokenizer.json."
        )
        return
    splitter = load_model(str(file), precision="fp32", device="cpu")[1].backend_tokenizer.pre_tokenizer
    parts = [part for part, _ in splitter.pre_tokenize_str("a  12\n3")]
    if name == "llama-bpe":
        assert parts == ["a", "Ġ", "Ġ", "12", "Ċ", "3"]
    else:
        assert parts == PARTS["smollm" if name in ("smollm", "starcoder") else "gpt-2"]


def test_file_that_is_not_a_gguf(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "x.gguf"
    file.write_bytes(b"not a gguf")
    with pytest.raises(ModelError) as caught:
        find_base(str(file))
    assert str(caught.value).startswith(f"{file}: transformers cannot read this .gguf file: ")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir() and path.name != "checksums"]


CONVERT = textwrap.dedent(
    """
    import importlib.util, sys, time
    from pathlib import Path

    # Imported by its file: its package imports torch, which takes seconds.
    spec = importlib.util.spec_from_file_location("cache", sys.argv[1])
    cache = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cache)

    def convert(gguf, folder):
        print("converting", flush=True)
        partial = folder.with_name(f"{folder.name}.partial")
        partial.mkdir()  # a second conversion at the same time would fail here
        time.sleep(0.5)
        (partial / "config.json").write_text("{}")
        partial.rename(folder)

    cache._convert = convert
    print("ready", flush=True)
    sys.stdin.readline()
    print(cache.converted_gguf(Path("x.gguf"), "0123456789abcdef"), flush=True)
    """
)


def test_two_parallel_processes_convert_once(tmp_path):
    environment = os.environ | {"PAPERTUNE_CACHE": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", CONVERT, cache.__file__]
    processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    threads = [threading.Thread(target=process.stdin.close) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [process.stdout.read().splitlines() for process in processes]
    for process in processes:
        process.stdout.close()
        assert process.wait(timeout=60) == 0
    folder = tmp_path / "x-0123456789ab-2"
    assert sorted(line for each in lines for line in each) == sorted(["converting", str(folder), str(folder)])
    assert (folder / "config.json").is_file()


def test_killed_conversion_is_repeated(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path))
    file = tmp_path / "x.gguf"
    leftover = tmp_path / "x-0123456789ab-2.partial"
    leftover.mkdir()
    (leftover / "half").touch()
    file.write_bytes(b"not a gguf, but the leftover is removed first")
    with pytest.raises(ModelError, match=r"transformers cannot read this \.gguf file"):
        cache.converted_gguf(file, "0123456789ab")
    assert not leftover.exists()


def test_cache_folder_that_is_not_writable(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"Set PAPERTUNE_CACHE to a folder with room for it\.$"):
        cache.converted_gguf(tmp_path / "x.gguf", "0123456789ab")


def test_location_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PAPERTUNE_CACHE", "/somewhere")
    assert str(cache_folder()) == "/somewhere"
    monkeypatch.delenv("PAPERTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "papertune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "papertune"
