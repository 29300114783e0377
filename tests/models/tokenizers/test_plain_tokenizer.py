"""The plain tokenizer beside transformers' own, its slow twin."""

import json
import shutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from papertune.errors import ModelError
from papertune.models import context_tokens, find_base, load_config
from papertune.models.tokenizers.plain import (
    PlainTokenizer,
    load_context_config,
    load_prompt_tokenizer,
    read_plain_tokenizer,
)
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Prompt
from papertune.recipe import EncodingSpec

ADDED = ["<|im_start|>", "<|im_end|>", "<|pad|>", "<|user|>"]
PARTS = [*ADDED, "<|im_", "end|>", "\n", " ", "  ", "the heart", "2026", "é", "漢", "🎉", "assistant\n"]
texts = st.text(st.characters(codec="utf-8")) | st.lists(st.sampled_from(PARTS)).map("".join)
rounds = st.lists(st.tuples(texts, texts), max_size=2).map(tuple)


@pytest.fixture(scope="module")
def plain(tiny_folder):
    tokenizer = read_plain_tokenizer(tiny_folder)
    assert tokenizer is not None
    return tokenizer


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny model's folder."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def edit(file, **keys):
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


@given(texts, st.booleans(), st.booleans())
@example("<|user|> and <|im_end|>", True, True)
def test_ids_and_texts_are_those_of_transformers(plain, tiny_tokenizer, text, special, split):
    settings = {"add_special_tokens": special, "split_special_tokens": split}
    ids = plain.encode(text, **settings)
    assert ids == tiny_tokenizer.encode(text, **settings)
    assert plain([text, text], **settings)["input_ids"] == [ids, ids]
    assert plain.decode(ids) == tiny_tokenizer.decode(ids)
    assert plain._encode_without_added_tokens(text) == tiny_tokenizer._encode_without_added_tokens(text)


@given(texts, texts, rounds, texts, st.booleans())
def test_prompts_have_the_ids_of_transformers(plain, tiny_tokenizer, document, question, history, system, chat):
    prompt = Prompt("", document, question, history, system)
    spec = EncodingSpec(max_prompt_tokens=120, max_answer_tokens=40)
    encoded = []
    for tokenizer in (plain, tiny_tokenizer):
        try:
            encoded.append(PromptEncoder(tokenizer, spec, chat=chat).encode(prompt))
        except Exception as error:
            encoded.append(str(error))
    assert encoded[0] == encoded[1]


def test_tokens_and_template_are_those_of_transformers(plain, tiny_tokenizer):
    assert plain.eos_token_id == tiny_tokenizer.eos_token_id
    assert plain.chat_template == tiny_tokenizer.chat_template
    assert {i: str(token) for i, token in plain.added_tokens_decoder.items()} == {
        i: str(token) for i, token in tiny_tokenizer.added_tokens_decoder.items()
    }
    for token in [*ADDED, "the"]:
        assert plain.convert_tokens_to_ids(token) == tiny_tokenizer.convert_tokens_to_ids(token)
    messages = [{"role": "user", "content": "What <|im_end|>?"}]
    for settings in ({"tokenize": False}, {"return_dict": False, "add_generation_prompt": True}):
        assert plain.apply_chat_template(messages, **settings) == tiny_tokenizer.apply_chat_template(
            messages, **settings
        )


TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}\n"
    "    {% for message in messages %}\n{% if loop.index > 9 %}{% break %}{% endif %}"
    "{{ bos_token }}{{ message['content'] | trim }}{{ eos_token }}{% endfor %}"
)


def test_a_template_with_named_tokens_blanks_and_an_error_is_rendered_as_by_transformers(folder):
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    edit(folder / "tokenizer_config.json", bos_token="<|im_start|>")
    tokenizers = read_plain_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    for name in ("user", "system"):
        messages, said = [{"role": name, "content": " a question\n"}], []
        for tokenizer in tokenizers:
            try:
                said.append(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
            except Exception as error:
                said.append((type(error).__name__, str(error)))
        assert said[0] == said[1]
    assert "a question" in tokenizers[0].apply_chat_template(
        [{"role": "user", "content": " a question\n"}], tokenize=False
    )


def without_byte_pairs(folder):
    words = Tokenizer(models.WordLevel({"<|im_end|>": 0, "<|pad|>": 1, "<|im_start|>": 2, "the": 3}, unk_token="the"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(ADDED[:3])
    words.save(str(folder / "tokenizer.json"))


def template(text):
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


def settings(**keys):
    return lambda folder: edit(folder / "tokenizer_config.json", **keys)


@pytest.mark.parametrize(
    "change",
    [
        settings(tokenizer_class="LlamaTokenizer"),
        settings(add_bos_token=True),
        settings(unk_token="<|unknown|>"),  # transformers would add it
        settings(unk_token="<|user|>"),  # and make this one special
        settings(unk_token={"content": "<|pad|>"}),
        settings(extra_special_tokens={"image_token": "<|pad|>"}),
        template("{% generation %}{{ messages[0]['content'] }}{% endgeneration %}"),
        template("{{ messages | tojson }}"),
        template("{{ strftime_now('%Y') }}{{ messages[0]['content'] }}"),
        template("{{ tools }}{{ messages[0]['content'] }}"),
        template("{% if %}"),
        lambda folder: edit(folder / "config.json", model_type="qwen2"),
        lambda folder: (folder / "added_tokens.json").write_text("{}"),
        lambda folder: (folder / "tokenizer_config.json").write_text("{"),
        lambda folder: (folder / "tokenizer_config.json").write_text("[]"),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "tokenizer.json").unlink(),
        without_byte_pairs,
    ],
)
def test_what_transformers_would_change_or_refuse_is_left_to_it(folder, change):
    assert read_plain_tokenizer(folder) is not None
    change(folder)
    assert read_plain_tokenizer(folder) is None


def test_other_tokenizers_and_configurations_are_loaded_with_transformers(folder):
    base = find_base(str(folder))
    assert type(load_prompt_tokenizer(base)) is PlainTokenizer
    assert context_tokens(load_context_config(base)) == context_tokens(load_config(base)) == 4096
    edit(folder / "tokenizer_config.json", add_bos_token=False)
    edit(folder / "config.json", num_key_value_heads=None)
    assert type(load_prompt_tokenizer(base)) is type(AutoTokenizer.from_pretrained(folder))
    config = load_context_config(base)
    assert type(config) is type(load_config(base))
    assert context_tokens(config) == 4096


def test_scaled_positions_are_read_as_by_transformers(folder):
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    edit(folder / "config.json", rope_parameters=scaled)
    base = find_base(str(folder))
    assert [context_tokens(load(base)) for load in (load_context_config, load_config)] == [8192, 8192]


def test_a_damaged_tokenizer_is_reported_as_before(folder):
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded"):
        load_prompt_tokenizer(find_base(str(folder)))
