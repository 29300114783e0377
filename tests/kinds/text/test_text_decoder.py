import math
import re

import pytest
import torch

from papertune import ModelError
from papertune.decoding.engine import Engine
from papertune.decoding.pattern import PatternRule
from papertune.kinds import TextColumn
from papertune.kinds.decoder import DecodingTools
from papertune.kinds.text.cells import read_answer
from papertune.prompts import PromptEncoder
from papertune.recipe import EncodingSpec

PROMPTS = [[5, 6, 7], [8, 9], [12, 13, 14, 15], [40, 41]]
# Random answers rarely end, so one token in seven ends them here.
END_IDS = [2, *range(3, 400, 7)]


@pytest.fixture
def decode(tiny_tokenizer, tiny_model):
    """Return a function that decodes the prompts with a column's settings; it returns texts and confidences."""

    def run(model=tiny_model, ends=END_IDS, **settings):
        column = TextColumn(kind="text", question="What?", **settings)
        encoder = PromptEncoder(tiny_tokenizer, EncodingSpec())
        decoder = column.decoder("finding", DecodingTools(encoder, tiny_tokenizer, ends, "{abstract}"))
        engine = Engine(model)
        answers = decoder.answer(engine, engine.prefill(PROMPTS), [""] * len(PROMPTS), 1000)
        return [read_answer(decoder.value(answer)) for answer in answers]

    return run


def generated(model, tokenizer, prompt, limit, **options):
    """Generate with transformers; return the text, whether it has ended, and the tokens with the end."""
    ids = torch.tensor([prompt])
    answer = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=limit,
        eos_token_id=END_IDS,
        pad_token_id=0,
        **options,
    )[0, len(prompt) :].tolist()
    end = next((place for place, token in enumerate(answer) if token in END_IDS), None)
    text = tokenizer.decode(answer[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text, end is not None, answer if end is None else answer[: end + 1]


def slow_confidence(model, prompt, answer, has_ended):
    """Return the geometric mean of the tokens' probabilities, from one pass without cache; all end tokens count."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1].double()
    probabilities = logits.softmax(dim=-1)
    found = [float(row[token]) for row, token in zip(probabilities, answer, strict=True)]
    if has_ended:
        found[-1] = float(probabilities[-1, END_IDS].sum())
    return math.prod(found) ** (1 / len(found))


@pytest.mark.parametrize("limit", [1, 3, 16])
def test_greedy_answers_are_those_of_transformers(decode, tiny_model, tiny_tokenizer, limit):
    ends = set()
    for prompt, (text, confidence) in zip(PROMPTS, decode(max_new_tokens=limit), strict=True):
        expected, has_ended, answer = generated(tiny_model, tiny_tokenizer, prompt, limit)
        ends.add(has_ended)
        assert text == expected
        assert confidence == pytest.approx(slow_confidence(tiny_model, prompt, answer, has_ended), abs=1e-4)
    assert limit < 16 or True in ends


def test_beam_search_is_no_less_confident_than_greedy_decoding(decode):
    greedy = decode(max_new_tokens=8)
    beams = decode(max_new_tokens=8, decoding="beams", beams=8)
    assert all(best[1] >= one[1] - 1e-6 for best, one in zip(beams, greedy, strict=True))
    assert [text for text, _ in beams] != [text for text, _ in greedy]
    one_beam = decode(max_new_tokens=8, decoding="beams", beams=1)
    assert all(0 < confidence <= 1 for _, confidence in one_beam)


@pytest.mark.parametrize("decoding", ["greedy", "beams"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("pattern", "limit"), [("[0-9]{4}", 6), ("(?:yes|no), [a-z ]{2,9}\\.", 24), ("[a-z]{1,5}(?:-[a-z]{1,5})*", 3)]
)
def test_answers_match_the_pattern_with_random_weights(decode, make_model, decoding, seed, pattern, limit):
    answers = decode(make_model(seed=seed), ends=[2], decoding=decoding, pattern=pattern, max_new_tokens=limit)
    for text, confidence in answers:
        assert re.fullmatch(pattern, text.strip())
        assert 0 < confidence < 1
    assert len({text for text, _ in answers}) > 1


@pytest.mark.parametrize("decoding", ["greedy", "beams"])
def test_without_room_for_a_match_the_answer_is_empty(decode, decoding):
    answers = decode(ends=[2], decoding=decoding, pattern="[0-9]{9}x{30}", max_new_tokens=4)
    assert answers == [("", 0.0)] * len(PROMPTS)


def test_the_words_for_not_stated_are_allowed_besides_the_pattern(decode, monkeypatch):
    seen = []
    start = PatternRule.__init__

    def kept(rule, *arguments):
        seen.append(arguments)
        start(rule, *arguments)

    monkeypatch.setattr(PatternRule, "__init__", kept)
    answers = decode(ends=[2], pattern="[0-9]", empty=" not stated ", max_new_tokens=6)
    assert seen[0][0] == "[0-9]"
    assert seen[0][-1] == "not stated"
    assert all(re.fullmatch("[0-9]|not stated|", text.strip()) for text, _ in answers)


@pytest.mark.parametrize("decoding", ["greedy", "beams"])
def test_numbers_that_overflow_are_an_error(decode, own_tiny_model, decoding):
    with torch.no_grad():
        own_tiny_model.lm_head.weight[7] = torch.nan
    with pytest.raises(ModelError, match='probabilities for "finding" are not numbers'):
        decode(own_tiny_model, decoding=decoding)
