"""The ChatGLM2 tokenizer, compared with results of the published one, and with a tiny SentencePiece model."""

import copy
import json
import pickle
import re
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import TemplateError
from tiny_sentencepiece import train
from transformers import TextIteratorStreamer, TextStreamer

from papertune.kinds import LabelColumn
from papertune.models.chatglm2.tokenization import ChatGLMTokenizer, process_response
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Prompt
from papertune.recipe import EncodingSpec

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "chatglm2"
GOLDENS = json.loads((Path(__file__).parent / "tokenizer_goldens.json").read_text(encoding="utf-8"))
CATEGORIES = sorted({golden["category"] for golden in GOLDENS["strings"]})
SPECIAL = ["<unk>", "<s>", "</s>", "[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"]

# Any text, and text of special tokens, their parts, spaces and characters of several bytes.
PARTS = [*SPECIAL, "[g", "MASK]", "<", "/s>", "s", "op", " ", "  ", "\n", "\t", "heart"]
PARTS += ["论文", "龘靐", "𠮷", "🧬🔬", "👍🏽"]
texts = st.text(st.characters(codec="utf-8")) | st.lists(st.sampled_from(PARTS)).map("".join)


@pytest.fixture(scope="module")
def published():
    file = PUBLISHED / "tokenizer.model"
    if not file.is_file():
        pytest.skip("the published tokenizer.model is missing")
    assert sha256(file.read_bytes()).hexdigest() == GOLDENS["tokenizer_model_sha256"]
    return ChatGLMTokenizer.from_pretrained(PUBLISHED)


@pytest.fixture(scope="module")
def tiny(sentencepiece_file):
    return ChatGLMTokenizer(sentencepiece_file)


def messages_of(query, history=()):
    turns = [text for turn in history for text in turn]
    roles = ["user", "assistant"] * len(history) + ["user"]
    return [{"role": role, "content": text} for role, text in zip(roles, [*turns, query], strict=True)]


def encoder(tokenizer, *, chat=True):
    return PromptEncoder(tokenizer, EncodingSpec(max_prompt_tokens=100_000, max_answer_tokens=1000), chat=chat)


class Pieces(TextStreamer):
    """Collects what a streamer would print."""

    def __init__(self, tokenizer, **options):
        super().__init__(tokenizer, **options)
        self.pieces = []

    def on_finalized_text(self, text, stream_end=False):
        self.pieces.append(text)


def stream(streamer, ids):
    """Feed ids one by one, as generation does."""
    for token in ids:
        streamer.put(torch.tensor([token]))
    streamer.end()


# Results of the published tokenizer


@pytest.mark.parametrize("category", CATEGORIES)
def test_strings_agree_with_published(published, category):
    for golden in (golden for golden in GOLDENS["strings"] if golden["category"] == category):
        text = golden["text"]
        with_special = golden["ids_with_special"]
        for split in (False, True):
            assert published.encode(text, add_special_tokens=False, split_special_tokens=split) == golden["ids"]
            assert published.encode(text, split_special_tokens=split) == with_special
        encoded = published(text)
        assert encoded["input_ids"] == with_special
        assert encoded["attention_mask"] == [1] * len(with_special)
        assert encoded["position_ids"] == list(range(len(with_special)))
        assert published.decode(golden["ids"]) == golden["decoded"]
        for skip in (False, True):
            assert published.decode(with_special, skip_special_tokens=skip) == golden["decoded"]
        pieces = golden.get("pieces", published.tokenize(text))
        assert published.tokenize(text) == pieces
        assert published.convert_tokens_to_ids(pieces) == golden["ids"]
        assert published.convert_ids_to_tokens(golden["ids"]) == pieces
        assert published.convert_tokens_to_string(pieces) == golden["decoded"]


def test_decoding_agrees_with_published(published):
    for golden in GOLDENS["decode"]:
        assert published.decode(golden["ids"]) == golden["text"]
        assert published.decode(golden["ids"], skip_special_tokens=True) == golden["text_skip_special"]
        assert published.decode(torch.tensor(golden["ids"])) == golden["text"]
    ids = [golden["ids"] for golden in GOLDENS["decode"]]
    assert published.batch_decode(ids) == [golden["text"] for golden in GOLDENS["decode"]]


def test_batches_agree_with_published(published):
    for golden in GOLDENS["batches"]:
        encoded = published(golden["texts"], **golden["kwargs"])
        assert set(encoded) == set(published.model_input_names)
        for name in published.model_input_names:
            assert encoded[name] == golden[name], (golden["kwargs"], name)
        tensors = published(golden["texts"], return_tensors="pt", **golden["kwargs"])
        assert tensors["position_ids"].tolist() == golden["position_ids"]


