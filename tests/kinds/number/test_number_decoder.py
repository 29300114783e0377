"""Decoded numbers: those of a slow twin, always in the range, whatever the tokenizer and the weights are."""

import json
import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from papertune.decoding.engine import Engine
from papertune.errors import ModelError
from papertune.kinds import NumberColumn
from papertune.kinds.decoder import DecodingTools
from papertune.kinds.number.decoder import NumberDecoder, NumberTokens
from papertune.prompts import PromptEncoder
from papertune.recipe import EncodingSpec

TEXTS = [
    "12 patients and 120 mice",
    "0.5 0.25 -1.5 100 1000 120.5",
    "not stated: none of the 12",
    "-12 -0.5 12.0 1,000",
]


def make_tokenizer(kind):
    """Make a tokenizer with tokens of several digits; "metaspace" puts a blank before every text, as Llama's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    alphabet = sorted(set("".join(TEXTS)) | set("0123456789"))
    if kind == "bytes":
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    else:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        bpe.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + 60,
        special_tokens=["<end>", "<stop>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>", clean_up_tokenization_spaces=False)


@pytest.fixture(scope="module", params=["bytes", "metaspace"])
def tokenizer(request):
    return make_tokenizer(request.param)


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return PromptEncoder(tokenizer, EncodingSpec(), chat=False)


def make_model(tokenizer, seed=0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 3,  # some models have more ids than their tokenizer
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.7,
    )
    return LlamaForCausalLM(config).eval()


def make_column(**settings):
    return NumberColumn(kind="number", question="How many?", **settings)


def decode(model, tokenizer, encoder, column, prompts, ends=(0,)):
    decoder = NumberDecoder("size", column, DecodingTools(encoder, tokenizer, ends, "{title}"))
    engine = Engine(model)
    return [json.loads(value) for value in decoder.answer(engine, engine.prefill(prompts), [""] * len(prompts), 100)]


@torch.inference_mode()
def decode_slowly(model, tokenizer, encoder, column, prompt, ends=(0,)):
    """Decode one row without a cache, trying every token of the vocabulary."""
    ids, total = [], 0.0
    empty = encoder.encode_text(column.empty)
    while True:
        allowed = {}
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, -1]
        for token in range(len(tokenizer)):
            text = tokenizer.decode([*ids, token])
            is_number = token not in ends and column.grammar.can_begin(text) and (text or not ids)
            if is_number and (text != tokenizer.decode(ids) or not ids):
                allowed[token] = text
        if column.empty and empty[: len(ids)] == ids and len(ids) < len(empty):
            allowed[empty[len(ids)]] = None
        written = tokenizer.decode(ids)
        complete = column.grammar.is_complete(written) or (column.empty != "" and ids == empty)
        places = [*allowed, *(ends if complete else [])]
        likely = logits[places].float().softmax(dim=0)
        end = float(likely[len(allowed) :].sum())
        best = max(range(len(allowed)), key=lambda place: float(likely[place]), default=None)
        if best is None or end >= float(likely[best]):
            return ["" if ids == empty and column.empty else written, math.exp(total) * end]
        ids.append(places[best])
        total += math.log(float(likely[best]))


COLUMNS = [
    {},
    {"empty": ""},
    {"minimum": 1, "maximum": 5000, "integer": True},
    {"minimum": 0, "maximum": 1, "empty": ""},
    {"minimum": -2.5, "maximum": -0.25},
    {"minimum": 12, "maximum": 12},
    {"minimum": 100, "integer": True, "empty": "none of the 12"},
    {"maximum": -3, "integer": True, "empty": ""},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", COLUMNS, ids=str)
@pytest.mark.parametrize("ends", [(0,), (0, 1)])
def test_a_batch_is_decoded_as_a_slow_twin_decodes_each_row(tokenizer, encoder, settings, ends):
    column = make_column(**settings)
    found = set()
    for seed in range(3):
        model = make_model(tokenizer, seed)
        prompts = [encoder.encode_text(text)[: 3 + row] for row, text in enumerate(TEXTS)]
        answers = decode(model, tokenizer, encoder, column, prompts, ends)
        for prompt, (text, confidence) in zip(prompts, answers, strict=True):
            assert (text == "" and column.empty) or column.grammar.is_complete(text)
            slow, slow_confidence = decode_slowly(model, tokenizer, encoder, column, prompt, ends)
            assert text == slow
            assert confidence == pytest.approx(slow_confidence, rel=1e-3)
            assert len(encoder.encode_text(text)) < column.max_answer_tokens(encoder)
            found.add(text)
    if settings.get("minimum", 0) != settings.get("maximum", 1):
        assert len(found) > 1


def test_the_probabilities_of_all_answers_add_up_to_one(tokenizer, encoder):
    """Of a column with few answers: forced through one token at a time."""
    column = make_column(minimum=8, maximum=12, integer=True)
    tokens = NumberTokens(tokenizer, encoder, column.grammar, column.empty)
    model = make_model(tokenizer)
    prompt = encoder.encode_text(TEXTS[0])
    found = {}

    @torch.inference_mode()
    def follow(written, ids, probability):
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, -1]
        following = tokens.may_follow(written)
        answer = tokens.answer(written)
        places = [*following, *([0] if answer is not None else [])]
        likely = logits[places].softmax(dim=0).tolist()
        if answer is not None:
            found[answer] = found.get(answer, 0) + probability * likely[-1]
        for (token, after), share in zip(following.items(), likely, strict=False):
            follow(after, [*ids, token], probability * share)

    follow(tokens.start, [], 1.0)
    assert set(found) == {"", "8", "9", "10", "11", "12"}
    assert sum(found.values()) == pytest.approx(1)


def test_every_answer_of_a_training_row_can_be_decoded(tokenizer, encoder):
    """The tokens of an encoded answer may follow each other."""
    column = make_column(minimum=-200, maximum=2000)
    tokens = NumberTokens(tokenizer, encoder, column.grammar, column.empty)
    for answer in ("0", "7", "12", "120", "1000", "120.5", "-1.5", "-0.25", "1999.125", "not stated"):
        written = tokens.start
        *ids, end = column.encode_answers(answer, encoder)[0]
        for token in ids:
            assert token in tokens.may_follow(written), (answer, tokenizer.decode(ids))
            written = tokens.may_follow(written)[token]
        assert end == encoder.end_id
        assert tokens.answer(written) == ("" if answer == "not stated" else answer)


def test_damaged_weights_are_an_error(tokenizer, encoder):
    model = make_model(tokenizer)
    with torch.no_grad():
        model.lm_head.weight[5:] = float("nan")
    with pytest.raises(ModelError, match='probabilities for "size" are not numbers'):
        decode(model, tokenizer, encoder, make_column(), [[2, 3]])


def test_the_next_tokens_of_few_beginnings_are_kept(tokenizer, encoder, monkeypatch):
    monkeypatch.setattr("papertune.kinds.number.decoder._MAX_KEPT", 2)
    column = make_column(minimum=1, maximum=5000, integer=True)
    prompts = [encoder.encode_text(text)[: 3 + row] for row, text in enumerate(TEXTS)]
    forgetful = decode(make_model(tokenizer), tokenizer, encoder, column, prompts)
    monkeypatch.undo()
    assert forgetful == decode(make_model(tokenizer), tokenizer, encoder, column, prompts)


@pytest.mark.parametrize(("missing", "settings"), [("0", {}), ("-", {"maximum": -1}), (".", {"minimum": 0})])
def test_a_tokenizer_without_a_digit_or_mark_is_refused(missing, settings):
    from tokenizers import Tokenizer, decoders, models

    words = {word: token for token, word in enumerate(["<end>", *"123456789-.0".replace(missing, "")])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", clean_up_tokenization_spaces=False)
    encoder = PromptEncoder(fast, EncodingSpec(), chat=False)
    with pytest.raises(ModelError, match=f'the tokenizer has no token for "{missing}", so numbers cannot be'):
        NumberTokens(fast, encoder, make_column(**settings).grammar, "")
