import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papertune.decoding.choosing import Sampling
from papertune.decoding.engine import Engine
from papertune.decoding.streaming import stream
from papertune.errors import ModelError
from papertune.pipelines.chat import Conversation
from papertune.recipe import load_recipe
from papertune.serve.answering.wanted import Dialogue, Ended, WritingWanted
from papertune.serve.answering.writing import StopTexts, Writer

RECIPE = load_recipe({"table": {"document": "{title}"}, "columns": {"answer": {"kind": "text", "question": "What?"}}})


@pytest.fixture
def writer(tiny_model, tiny_tokenizer):
    return Writer(tiny_model, tiny_tokenizer, RECIPE)


def written(writer, wanted):
    *pieces, ended = writer.write(wanted)
    assert isinstance(ended, Ended)
    return "".join(each.text for each in pieces), pieces, ended


def test_a_conversation_is_answered_as_by_papertune_chat(writer, tiny_model, tiny_tokenizer):
    conversation = Conversation(tiny_model, tiny_tokenizer, max_new_tokens=12, recipe=RECIPE, system="Be brief.")
    expected = ["".join(conversation.ask(question)) for question in ("Is it medical?", "And now?")]
    first = Dialogue("Is it medical?", (), "Be brief.")
    assert written(writer, WritingWanted(first, 12))[0] == expected[0]
    then = Dialogue("And now?", (("Is it medical?", expected[0]),), "Be brief.")
    text, _, ended = written(writer, WritingWanted(then, 12))
    assert text == expected[1]
    assert (ended.reason, ended.tokens, ended.warnings) == ("length", 12, [])


def test_a_text_is_continued_as_it_stands(writer, tiny_model, tiny_tokenizer):
    ids = tiny_tokenizer("the effect of", return_tensors="pt", add_special_tokens=False)
    generated = tiny_model.generate(**ids, do_sample=False, max_new_tokens=9)[0, ids["input_ids"].shape[1] :]
    text, _, ended = written(writer, WritingWanted("the effect of", 9))
    assert text == tiny_tokenizer.decode(generated, skip_special_tokens=True)
    assert ended.prompt_tokens == ids["input_ids"].shape[1]


def test_an_empty_text_can_be_continued(writer):
    assert written(writer, WritingWanted("", 3))[2].tokens == 3


def test_a_long_conversation_says_what_is_not_read(writer):
    _, _, ended = written(writer, WritingWanted(Dialogue("ZZ " * 900), 2))
    assert ended.warnings == [
        "the prompt has more than 1,024 tokens: the oldest rounds of the conversation are not read, or only the "
        "beginning of its last message is."
    ]


def test_a_text_that_leaves_no_room_is_refused(writer):
    with pytest.raises(ModelError) as caught:
        list(writer.write(WritingWanted("Z" * 100, 4090)))
    assert str(caught.value) == (
        "the prompt has 100 tokens and max_tokens is 4,090, but the model reads 4,096 tokens at most, prompt and "
        "answer together. Shorten the prompt, or lower max_tokens."
    )


def test_log_probabilities_are_those_of_a_plain_pass(writer, tiny_model, tiny_tokenizer):
    _, pieces, _ = written(writer, WritingWanted("the effect of", 4, alternatives=3))
    ids = tiny_tokenizer("the effect of", add_special_tokens=False)["input_ids"]
    for piece in pieces[:4]:
        with torch.inference_mode():
            logs = tiny_model(torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1)
        best = logs.topk(3)
        assert [log for _, log in piece.token.alternatives] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert piece.token.log_probability == pytest.approx(float(best.values[0]), abs=1e-4)
        ids.append(int(best.indices[0]))


def test_a_seed_draws_the_same_text_again(writer):
    def drawn(seed, **how):
        return written(writer, WritingWanted("the effect", 12, Sampling(1.0, seed=seed, **how)))[0]

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1
    # Only the most probable token is left.
    assert drawn(3, top_p=1e-9) == written(writer, WritingWanted("the effect", 12))[0]


def test_tokens_are_drawn_from_the_most_probable_ones(tiny_model):
    """As a plain way has it: sort, add up, and keep tokens until top_p is reached."""
    engine, prompt, vocabulary = Engine(tiny_model), [5, 6, 7], 350
    drawn = []
    for seed in range(60):
        sampling = Sampling(0.8, 0.3, seed)
        (token,) = stream(
            engine,
            engine.prefill([prompt]),
            end_ids=(),
            max_new_tokens=1,
            vocabulary=vocabulary,
            sampling=sampling,
        )
        drawn.append(token.id)
    with torch.inference_mode():
        logits = tiny_model(torch.tensor([prompt])).logits[0, -1, :vocabulary].double().numpy()
    probabilities = np.exp(logits / 0.8 - (logits / 0.8).max())
    probabilities /= probabilities.sum()
    kept, total = set(), 0.0
    for token in np.argsort(-probabilities):
        if total >= 0.3:
            break
        kept.add(int(token))
        total += probabilities[token]
    assert set(drawn) <= kept
    assert len(set(drawn)) > 1


PIECES = st.lists(st.text("abc", max_size=3), max_size=8)


@given(PIECES, st.lists(st.text("abc", min_size=1, max_size=3), max_size=3))
def test_a_text_ends_before_a_stop_text(pieces, stops):
    stop = StopTexts(stops)
    shown = "".join(map(stop.add, pieces)) + stop.end("")
    # The plain way: look at all of the text after each piece.
    text = ""
    for piece in pieces:
        text += piece
        if found := [text.find(each) for each in stops if each in text]:
            assert stop.is_found
            assert shown == text[: min(found)]
            return
    assert not stop.is_found
    assert shown == text


def test_a_stop_text_ends_the_writing(writer):
    whole, _, _ = written(writer, WritingWanted("the effect of", 30))
    middle = whole[8:10]
    text, _, ended = written(writer, WritingWanted("the effect of", 30, stop=(middle,)))
    assert text == whole[: whole.find(middle)]
    assert ended.reason == "stop"
    assert ended.tokens < 30
