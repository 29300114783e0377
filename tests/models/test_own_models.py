"""Our ChatGLM2 is imported for its own folders, and for those of which nobody knows yet."""

import json
import sys

import pytest

from papertune.models.own_models import register_own_models


@pytest.fixture
def registered(monkeypatch):
    """Give a function that tells whether registering imports our ChatGLM2."""

    def registered(*places):
        # Whoever imports it now gets this and says so by its name; the real one stays as it is.
        monkeypatch.setitem(sys.modules, "papertune.models.chatglm2", None)
        try:
            register_own_models(*places)
        except ModuleNotFoundError as error:
            return error.name == "papertune.models.chatglm2"
        return False

    return registered


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("config.json", {"model_type": "chatglm"}, True),
        ("config.json", {"model_type": "llama"}, False),
        ("config.json", {"architectures": ["ChatGLMModel"], "model_type": "chatglm", "num_layers": 28}, True),
        ("tokenizer_config.json", {"tokenizer_class": "ChatGLMTokenizer"}, True),
        ("tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"}, False),
    ],
)
def test_a_folder_says_what_it_holds(name, content, expected, registered, tmp_path):
    (tmp_path / name).write_text(json.dumps(content))
    assert registered(tmp_path) is expected
    assert registered(str(tmp_path)) is expected


def test_one_of_several_is_enough(registered, tiny_folder, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ChatGLMTokenizer"}')
    assert registered(tiny_folder) is False
    assert registered(tiny_folder, tmp_path) is True


def test_of_a_hub_id_nobody_knows(registered):
    assert registered("somebody/something") is True