def test_pairs_agree_with_published(published):
    for golden in GOLDENS["pairs"]:
        assert published.encode(golden["text"], golden["text_pair"]) == golden["input_ids"]
        assert published(golden["text"], golden["text_pair"])["input_ids"] == golden["input_ids"]
        assert published.decode(golden["input_ids"]) == golden["decoded"]
    first, second = zip(*((golden["text"], golden["text_pair"]) for golden in GOLDENS["pairs"]), strict=True)
    batch = published(list(first), list(second), padding=True)
    for golden, ids in zip(GOLDENS["pairs"], batch["input_ids"], strict=True):
        assert ids == [0] * (len(ids) - len(golden["input_ids"])) + golden["input_ids"]


def test_special_ids_agree_with_published(published):
    golden = GOLDENS["special_ids"]
    for token in SPECIAL:
        assert published.convert_tokens_to_ids(token) == published.get_command(token) == golden[token]
        assert published.convert_ids_to_tokens(golden[token]) == token
    for name in ("bos", "eos", "pad", "unk"):
        assert published.get_command(f"<{name}>") == golden[name]
        assert getattr(published, f"{name}_token_id") == golden[name]
    for name in ("eos_token", "pad_token", "unk_token", "padding_side", "model_input_names", "vocab_size"):
        assert getattr(published, name) == golden[name]
    assert published.get_prefix_tokens() == published.encode("") == golden["prefix_ids"]
    assert len(published) == golden["vocab_size"]
    assert published.convert_tokens_to_ids("[MASK]") == golden["sentencepiece_pieces"]


def test_ids_and_tokens_are_one_to_one(published):
    ids = list(range(len(published)))
    tokens = published.convert_ids_to_tokens(ids)
    assert published.convert_tokens_to_ids(tokens) == ids
    assert published.get_vocab() == dict(zip(tokens, ids, strict=True))
    assert len(published.batch_decode([[token] for token in ids])) == 64794


def test_ids_without_a_token_are_reported(published):
    for token in (64794, 65023, -1, -100):
        with pytest.raises(IndexError, match=f"no token with id {token}: the ids are 0 to 64793"):
            published.decode([64790, token])
        with pytest.raises(IndexError, match="no token with id"):
            published.convert_ids_to_tokens(token)


def test_chat_agrees_with_published(published):
    for golden in GOLDENS["chat"]:
        history = [tuple(turn) for turn in golden["history"]]
        messages = messages_of(golden["query"], history)
        assert published.build_prompt(golden["query"], history) == golden["prompt"]
        text = published.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert text == golden["prompt"]
        for sanitize in (False, True):
            encoded = published.apply_chat_template(
                messages, add_generation_prompt=True, sanitize_control_tokens=sanitize
            )
            assert {name: encoded[name] for name in published.model_input_names} == {
                name: golden[name] for name in published.model_input_names
            }
        ids = published.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert ids == golden["input_ids"]
        assert published(golden["prompt"])["input_ids"] == golden["input_ids"]
        # Template, document and question are encoded as one string.
        middle = len(golden["query"]) // 2
        prompt = Prompt("", golden["query"][:middle], golden["query"][middle:], tuple(history))
        assert encoder(published).encode(prompt).ids == golden["input_ids"]


def test_chats_are_padded_as_a_batch(published):
    batch = [messages_of(golden["query"], golden["history"]) for golden in GOLDENS["chat"]]
    encoded = published.apply_chat_template(batch, add_generation_prompt=True, padding=True, return_tensors="pt")
    for row, golden in enumerate(GOLDENS["chat"]):
        length = len(golden["input_ids"])
        assert encoded["attention_mask"][row].sum() == length
        assert encoded["input_ids"][row, -length:].tolist() == golden["input_ids"]
        assert encoded["position_ids"][row, -length:].tolist() == golden["position_ids"]


def test_cleaned_answers_agree_with_published():
    for golden in GOLDENS["process_response"]:
        assert process_response(golden["in"]) == golden["out"]


