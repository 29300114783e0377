import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papertune.decoding.greedy import greedy
from papertune.kinds.keywords.no_repetition import NoRepeatedKeyword


@pytest.fixture(scope="module")
def rule(tiny_tokenizer):
    return NoRepeatedKeyword(tiny_tokenizer, "; ")


fragments = st.lists(
    st.sampled_from(["heart", "he", "ART", "art", " ", "; ", ";", "the ", "Paper", "é", "漢", ".", "s"]), max_size=10
)


@given(fragments.map("".join))
def test_exactly_the_tokens_that_complete_a_repetition_are_forbidden(rule, tiny_tokenizer, text):
    answer = tiny_tokenizer.encode(text)
    forbidden = rule(answer)
    *written, partial = text.casefold().split(";")
    keywords = [keyword.strip() for keyword in written]
    repeated = len(keywords) - len(set(keywords))
    assert (forbidden is None) == (repeated >= 2)
    if forbidden is None:
        return
    for token in range(len(tiny_tokenizer)):
        piece = tiny_tokenizer.decode([token]).casefold()
        if "\ufffd" in piece or not piece.strip() or (piece[0].isspace() and partial.strip()):
            continue  # part of a character; a blank, which completes nothing; new words are tested below
        assert (token in forbidden) == ((partial.lstrip() + piece).lstrip() in keywords), piece


def test_the_next_word_of_a_repetition_is_forbidden(rule, tiny_tokenizer):
    the_heart = tiny_tokenizer.encode("paper the; paper")
    forbidden = {tiny_tokenizer.decode([token]) for token in rule(the_heart)}
    assert forbidden == {" the"}


class Loop:
    """An engine whose model repeats one text; the end token is always its second choice."""

    device = "cpu"

    def __init__(self, tokenizer, texts):
        self.cycles = [tokenizer.encode(text) for text in texts]
        self.size = len(tokenizer)
        self.end = tokenizer.eos_token_id

    def start(self):
        self.written = [0] * len(self.cycles)
        self.active = list(range(len(self.cycles)))
        self.lengths = self.written
        self.update()
        return self

    def update(self):
        self.last_logits = torch.zeros(len(self.active), self.size)
        for index, row in enumerate(self.active):
            cycle = self.cycles[row]
            self.last_logits[index, cycle[self.written[row] % len(cycle)]] = 2
            self.last_logits[index, self.end] = 1

    def select(self, rows):
        self.active = [self.active[index] for index in rows]

    def extend(self, state, suffixes):
        assert len(suffixes) == len(self.active)
        for row in self.active:
            self.written[row] += 1
        self.update()


def test_a_looping_model_does_not_repeat_keywords(rule, tiny_tokenizer):
    texts = ["heart; ", "the heart; Paper;", "HEART; the heart; "]
    engine = Loop(tiny_tokenizer, texts)
    free = greedy(engine, engine.start(), end_ids={engine.end}, max_new_tokens=40)
    for answer, text in zip(free, texts, strict=True):
        assert tiny_tokenizer.decode(answer).count(text) >= 2, "without the rule it repeats keywords"
    ruled = greedy(engine, engine.start(), end_ids={engine.end}, max_new_tokens=40, forbid=rule)
    for answer, text in zip(ruled, texts, strict=True):
        decoded = tiny_tokenizer.decode(answer)
        assert decoded.startswith(text.rstrip("; "))
        keywords = [keyword.strip().casefold() for keyword in decoded.split(";")]
        assert len(set(keywords)) == len(keywords), decoded


def test_a_loop_without_a_forbidden_token_ends(tiny_tokenizer):
    """This keyword ends with part of a character, so no single token completes it."""
    rule = NoRepeatedKeyword(tiny_tokenizer, "; ")
    engine = Loop(tiny_tokenizer, ["漢; "])
    (answer,) = greedy(engine, engine.start(), end_ids={engine.end}, max_new_tokens=100, forbid=rule)
    assert tiny_tokenizer.decode(answer).strip("; ").count("漢") == 3
