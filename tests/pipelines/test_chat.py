import pytest
import torch

from papertune.errors import ModelError, PapertuneWarning
from papertune.methods import build_trainable
from papertune.pipelines.chat import Conversation
from papertune.recipe import PtuningV2Method, load_recipe


@pytest.fixture
def saying(own_tiny_model, tiny_tokenizer, generates_ids):
    """Return a function that makes a conversation with a model that generates some ids."""

    def make(ids, **options):
        own_tiny_model.lm_head.register_forward_hook(generates_ids([*ids, tiny_tokenizer.eos_token_id]))
        return Conversation(own_tiny_model, tiny_tokenizer, **options)

    return make


def test_the_answer_equals_that_of_generate(tiny_model, tiny_tokenizer):
    conversation = Conversation(tiny_model, tiny_tokenizer, max_new_tokens=20)
    for question in ("Is it medical?", "And now?"):
        asked = [*conversation.messages, {"role": "user", "content": question}]
        ids = tiny_tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        generated = tiny_model.generate(**ids, do_sample=False, max_new_tokens=20)[0, ids["input_ids"].shape[1] :]
        expected = tiny_tokenizer.decode(generated, skip_special_tokens=True)
        pieces = list(conversation.ask(question))
        assert "".join(pieces) == expected
        assert conversation.messages == [*asked, {"role": "assistant", "content": expected}]


def test_an_answer_comes_piece_by_piece(saying, tiny_tokenizer):
    ids = tiny_tokenizer.encode("heart of")
    conversation = saying(ids)
    assert list(conversation.ask("What?")) == [tiny_tokenizer.decode([token]) for token in ids]


def test_characters_of_several_tokens_come_whole(saying, tiny_tokenizer):
    ids = tiny_tokenizer.encode("漢 é字")
    assert len(ids) > 6
    assert list(saying(ids).ask("What?")) == ["漢", " ", "é", "字"]


def test_an_incomplete_character_is_replaced(saying, tiny_tokenizer):
    ids = [*tiny_tokenizer.encode("a"), *tiny_tokenizer.encode("漢")[:2]]
    conversation = saying(ids)
    pieces = list(conversation.ask("What?"))
    assert pieces[0] == "a"
    assert "".join(pieces) == tiny_tokenizer.decode(ids) == conversation.messages[-1]["content"]
    # Also in the middle of the text.
    ids += tiny_tokenizer.encode("b")
    assert "".join(saying(ids).ask("What?")) == tiny_tokenizer.decode(ids)


def test_blanks_between_words_are_kept(saying, tiny_tokenizer, monkeypatch):
    """In SentencePiece a blank belongs to the next word, and the first word loses it."""
    words = {10: "▁heart", 11: "▁of", 12: "▁", 13: "s", 14: "▁,"}

    def decode(ids, **_):
        return "".join(words[token] for token in ids).replace("▁", " ").removeprefix(" ")

    monkeypatch.setattr(tiny_tokenizer, "decode", decode)
    assert list(saying([10, 11, 12, 13, 14]).ask("What?")) == ["heart", " of", " ", "s", " ,"]


def test_special_tokens_are_left_out(saying, tiny_tokenizer):
    ids = [
        *tiny_tokenizer.encode("a"),
        tiny_tokenizer.convert_tokens_to_ids("<|im_start|>"),
        *tiny_tokenizer.encode("b"),
    ]
    assert list(saying(ids).ask("What?")) == ["a", "b"]


def test_an_empty_answer(saying):
    conversation = saying([])
    assert list(conversation.ask("What?")) == []
    assert conversation.messages[-1] == {"role": "assistant", "content": ""}


def test_an_answer_ends_at_max_new_tokens(saying, tiny_tokenizer):
    (token,) = tiny_tokenizer.encode("a")
    assert "".join(saying([token] * 9, max_new_tokens=4).ask("What?")) == "aaaa"


