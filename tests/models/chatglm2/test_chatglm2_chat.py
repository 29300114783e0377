"""`chat` and `stream_chat`, which behave like the original's."""

import copy

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer, LogitsProcessor, LogitsProcessorList

from papertune.methods import build_trainable
from papertune.models.chatglm2.chat import ConversationCache
from papertune.recipe import LoraMethod

HISTORY = [("the heart", "aspirin"), ("医学", "是")]


@pytest.fixture(scope="module")
def _loaded(chatglm2_folder):
    return AutoModel.from_pretrained(chatglm2_folder).eval(), AutoTokenizer.from_pretrained(chatglm2_folder)


@pytest.fixture(scope="module")
def model(_loaded):
    return _loaded[0]


@pytest.fixture(scope="module")
def tokenizer(_loaded):
    return _loaded[1]


class ForcedText(LogitsProcessor):
    """Makes the model answer with one text, then end."""

    def __init__(self, tokenizer, prompt, text):
        self.ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        self.start = len(tokenizer.encode(prompt))

    def __call__(self, input_ids, scores):
        assert input_ids.shape[0] == 1
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.ids[input_ids.shape[1] - self.start]] = 0
        return forced


def force(tokenizer, query, text, history=()):
    return LogitsProcessorList([ForcedText(tokenizer, tokenizer.build_prompt(query, history), text)])


def test_prompt_contains_all_rounds(model, tokenizer, monkeypatch):
    seen = []
    generate = type(model).generate
    monkeypatch.setattr(
        type(model), "generate", lambda self, **options: seen.append(options) or generate(self, **options)
    )
    model.chat(tokenizer, "心脏?", history=HISTORY, max_new_tokens=2)
    prompt = (
        "[Round 1]\n\n问：the heart\n\n答：aspirin\n\n[Round 2]\n\n问：医学\n\n答：是\n\n[Round 3]\n\n问：心脏?\n\n答："
    )
    assert seen[0]["input_ids"].tolist() == [tokenizer.encode(prompt)]
    assert seen[0]["input_ids"][0, :2].tolist() == tokenizer.get_prefix_tokens()


def test_sampling_settings_are_those_of_the_original(model, tokenizer, monkeypatch):
    seen = []
    monkeypatch.setattr(type(model), "generate", lambda _, **options: seen.append(options) or options["input_ids"])
    model.chat(tokenizer, "a")
    model.chat(tokenizer, "a", temperature=0.01)
    model.chat(tokenizer, "a", do_sample=False)
    model.chat(tokenizer, "a", max_new_tokens=5)
    names = ("do_sample", "top_p", "temperature", "max_length", "num_beams")
    assert [{name: options[name] for name in names if name in options} for options in seen] == [
        {"do_sample": True, "top_p": 0.8, "temperature": 0.8, "max_length": 8192, "num_beams": 1},
        {"do_sample": True, "top_p": 0.8, "temperature": 0.01, "max_length": 8192, "num_beams": 1},
        # generate would warn about sampling settings without sampling
        {"do_sample": False, "max_length": 8192, "num_beams": 1},
        # and about two limits
        {"do_sample": True, "top_p": 0.8, "temperature": 0.8, "num_beams": 1},
    ]


def test_call_of_the_tutorial(model, tokenizer):
    torch.manual_seed(1)
    before = []
    response, history = model.chat(tokenizer, "the heart", history=before, temperature=0.01, max_length=40)
    assert history == [("the heart", response)]
    assert before == [], "the argument is not modified"
    assert response == response.strip() != ""
    # With so low a temperature nearly every token is the most probable one.
    assert response == model.chat(tokenizer, "the heart", do_sample=False, max_length=40)[0]
    # A second question.
    _, history = model.chat(tokenizer, "again", history=history, temperature=0.01, max_length=80)
    assert [query for query, _ in history] == ["the heart", "again"]


def test_answers_are_cleaned(model, tokenizer):
    text = " \n the heart [[训练时间]] \n"
    for history in ([], HISTORY):
        processor = force(tokenizer, "a", text, history)
        response, after = model.chat(tokenizer, "a", history=history, logits_processor=processor)
        assert response == "the heart 2023年"
        assert after == [*history, ("a", response)]
        *_, last = model.stream_chat(tokenizer, "a", history=history, logits_processor=processor)
        assert last == (response, after)


@pytest.mark.parametrize("history", [None, [], tuple(HISTORY), [list(turn) for turn in HISTORY]])
def test_types_of_history(model, tokenizer, history):
    _, after = model.chat(tokenizer, "a", history=history, do_sample=False, max_new_tokens=2)
    assert after[:-1] == [tuple(turn) for turn in history or ()]


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 40},
        {"max_new_tokens": 8},
        {"max_new_tokens": 8, "repetition_penalty": 1.5, "min_new_tokens": 3, "top_k": 5},
        {"max_new_tokens": 8, "do_sample": False},
        {"max_new_tokens": 8, "use_cache": False},
    ],
)
def test_stream_ends_with_the_result_of_chat(model, tokenizer, options):
    max_pieces = 0
    for seed in range(3):
        torch.manual_seed(seed)
        expected = model.chat(tokenizer, "the heart", **options)
        torch.manual_seed(seed)
        pieces = list(model.stream_chat(tokenizer, "the heart", **options))
        assert pieces[-1] == expected
        max_pieces = max(max_pieces, len(pieces))
        assert all(history == [("the heart", response)] for response, history in pieces)
    assert max_pieces > 3


