"""ChatGLM2 models for tests.

The golden model has random weights and no tokenizer. The outputs of the published implementation for it are recorded
here; tiny_goldens.json describes them. The folder of the tiny model looks like the published one: its config.json and
tokenizer_config.json name remote code, and that code raises an error.
"""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_sentencepiece import train

HERE = Path(__file__).parent

REMOTE_CODE = 'raise RuntimeError("the remote code of a published folder is run")\n'
PUBLISHED_AUTO_MAP = {
    "AutoConfig": "configuration_chatglm.ChatGLMConfig",
    "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
    "AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
    "AutoModelForSeq2SeqLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
}
PUBLISHED_TOKENIZER_CONFIG = {
    "name_or_path": "THUDM/chatglm2-6b",
    "remove_space": False,
    "do_lower_case": False,
    "tokenizer_class": "ChatGLMTokenizer",
    "auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]},
}


@pytest.fixture(scope="session")
def goldens():
    """Recorded outputs of the published implementation."""
    return load_file(HERE / "tiny_goldens.safetensors")


@pytest.fixture(scope="session")
def golden_folder(tmp_path_factory):
    """The golden model's folder; tests must copy it before they change it."""
    folder = tmp_path_factory.mktemp("chatglm2") / "golden"
    folder.mkdir()
    shutil.copyfile(HERE / "tiny_config.json", folder / "config.json")
    shutil.copyfile(HERE / "tiny_model.safetensors", folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def golden_model(golden_folder):
    """The golden model in float32; tests must not change it."""
    from papertune.models.chatglm2 import ChatGLMForConditionalGeneration

    return ChatGLMForConditionalGeneration.from_pretrained(golden_folder).eval()


@pytest.fixture
def own_golden_model(golden_model):
    """A copy of the golden model that a test may train or wrap."""
    return copy.deepcopy(golden_model)


@pytest.fixture(scope="session")
def sentencepiece_file(tmp_path_factory):
    """A tokenizer.model with 400 pieces."""
    return train(tmp_path_factory.mktemp("sentencepiece"))


@pytest.fixture(scope="session")
def chatglm2_folder(tmp_path_factory, sentencepiece_file):
    """The folder of a tiny model with its tokenizer; tests must copy it before they change it."""
    from papertune.models.chatglm2 import ChatGLMForConditionalGeneration

    folder = tmp_path_factory.mktemp("chatglm2") / "tiny"
    torch.manual_seed(3)
    ChatGLMForConditionalGeneration(small_config()).save_pretrained(folder)
    (folder / "generation_config.json").unlink()  # the published folder has none
    config = json.loads((folder / "config.json").read_text()) | {"auto_map": PUBLISHED_AUTO_MAP}
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copyfile(sentencepiece_file, folder / "tokenizer.model")
    (folder / "tokenizer_config.json").write_text(json.dumps(PUBLISHED_TOKENIZER_CONFIG))
    for module in ("configuration", "modeling", "tokenization"):
        (folder / f"{module}_chatglm.py").write_text(REMOTE_CODE)
    return folder


def small_config(**changes):
    """Return the configuration of a model with 405 tokens, and with weights large enough for varied answers."""
    from papertune.models.chatglm2 import ChatGLMConfig

    return ChatGLMConfig(
        **{
            "padded_vocab_size": 416,
            "hidden_size": 32,
            "ffn_hidden_size": 48,
            "num_layers": 2,
            "num_attention_heads": 4,
            "kv_channels": 8,
            "seq_length": 4096,
            "initializer_range": 0.3,
            **changes,
        }
    )


@pytest.fixture(scope="session")
def make_chatglm2():
    """A function that builds small models with random weights in every part."""
    from papertune.models.chatglm2 import ChatGLMForConditionalGeneration

    def make(*, seed=0, attention="sdpa", **changes):
        config = small_config(**changes)
        config._attn_implementation = attention
        torch.manual_seed(seed)
        model = ChatGLMForConditionalGeneration(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("bias") or "norm" in name:  # initialized to 0 and 1
                    weight.add_(0.3 * torch.randn_like(weight))
        return model.eval()

    return make