def test_a_model_without_a_chat_template_gets_plain_text(own_tiny_model, tiny_tokenizer, monkeypatch):
    asked = []
    own_tiny_model.register_forward_pre_hook(lambda _, __, inputs: asked.append(inputs["input_ids"]), with_kwargs=True)
    monkeypatch.setattr(tiny_tokenizer, "chat_template", None)
    list(Conversation(own_tiny_model, tiny_tokenizer, max_new_tokens=1).ask("What?"))
    assert tiny_tokenizer.decode(asked[0][0]) == "What?\n"


def test_the_prompts_are_those_of_the_run(own_tiny_model, tiny_tokenizer):
    asked = []
    own_tiny_model.register_forward_pre_hook(lambda _, __, inputs: asked.append(inputs["input_ids"]), with_kwargs=True)
    columns = {"output": {"kind": "text", "question": "{instruction}"}}
    limits = {"max_prompt_tokens": 40}
    recipe = load_recipe({"chat": False, "encoding": limits, "table": {"document": "{input}"}, "columns": columns})
    conversation = Conversation(own_tiny_model, tiny_tokenizer, max_new_tokens=1, recipe=recipe, system="Be brief.")
    list(conversation.ask("What?"))
    assert tiny_tokenizer.decode(asked[0][0]) == "Be brief.\n\nWhat?\n"
    # A conversation that is too long continues without its beginning.
    for _ in range(30):
        asked.clear()
        list(conversation.ask("And now?"))
    shown = tiny_tokenizer.decode(asked[0][0])
    assert shown.startswith("Be brief.\n\nAnd now?\n")
    assert shown.endswith("\n\nAnd now?\n")
    assert 1 < shown.count("And now?") < 30
    assert len(asked[0][0]) <= 40


def test_a_bare_model_has_its_whole_context(own_tiny_model, tiny_tokenizer):
    asked = []
    own_tiny_model.register_forward_pre_hook(lambda _, __, inputs: asked.append(inputs["input_ids"]), with_kwargs=True)
    list(Conversation(own_tiny_model, tiny_tokenizer, max_new_tokens=1, system="Be brief.").ask("ZZ" * 1500))
    assert "system\nBe brief." in tiny_tokenizer.decode(asked[0][0])
    assert 3000 <= len(asked[0][0]) < 4096


def test_a_model_with_a_prefix_answers(own_tiny_model, tiny_tokenizer):
    bare = "".join(Conversation(own_tiny_model, tiny_tokenizer, max_new_tokens=8).ask("What?"))
    model = build_trainable(own_tiny_model, PtuningV2Method(kind="ptuning_v2", prefix_length=7), seed=0).eval()
    conversation = Conversation(model, tiny_tokenizer, max_new_tokens=8)
    answer = "".join(conversation.ask("What?"))
    ids = tiny_tokenizer.apply_chat_template(
        conversation.messages[:1], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    for _ in range(8):
        with torch.no_grad():
            best = model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, best], dim=1)
    assert answer == tiny_tokenizer.decode(ids[0, -8:], skip_special_tokens=True) != bare


def test_an_answer_that_leaves_no_room_in_the_context_is_refused(tiny_model, tiny_tokenizer):
    with pytest.raises(ModelError) as caught:
        Conversation(tiny_model, tiny_tokenizer, max_new_tokens=4081)
    assert str(caught.value) == (
        "--max-new-tokens is 4,081, but the model reads 4,096 tokens at most, prompt and answer together. Set it to "
        "4,080 or less."
    )


def test_prompts_of_a_run_leave_room_for_the_answer(tiny_model, tiny_tokenizer):
    columns = {"label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}}
    recipe = load_recipe({"model": "tiny", "table": {"document": "{title}"}, "columns": columns})
    with pytest.warns(PapertuneWarning) as caught:
        Conversation(tiny_model, tiny_tokenizer, max_new_tokens=4000, recipe=recipe)
    assert [str(each.message) for each in caught] == [
        "encoding.max_prompt_tokens of the run is 1,024, and an answer takes up to 4,000 tokens more, but tiny reads "
        "4,096 tokens at most: longer prompts are truncated to 96 tokens."
    ]