@pytest.mark.parametrize("text", ["龘靐齉 🧬🔬", "a👍🏽b 论文", "𠮷"])
def test_stream_has_whole_characters_only(model, tokenizer, text):
    assert len(tokenizer.encode(text, add_special_tokens=False)) > len(text), "characters of several tokens"
    processor = force(tokenizer, "a", text)
    responses = [response for response, _ in model.stream_chat(tokenizer, "a", logits_processor=processor)]
    assert responses[-1] == text
    assert all(text.startswith(response) for response in responses)
    assert len(set(responses)) == len(responses) == len(text.replace(" ", ""))


def test_answer_that_ends_within_a_character(model, tokenizer):
    processor = force(tokenizer, "a", "b🧬")
    cut = len(tokenizer.encode("b🧬", add_special_tokens=False)) - 1
    options = {"logits_processor": processor, "max_new_tokens": cut}
    responses = [response for response, _ in model.stream_chat(tokenizer, "a", **options)]
    assert responses[0] == "b"
    assert responses[-1] == model.chat(tokenizer, "a", **options)[0]
    assert responses[-1].startswith("b\ufffd")


def test_empty_answer(model, tokenizer):
    processor = force(tokenizer, "a", "")
    assert model.chat(tokenizer, "a", logits_processor=processor) == ("", [("a", "")])
    assert list(model.stream_chat(tokenizer, "a", logits_processor=processor)) == [("", [("a", "")])]


def test_ids_without_a_token_are_never_sampled(model, tokenizer):
    """They could not be decoded."""
    loud = copy.deepcopy(model)
    with torch.no_grad():
        loud.get_output_embeddings().weight[len(tokenizer) :] *= 1000
    for seed in range(5):
        torch.manual_seed(seed)
        loud.chat(tokenizer, "a", max_new_tokens=5)
        list(loud.stream_chat(tokenizer, "a", max_new_tokens=5))


def test_returned_cache_is_used_in_the_next_round(model, tokenizer, monkeypatch):
    """As in the original's demonstrations, earlier rounds are not read again."""
    read = []
    handle = model.register_forward_pre_hook(
        lambda _, __, inputs: read.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        history, conversation, plain = [], None, []
        for query in ("the heart", "医学 in patients", "again"):
            options = {"max_new_tokens": 6, "do_sample": False}
            expected = list(model.stream_chat(tokenizer, query, history=plain, **options))
            plain = expected[-1][1]
            read.clear()
            pieces = list(
                model.stream_chat(
                    tokenizer,
                    query,
                    history=history,
                    past_key_values=conversation,
                    return_past_key_values=True,
                    **options,
                )
            )
            assert [piece[:2] for piece in pieces] == expected
            prompt = len(tokenizer.encode(tokenizer.build_prompt(query, history)))
            assert read[1:] == [1] * (len(read) - 1)
            assert read[0] == prompt if conversation is None else read[0] < 0.8 * prompt
            _, history, conversation = pieces[-1]
            assert isinstance(conversation, ConversationCache)
            assert len(conversation.ids) == conversation.cache.get_seq_length() == prompt + len(read) - 1
    finally:
        handle.remove()


def test_cache_of_another_conversation(model, tokenizer):
    """Tokens that do not agree are removed from the cache."""
    options = {"max_new_tokens": 4, "do_sample": False}
    *_, (_, _, conversation) = model.stream_chat(tokenizer, "the heart", return_past_key_values=True, **options)
    found = list(model.stream_chat(tokenizer, "networks", past_key_values=conversation, **options))
    assert found == list(model.stream_chat(tokenizer, "networks", **options))
    # With the same question every token is in the cache; the last one is read again for its logits.
    *_, (_, _, conversation) = model.stream_chat(tokenizer, "the heart", return_past_key_values=True, **options)
    read = []
    handle = model.register_forward_pre_hook(
        lambda _, __, inputs: read.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        found = list(model.stream_chat(tokenizer, "the heart", past_key_values=conversation, **options))
    finally:
        handle.remove()
    assert read == [1] * 4
    assert found == list(model.stream_chat(tokenizer, "the heart", **options))


def test_stream_without_gradients_can_be_interrupted(model, tokenizer):
    """Gradients are disabled inside of the stream, but not for the code that consumes it."""
    inside = []
    handle = model.register_forward_hook(lambda *_: inside.append(torch.is_grad_enabled()))
    try:
        for _ in model.stream_chat(tokenizer, "a", max_new_tokens=50, do_sample=False):
            assert torch.is_grad_enabled()
            break
    finally:
        handle.remove()
    assert not any(inside)
    assert 0 < len(inside) < 50
    assert torch.is_grad_enabled()


def test_chat_with_a_lora_adapter(model, tokenizer):
    adapted = build_trainable(copy.deepcopy(model), LoraMethod(rank=2, targets=("query_key_value",)), seed=0).eval()
    assert isinstance(adapted, PeftModel)
    options = {"do_sample": False, "max_new_tokens": 6}
    assert adapted.chat(tokenizer, "a", history=[], **options) == model.chat(tokenizer, "a", history=[], **options)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    assert adapted.chat(tokenizer, "a", **options) != model.chat(tokenizer, "a", **options)
    *_, last = adapted.stream_chat(tokenizer, "a", **options)
    assert last == adapted.chat(tokenizer, "a", **options)
