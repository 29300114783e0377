"""papertune's ChatGLM2 is imported for ChatGLM2 folders, and for hub ids whose files are unknown."""

import json
import sys

import pytest

from papertune.models.own_models import register_own_models


@pytest.fixture
def registered(monkeypatch):
    """A function that returns whether registering imports papertune's ChatGLM2."""

    def registered(*places):
        # With None in sys.modules an import raises an error; the real module is not changed.
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
def test_folders_are_recognized_by_their_files(name, content, expected, registered, tmp_path):
    (tmp_path / name).write_text(json.dumps(content))
    assert registered(tmp_path) is expected
    assert registered(str(tmp_path)) is expected


def test_one_chatglm2_among_several_folders_is_enough(registered, tiny_folder, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ChatGLMTokenizer"}')
    assert registered(tiny_folder) is False
    assert registered(tiny_folder, tmp_path) is True


def test_hub_id_may_be_a_chatglm2(registered):
    assert registered("somebody/something") is True