def test_training_rows_agree_with_published(published):
    for golden in GOLDENS["ptuning"]:
        source, target = golden["max_source_length"], golden["max_target_length"]
        history = [tuple(turn) for turn in golden["history"] or []]
        prompt = golden["source_prefix"] + published.build_prompt(golden["prompt"], history)
        assert prompt == golden["prompt_text"]
        ids = published.encode(prompt, truncation=True, max_length=source)
        answer = published.encode(golden["answer"], add_special_tokens=False, truncation=True, max_length=target)
        answer.append(published.eos_token_id)
        row = published.pad(
            {"input_ids": ids + answer}, padding="max_length", max_length=source + target + 1, padding_side="right"
        )
        assert row["input_ids"] == golden["input_ids"]
        assert row["position_ids"][: len(ids + answer)] == list(range(len(ids + answer)))
        ignored = -100 if golden["ignore_pad_token_for_loss"] else published.pad_token_id
        pads = source + target + 1 - len(ids + answer)
        assert [ignored] * len(ids) + answer + [ignored] * pads == golden["labels"]
        assert published.encode(prompt, truncation=True, max_length=source) == golden["eval_input_ids"]


def test_encoded_prompt_and_answer_agree_with_published(published):
    golden = GOLDENS["ptuning"][0]
    column = LabelColumn(kind="label", question="?", labels=("1", "0"))
    (answer,) = column.encode_answers(golden["answer"], encoder(published))
    prompt = encoder(published).encode(Prompt("", golden["prompt"], "")).ids
    assert prompt + answer == golden["input_ids"][: len(prompt + answer)]


def test_rare_characters_of_published_strings_are_streamed_whole(published):
    for golden in GOLDENS["strings"]:
        if golden["category"] in ("chinese", "emoji", "mixed", "rare_unicode", "other_languages", "combining"):
            streamer = Pieces(published)
            stream(streamer, golden["ids"])
            assert "".join(streamer.pieces) == without_blanks_after_lines(golden["decoded"])
            assert all("\ufffd" not in piece for piece in streamer.pieces) or "\ufffd" in golden["text"]
    # A character is streamed as soon as its three bytes are complete.
    streamer = Pieces(published)
    stream(streamer, published.encode("龘靐齉", add_special_tokens=False))
    assert [piece for piece in streamer.pieces if piece] == ["龘", "靐", "齉"]


def test_saved_settings_have_no_remote_code(published, tmp_path):
    config = json.loads((PUBLISHED / "tokenizer_config.json").read_text())
    assert "auto_map" in config
    published.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert saved["tokenizer_class"] == "ChatGLMTokenizer"
    assert saved.keys().isdisjoint({"auto_map", "name_or_path", "do_lower_case", "remove_space", "vocab_file"})
    assert sha256((tmp_path / "tokenizer.model").read_bytes()).hexdigest() == GOLDENS["tokenizer_model_sha256"]
    again = ChatGLMTokenizer.from_pretrained(tmp_path)
    for golden in GOLDENS["strings"]:
        assert again.encode(golden["text"]) == golden["ids_with_special"]


# A tiny model


def round_trip(text):
    """Return a text after encoding and decoding: SentencePiece uses this character for blanks, so it becomes one."""
    return text.replace("\u2581", " ")


def without_blanks_after_lines(text):
    """Return what transformers' streamers print of a text.

    They decode each line separately, which loses a blank at its beginning with all tokenizers of this kind.
    """
    return text.replace("\n ", "\n")


@given(texts)
@example("▁▁a▁")
@example("\x00")
@example(" ⁇ ")
def test_text_survives_encoding_and_decoding(tiny, text):
    ids = tiny.encode(text)
    assert tiny.decode(ids) == tiny.decode(ids, skip_special_tokens=True) == round_trip(text)
    pieces = tiny.tokenize(text)
    assert tiny.convert_tokens_to_ids(pieces) == ids[2:]
    assert tiny.convert_ids_to_tokens(ids[2:]) == pieces
    assert tiny.convert_tokens_to_string(pieces) == round_trip(text)


@given(st.lists(texts, min_size=1, max_size=4))
@example(["", "a"])
def test_ids_equal_those_of_the_pieces(tiny, many):
    # transformers' own tokenizers look ids up piece by piece.
    slow = [tiny.convert_tokens_to_ids(tiny.tokenize(text)) for text in many]
    assert [tiny.encode(text, add_special_tokens=False) for text in many] == slow
    assert tiny(many, add_special_tokens=False)["input_ids"] == slow
    joined = [first + second for first, second in zip(slow, slow[::-1], strict=True)]
    assert [ids[2:-1] for ids in tiny(many, many[::-1])["input_ids"]] == joined
    assert [tiny.encode(*pair)[2:-1] for pair in zip(many, many[::-1], strict=True)] == joined


