import json
import re
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceTrainer
from transformers import AutoTokenizer

from papertune.decoding.engine import Engine
from papertune.decoding.greedy import greedy
from papertune.decoding.pattern import PatternRule, pattern_grammar
from papertune.errors import MissingExtraError, RecipeError
from papertune.models.chatglm2.tokenization import ChatGLMTokenizer

SENTENCES = ["a trial of aspirin in 120 patients, not stated", "这篇论文研究了肝癌患者", "1998 2005 12.5 %"]


@pytest.fixture(scope="module")
def tokenizers(tiny_tokenizer, tmp_path_factory):
    """Return tokenizers of the three families: byte-level BPE, SentencePiece as a fast tokenizer, and in Python."""
    folder = tmp_path_factory.mktemp("tokenizer")
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=340,
        byte_fallback=True,
        minloglevel=2,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
    fast = AutoTokenizer.from_pretrained(folder)
    assert fast.is_fast
    return {"bytes": tiny_tokenizer, "fast": fast, "python": ChatGLMTokenizer(folder / "tokenizer.model")}


PATTERNS = [
    "[0-9]{2,4}",
    "^(?:yes|no)$",
    "[一-龥]{1,3}",
    r"[a-z]+(?: [a-z]+){0,3}\.",
    r"\p{L}?x",
    "(?i:phase) (?:I{1,3}|IV)",
    ".{3,5}",
    r"\$[1-9]\$",
    "a?",
]


def random_answer(rule, tokenizer, seed, tokens=24):
    """Decode at random among the tokens that a rule allows."""
    generator = torch.Generator().manual_seed(seed)
    answer = []
    while len(answer) < tokens and (forbidden := rule(answer)) is not None:
        logits = torch.rand(len(forbidden), generator=generator)
        logits[forbidden] = -1
        logits[tokenizer.eos_token_id] *= 0.9
        if (token := int(logits.argmax())) == tokenizer.eos_token_id:
            return answer, True
        answer.append(token)
    return answer, False


def text_of(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()


def as_python(pattern):
    return pattern.replace(r"\p{L}", r"[^\W\d_]")


@pytest.mark.parametrize("family", ["bytes", "fast", "python"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_answer_that_ends_matches(tokenizers, family, pattern):
    tokenizer = tokenizers[family]
    rule = PatternRule(pattern, tokenizer, {tokenizer.eos_token_id})
    texts = set()
    for seed in range(40):
        answer, has_ended = random_answer(rule, tokenizer, seed)
        kept = rule.matching(answer)
        text = text_of(tokenizer, kept)
        assert text == "" or re.fullmatch(as_python(pattern), text), text
        if has_ended:
            assert kept == answer
            texts.add(text)
    assert len(texts) > 1


@pytest.mark.parametrize("family", ["bytes", "fast", "python"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.from_regex("[0-9]{1,3}(?: 例患者)?", fullmatch=True))
def test_every_match_can_be_decoded(tokenizers, family, text):
    """As a run learns it: in the tokenizer's own tokens."""
    tokenizer = tokenizers[family]
    rule = PatternRule("[0-9]{1,3}(?: 例患者)?", tokenizer, {tokenizer.eos_token_id})
    ids = tokenizer.encode(text, add_special_tokens=False)
    for place, token in enumerate(ids):
        assert not rule(ids[:place])[token]
    assert not rule(ids)[tokenizer.eos_token_id]
    assert rule.matching(ids) == ids


@pytest.mark.parametrize("family", ["bytes", "fast", "python"])
def test_the_words_for_not_stated_are_allowed_besides(tokenizers, family):
    tokenizer = tokenizers[family]
    rule = PatternRule("^[0-9]$", tokenizer, {tokenizer.eos_token_id}, "not stated (yet).")
    ids = tokenizer.encode("not stated (yet).", add_special_tokens=False)
    assert rule.matching(ids) == ids
    assert all(not rule(ids[:place])[token] for place, token in enumerate(ids))
    assert rule.matching(ids[:-1]) == []


def test_an_answer_that_is_cut_off_is_cut_back_to_its_longest_match(tiny_tokenizer):
    rule = PatternRule("[0-9]{2}(?:-[0-9]{2})*", tiny_tokenizer, {2})
    ids = tiny_tokenizer.encode("12-34-5")
    assert text_of(tiny_tokenizer, rule.matching(ids)) == "12-34"
    assert rule.matching(tiny_tokenizer.encode("1")) == []
    assert rule.matching([]) == []


def test_an_end_token_that_the_tokenizer_lacks_ends_matches_only(tiny_tokenizer):
    rule = PatternRule("[0-9]{2}", tiny_tokenizer, {2, 500})
    one, two = rule(tiny_tokenizer.encode("1")), rule(tiny_tokenizer.encode("12"))
    assert len(one) == len(two) == 501
    assert one[[2, 500]].tolist() == [True, True]
    assert two[[2, 500]].tolist() == [False, False]
    assert two[: len(tiny_tokenizer)].sum() == len(tiny_tokenizer) - 1


@pytest.mark.parametrize("seed", range(3))
def test_greedy_decoding_with_random_weights(make_model, tiny_tokenizer, seed):
    engine = Engine(make_model(seed=seed))
    rule = PatternRule("(?:[0-9]{4}|none)", tiny_tokenizer, {2})
    prompts = [[5 + row, 6, 7 + row] for row in range(8)]
    options = {"end_ids": {2}, "max_new_tokens": 8, "vocabulary": len(tiny_tokenizer)}
    answers = greedy(engine, engine.prefill(prompts), **options, forbid=rule)
    texts = [text_of(tiny_tokenizer, answer) for answer in answers]
    assert all(re.fullmatch("[0-9]{4}|none", text) for text in texts)
    assert len(set(texts)) > 1


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(?=b)", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        (r"\bheart", "lookarounds not supported"),
        ("(^a|b)", "lookarounds not supported"),
        ("(?#remark)a", "unrecognized flag"),
    ],
)
def test_a_pattern_that_cannot_be_used(pattern, reason):
    message = f"the pattern {pattern!r} cannot be used to decode: {reason}. Write it without that."
    with pytest.raises(RecipeError) as error:
        pattern_grammar(pattern)
    assert str(error.value) == message


@pytest.mark.parametrize("pattern", ["^a$", "a", r"^a\$", r"a\\$"])
def test_anchors_at_the_ends_change_nothing(pattern, tiny_tokenizer):
    rule = PatternRule(pattern, tiny_tokenizer, {2})
    for text in ("a", "a$", "^a", "a\\"):
        ids = tiny_tokenizer.encode(text)
        allowed = all(not rule(ids[:place])[token] for place, token in enumerate([*ids, 2]))
        assert allowed is (re.fullmatch(pattern, text) is not None)


def test_without_llguidance_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'papertune[pattern]'")):
        pattern_grammar("a")
