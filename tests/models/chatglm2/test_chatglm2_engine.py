"""papertune's decoding engine (right-padded prefill without a mask, suffixes, trees) with ChatGLM2."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.decoding.engine import Engine
from papertune.decoding.greedy import greedy
from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.methods import build_trainable
from papertune.models import use_grouped_attention
from papertune.recipe import PtuningV2Method

pytestmark = pytest.mark.slow

TOLERANCE = {"rtol": 0, "atol": 1e-4}  # float32, logits of size 10
token_ids = st.integers(0, 415)
prompts = st.lists(st.lists(token_ids, min_size=1, max_size=12), min_size=1, max_size=4)
KINDS = {
    "sdpa": ("sdpa", {}, 0),
    "eager": ("eager", {}, 0),
    "grouped": ("grouped", {}, 0),
    "multi-head": ("sdpa", {"multi_query_attention": False}, 0),
    "sdpa, prefix": ("sdpa", {}, 5),
    "eager, prefix": ("eager", {}, 5),
    "grouped, prefix": ("grouped", {}, 5),
    "multi-head, prefix": ("sdpa", {"multi_query_attention": False}, 5),
}


@pytest.fixture(scope="module", params=KINDS)
def model(request, make_chatglm2):
    attention, config, prefix = KINDS[request.param]
    model = make_chatglm2(attention="sdpa" if attention == "grouped" else attention, **config)
    if attention == "grouped":
        use_grouped_attention(model)
        assert model.config._attn_implementation == "papertune_grouped"
    if not prefix:
        return model
    return build_trainable(model, PtuningV2Method(kind="ptuning_v2", prefix_length=prefix), seed=0).eval()


def in_parts(model):
    """Return an engine that usually splits a batch into parts."""
    engine = Engine(model)
    engine._part_tokens = 15
    return engine


def last_logits(model, ids):
    """Return the logits after a single row, without a cache or padding."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


@settings(max_examples=15)
@given(prompts)
def test_batch_equals_its_rows_one_by_one(model, rows):
    engine = in_parts(model)
    expected = torch.stack([last_logits(model, row) for row in rows])
    torch.testing.assert_close(engine.last_logits(rows), expected, **TOLERANCE)
    torch.testing.assert_close(engine.prefill(rows).last_logits, expected, **TOLERANCE)


@settings(max_examples=15)
@given(st.lists(token_ids, min_size=1, max_size=12), prompts)
def test_shared_beginning_of_prompts(model, beginning, rows):
    engine = in_parts(model).after(beginning)
    expected = torch.stack([last_logits(model, beginning + row) for row in rows])
    torch.testing.assert_close(engine.last_logits(rows), expected, **TOLERANCE)
    state = engine.prefill(rows)
    engine.extend(state, [[7, 8]] * len(rows))
    expected = torch.stack([last_logits(model, [*beginning, *row, 7, 8]) for row in rows])
    torch.testing.assert_close(state.last_logits, expected, **TOLERANCE)


@settings(max_examples=15)
@given(st.data(), prompts)
def test_prompts_in_pieces(model, data, rows):
    engine = in_parts(model)
    state = engine.prefill(rows)
    for _ in range(2):
        suffixes = [data.draw(st.lists(token_ids, min_size=1, max_size=5)) for _ in rows]
        engine.extend(state, suffixes)
        rows = [row + suffix for row, suffix in zip(rows, suffixes, strict=True)]
        expected = torch.stack([last_logits(model, row) for row in rows])
        torch.testing.assert_close(state.last_logits, expected, **TOLERANCE)


label_sets = st.lists(
    st.lists(st.integers(3, 6), min_size=1, max_size=4).map(tuple), min_size=2, max_size=6, unique=True
)


@settings(max_examples=15)
@given(prompts, label_sets)
def test_tree_logits_equal_those_of_its_paths(model, rows, labels):
    engine = in_parts(model)
    state = engine.prefill(rows)
    engine.extend(state, [[9]] * len(rows))
    trie = LabelTrie.build([*labels, (7, 7)], 2)
    logits = engine.tree_logits(state, trie.tokens, trie.ancestors(), trie.depths)
    for index, row in enumerate(rows):
        for node in range(len(trie.tokens)):
            path, above = [], node
            while above >= 0:
                path.insert(0, trie.tokens[above])
                above = trie.parents[above]
            torch.testing.assert_close(logits[index, node], last_logits(model, [*row, 9, *path]), **TOLERANCE)


# Random answers rarely end, so one token in five is an end token here.
END_IDS = [2, *range(3, 415, 5)]


@settings(max_examples=15)
@given(prompts, st.integers(1, 8))
def test_greedy_decoding_chooses_the_most_probable_tokens(model, rows, limit):
    engine = in_parts(model)
    answers = greedy(engine, engine.prefill(rows), end_ids=set(END_IDS), max_new_tokens=limit)
    for row, answer in zip(rows, answers, strict=True):
        for place in range(len(answer) + 1):
            best = int(last_logits(model, row + answer[:place]).argmax())
            if place == len(answer):
                assert best in END_IDS or place == limit
            else:
                assert best == answer[place]