@given(texts, st.booleans(), st.booleans(), st.booleans())
@example("[gMASK]", False, False, False)
@example("</s>", False, False, False)
@example("<unk>", True, False, False)
@example("sop", False, True, True)
def test_text_is_never_special(tiny, text, split, words, sanitize):
    special = {tiny.get_command(token) for token in SPECIAL}
    sequence = text.split() if words else text
    encoded = tiny(sequence, is_split_into_words=words, split_special_tokens=split) if sequence else tiny("")
    prefix, ids = encoded["input_ids"][:2], encoded["input_ids"][2:]
    assert prefix == tiny.get_prefix_tokens()
    assert special.isdisjoint(ids)
    assert special.isdisjoint(tiny.encode(text, add_special_tokens=False, split_special_tokens=split))
    assert special.isdisjoint(tiny._encode_without_added_tokens(text))
    chat = tiny.apply_chat_template(
        messages_of(text, [(text, text)]), return_dict=False, sanitize_control_tokens=sanitize
    )
    assert chat[:2] == tiny.get_prefix_tokens()
    assert special.isdisjoint(chat[2:])


@given(st.lists(texts, min_size=1, max_size=4), st.sampled_from(["left", "right"]), st.sampled_from([None, 8]))
def test_batch_equals_its_texts_one_by_one(tiny, batch, side, multiple):
    encoded = tiny(batch, padding=True, padding_side=side, pad_to_multiple_of=multiple)
    padded_later = tiny.pad([tiny(text) for text in batch], padding_side=side, pad_to_multiple_of=multiple)
    assert dict(encoded) == dict(padded_later)
    width = len(encoded["input_ids"][0])
    assert multiple is None or width % multiple == 0
    for row, text in enumerate(batch):
        alone = tiny(text)
        pads = [0] * (width - len(alone["input_ids"]))
        for name in tiny.model_input_names:
            assert encoded[name][row] == (pads + alone[name] if side == "left" else alone[name] + pads)


def test_positions_of_an_already_padded_row(tiny):
    row = {"input_ids": [0, 0, 5, 6, 0], "attention_mask": [0, 0, 1, 1, 0]}
    padded = tiny.pad(row, padding="max_length", max_length=6)
    assert padded["position_ids"] == [0, 0, 0, 0, 1, 0]
    row = {"input_ids": [5, 6], "position_ids": [7, 8]}
    assert tiny.pad(row, padding="max_length", max_length=3)["position_ids"] == [0, 7, 8]
    assert "attention_mask" not in tiny("a", padding="max_length", max_length=9, return_attention_mask=False)
    assert tiny.pad({"input_ids": []})["input_ids"] == []


@given(texts, st.integers(0, 12), st.sampled_from(["left", "right"]))
def test_truncation_keeps_the_special_tokens(tiny, text, room, side):
    cutter = copy.copy(tiny)
    cutter.truncation_side = side
    ids = tiny.encode(text, add_special_tokens=False)
    kept = ids[:room] if side == "right" else ids[max(0, len(ids) - room) :]
    assert cutter.encode(text, truncation=True, max_length=2 + room) == tiny.get_prefix_tokens() + kept


@given(texts, texts)
def test_ids_and_masks_of_pairs(tiny, first, second):
    encoded = tiny(first, second, return_special_tokens_mask=True, return_token_type_ids=True)
    one, two = tiny.encode(first, add_special_tokens=False), tiny.encode(second, add_special_tokens=False)
    assert encoded["input_ids"] == [*tiny.get_prefix_tokens(), *one, *two, tiny.eos_token_id]
    assert encoded["special_tokens_mask"] == [1, 1, *[0] * len(one + two), 1]
    assert encoded["token_type_ids"] == [0] * (2 + len(one)) + [1] * (len(two) + 1)
    mask = tiny.get_special_tokens_mask(encoded["input_ids"], already_has_special_tokens=True)
    assert mask == encoded["special_tokens_mask"]
    assert tiny(first, return_special_tokens_mask=True)["special_tokens_mask"] == [1, 1, *[0] * len(one)]


@given(texts)
@example("龘靐齉 🧬🔬💊 and 𠮷𡈽")
@example("a list:\n - first\n\n  - second\n")
def test_streamed_text_equals_the_decoded_text(tiny, text):
    ids = tiny.encode(text, add_special_tokens=False)
    streamer = Pieces(tiny)
    stream(streamer, ids)
    assert "".join(streamer.pieces) == without_blanks_after_lines(tiny.decode(ids))
    if "\ufffd" not in text:
        assert all("\ufffd" not in piece for piece in streamer.pieces)
    iterator = TextIteratorStreamer(tiny, skip_special_tokens=True)
    stream(iterator, [*ids, tiny.eos_token_id])
    assert "".join(iterator) == without_blanks_after_lines(tiny.decode(ids))


def test_vocabulary(tiny):
    assert len(tiny) == tiny.vocab_size == len(tiny.get_vocab()) == 405
    ids = list(range(405))
    assert tiny.convert_tokens_to_ids(tiny.convert_ids_to_tokens(ids)) == ids
    assert tiny.all_special_tokens == ["<s>", "</s>", "<unk>", "[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"]
    assert tiny.all_special_ids == [1, 2, 0, 400, 401, 402, 403, 404]
    assert tiny.convert_tokens_to_ids("not a piece") == tiny.unk_token_id == 0
    assert tiny.convert_ids_to_tokens([1, 300, 403], skip_special_tokens=True) == [tiny.convert_ids_to_tokens(300)]
    assert tiny.num_special_tokens_to_add() == 2
    assert tiny.num_special_tokens_to_add(pair=True) == 3
    with pytest.raises(ValueError, match=re.escape('"<|user|>" is not a special token. There are <unk>, <s>')):
        tiny.get_command("<|user|>")


def test_vocabulary_cannot_be_extended(tiny):
    assert tiny.add_tokens(["</s>", "[gMASK]"]) == 0
    assert tiny.add_special_tokens({"pad_token": "<unk>"}) == 0
    with pytest.raises(ValueError, match=re.escape('no token "<|user|>", and its vocabulary cannot be extended')):
        tiny.add_tokens(["<|user|>"])
    assert tiny.added_tokens_decoder == {}


def test_saving_and_loading(tiny, tmp_path):
    text = "the heart 心脏 [gMASK] 🧬\n"
    files = tiny.save_pretrained(tmp_path)
    assert {Path(file).name for file in files if Path(file).exists()} == {
        "tokenizer_config.json",
        "chat_template.jinja",
        "tokenizer.model",
    }
    again = ChatGLMTokenizer.from_pretrained(tmp_path)
    for other in (again, pickle.loads(pickle.dumps(tiny)), copy.deepcopy(tiny)):
        assert dict(other(text)) == dict(tiny(text))
        assert other.get_vocab() == tiny.get_vocab()
        assert other.all_special_ids == tiny.all_special_ids
        assert other.chat_template == tiny.chat_template
        assert (other.padding_side, other.model_input_names) == (tiny.padding_side, tiny.model_input_names)
    again_folder = tmp_path / "again"
    again.save_pretrained(again_folder)
    for name in ("chat_template.jinja", "tokenizer.model"):
        assert (again_folder / name).read_bytes() == (tmp_path / name).read_bytes()
    first, second = (json.loads((folder / "tokenizer_config.json").read_text()) for folder in (tmp_path, again_folder))
    assert second | first == second  # transformers adds settings of the loading
    (prefixed,) = tiny.save_vocabulary(tmp_path, "mine")
    assert Path(prefixed).name == "mine-tokenizer.model"
    assert ChatGLMTokenizer(prefixed).encode(text) == tiny.encode(text)


def test_settings_saved_by_other_versions(tiny, sentencepiece_file, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_file.read_bytes())
    config = {
        "name_or_path": "THUDM/chatglm2-6b",
        "remove_space": False,
        "do_lower_case": False,
        "tokenizer_class": "ChatGLMTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]},
        "additional_special_tokens": [],
        "added_tokens_decoder": {"401": {"content": "[gMASK]", "special": True}, "403": {"content": "sop"}},
        "padding_side": "right",
        "chat_template": "{{ messages[0]['content'] }}",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = ChatGLMTokenizer.from_pretrained(tmp_path)
    assert loaded.encode("sop") == tiny.encode("sop")
    assert loaded.padding_side == "right"
    assert loaded.apply_chat_template([{"role": "user", "content": "Q"}], tokenize=False) == "Q"
    loaded.save_pretrained(tmp_path)
    assert "auto_map" not in json.loads((tmp_path / "tokenizer_config.json").read_text())

    config["added_tokens_decoder"] = {"405": {"content": "<|user|>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=re.escape('the saved tokenizer has token "<|user|>" with id 405')):
        ChatGLMTokenizer.from_pretrained(tmp_path)


def test_missing_and_invalid_files_are_reported(tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer\.model is missing"):
        ChatGLMTokenizer()
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.model is missing"):
        ChatGLMTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=r"tokenizer\.model cannot be read as a SentencePiece model"):
        ChatGLMTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match='has a piece "sop", which is also a special token of ChatGLM2'):
        ChatGLMTokenizer(train(tmp_path, user_defined_symbols=["sop"]))


def test_half_a_surrogate_pair_is_reported(tiny):
    for call in (tiny.tokenize, tiny.encode, lambda text: tiny(["a", text])):
        with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
            call("a\ud83d")


# Chat


def test_chat_template(tiny):
    user, assistant = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}

    def render(*messages, **options):
        return tiny.apply_chat_template(list(messages), tokenize=False, **options)

    assert render(user, add_generation_prompt=True) == "[Round 1]\n\n问：Q\n\n答：" == tiny.build_prompt("Q")
    assert render(user) == "[Round 1]\n\n问：Q\n\n"
    # A complete round is its prompt and the answer, as in training.
    assert render(user, assistant) == "[Round 1]\n\n问：Q\n\n答：A"
    assert render(user, assistant, continue_final_message=True) == "[Round 1]\n\n问：Q\n\n答：A"
    both = "[Round 1]\n\n问：Q\n\n答：A\n\n[Round 2]\n\n问：Q\n\n答："
    assert render(user, assistant, user, add_generation_prompt=True) == both == tiny.build_prompt("Q", [("Q", "A")])


def test_unsupported_chats_are_reported(tiny):
    user, assistant = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
    system = {"role": "system", "content": "Be brief."}
    for messages, problem in [
        ([system, user], "ChatGLM2 has no system messages. Put the instruction into the first question."),
        ([assistant], 'in turn, but message 1 is of role "assistant".'),
        ([user, user], 'in turn, but message 2 is of role "user".'),
        ([user, assistant, {"role": "tool", "content": "x"}], 'in turn, but message 3 is of role "tool".'),
        ([user, assistant], "There is no question to answer: the last message is an answer."),
        ([{"role": "user", "content": [{"type": "text", "text": "Q"}]}], "The content of message 1 is not text."),
        ([{"role": "user"}], "The content of message 1 is not text."),
    ]:
        with pytest.raises(TemplateError, match=re.escape(problem)):
            tiny.apply_chat_template(messages, add_generation_prompt=True)
    with pytest.raises(ValueError, match="does not support return_assistant_tokens_mask"):
        tiny.apply_chat_template([user], return_assistant_tokens_mask=True)


def test_chat_template_accepts_settings_of_a_call(tiny):
    messages = messages_of("the heart of man")
    ids = tiny.apply_chat_template(messages, return_dict=False)
    assert tiny.apply_chat_template(messages, truncation=True, max_length=7, return_dict=False) == ids[:7]
    bare = tiny.apply_chat_template(messages, return_dict=False, tokenizer_kwargs={"add_special_tokens": False})
    assert bare == ids[2:]
    tensors = tiny.apply_chat_template(messages, return_tensors="pt", padding="max_length", max_length=99)
    assert tensors["input_ids"].shape == tensors["position_ids"].shape == (1, 99)


@given(texts, texts, st.lists(st.tuples(texts, texts), max_size=2).map(tuple))
def test_encoded_prompts_equal_chats(tiny, document, question, history):
    chat = tiny.apply_chat_template(
        messages_of(document + question, history), add_generation_prompt=True, return_dict=False
    )
    encode = encoder(tiny)
    assert encode.encode(Prompt("", document, question, history)).ids == chat
    assert encode.encode_text(document) == tiny.encode(document, add_special_tokens=False)
    assert encode.end_id == 2


def test_a_system_message_stands_before_the_first_question(tiny):
    encode = encoder(tiny)
    history = (("Who?", "Me."),)
    assert encode.encode(Prompt("", "D", "Q", history, "Be brief.")) == encode.encode(
        Prompt("", "D", "Q", (("Be brief.\n\nWho?", "Me."),))
    )
    assert (
        encode.encode(Prompt("", "D", "Q", (), "Be brief.")).ids == encode.encode(Prompt("", "Be brief.\n\nDQ", "")).ids
    )


def test_prompts_without_a_chat_template(tiny):
    ids = encoder(tiny, chat=False).encode(Prompt("", "D sop", "\n\nQ", (("a", "b"),))).ids
    assert ids == tiny.encode("a\nb\n\nD sop\n\nQ\n")
