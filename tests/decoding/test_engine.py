import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from papertune.decoding.engine import Engine
from papertune.decoding.greedy import greedy
from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.methods import build_trainable
from papertune.models import use_grouped_attention
from papertune.recipe import PtuningV2Method

TOLERANCE = {"rtol": 0, "atol": 1e-4}  # float32, logits of size 10
token_ids = st.integers(3, 399)
prompts = st.lists(st.lists(token_ids, min_size=1, max_size=12), min_size=1, max_size=4)


def full_logits(model, ids):
    """Return the logits of one row from a separate pass without cache and padding; shape (seq, vocab)."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def cached(state):
    """Return a copy of all keys and values."""
    return [(layer.keys.clone(), layer.values.clone()) for layer in state.cache.layers]


def assert_same_state(state, before):
    cache, visible, lengths, logits = before
    for (keys, values), (old_keys, old_values) in zip(cached(state), cache, strict=True):
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)
    assert torch.equal(state.visible, visible)
    assert torch.equal(state.lengths, lengths)
    assert torch.equal(state.last_logits, logits)


def snapshot(state):
    return cached(state), state.visible.clone(), state.lengths.clone(), state.last_logits.clone()


# Layers with a window of 8 tokens: all of Mistral, every second one of Gemma.
SLIDING = {
    "vocab_size": 401,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "initializer_range": 0.5,
    "sliding_window": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


class TextFirst(LlamaForCausalLM):
    """Counts positions of the text from 0 although a prefix precedes it, like ChatGLM2."""

    prefix_takes_positions = False


def make_engine_model(name, make_model):
    if name == "mistral":
        return MistralForCausalLM(MistralConfig(**SLIDING)).eval()
    if name == "gemma":
        layers = ["sliding_attention", "full_attention"]
        return Gemma3ForCausalLM(Gemma3TextConfig(**SLIDING, layer_types=layers)).eval()
    model = make_model()
    if name == "grouped":
        use_grouped_attention(model)
        return model
    if name == "text first":
        return TextFirst(model.config).eval()
    model.set_attn_implementation(name)
    return model


def with_prefix(model, length):
    method = PtuningV2Method(kind="ptuning_v2", prefix_length=length)
    return build_trainable(model, method, seed=0).eval()


# Some with a prefix, which may be longer than the windows.
MODELS = {
    **{name: (name, 0) for name in ("sdpa", "eager", "grouped", "mistral", "gemma")},
    **{f"{name}, prefix": (name, 5) for name in ("sdpa", "eager", "grouped", "text first", "mistral", "gemma")},
    **{f"{name}, long prefix": (name, 11) for name in ("mistral", "gemma")},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request, make_model):
    name, length = MODELS[request.param]
    model = make_engine_model(name, make_model)
    return with_prefix(model, length) if length else model


def in_parts(model):
    """Return an engine that usually splits a batch."""
    engine = Engine(model)
    engine._part_tokens = 15
    return engine


@settings(max_examples=15)
@given(prompts)
def test_a_batch_equals_its_rows_one_by_one(model, rows):
    engine = in_parts(model)
    expected = torch.stack([full_logits(model, row)[-1] for row in rows])
    torch.testing.assert_close(engine.last_logits(rows), expected, **TOLERANCE)
    state = engine.prefill(rows)
    torch.testing.assert_close(state.last_logits, expected, **TOLERANCE)
    assert state.lengths.tolist() == [len(row) for row in rows]


@pytest.mark.slow
@settings(max_examples=15)
@given(st.data(), prompts)
def test_prompts_may_be_extended_in_pieces(model, data, rows):
    engine = in_parts(model)
    state = engine.prefill(rows)
    for _ in range(3):
        suffixes = [data.draw(st.lists(token_ids, min_size=1, max_size=5)) for _ in rows]
        engine.extend(state, suffixes)
        rows = [row + suffix for row, suffix in zip(rows, suffixes, strict=True)]
        expected = torch.stack([full_logits(model, row)[-1] for row in rows])
        torch.testing.assert_close(state.last_logits, expected, **TOLERANCE)
    assert state.lengths.tolist() == [len(row) for row in rows]


@settings(max_examples=15)
@given(st.data(), prompts)
def test_rows_may_leave_the_batch(model, data, rows):
    engine = in_parts(model)
    state = engine.prefill(rows)
    kept = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True, min_size=1).map(sorted))
    state.select(torch.tensor(kept))
    engine.extend(state, [[7, 8]] * len(kept))
    expected = torch.stack([full_logits(model, [*rows[index], 7, 8])[-1] for index in kept])
    torch.testing.assert_close(state.last_logits, expected, **TOLERANCE)


label_sets = st.lists(
    st.lists(st.integers(3, 6), min_size=1, max_size=4).map(tuple), min_size=2, max_size=6, unique=True
)


@pytest.mark.slow
@settings(max_examples=15)
@given(prompts, label_sets)
def test_a_tree_of_tokens_does_not_change_the_prompts(model, rows, labels):
    engine = in_parts(model)
    state = engine.prefill(rows)
    engine.extend(state, [[9]] * len(rows))
    before = snapshot(state)
    trie = LabelTrie.build([*labels, (7, 7)], 2)
    logits = engine.tree_logits(state, trie.tokens, trie.ancestors(), trie.depths)
    assert_same_state(state, before)
    for index, row in enumerate(rows):
        for node in range(len(trie.tokens)):
            path, above = [], node
            while above >= 0:
                path.insert(0, trie.tokens[above])
                above = trie.parents[above]
            torch.testing.assert_close(logits[index, node], full_logits(model, [*row, 9, *path])[-1], **TOLERANCE)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(token_ids, min_size=1, max_size=12), prompts)
def test_tokens_that_all_prompts_begin_with_run_once(model, beginning, rows):
    engine = in_parts(model).after(beginning)
    if engine is None:
        assert in_parts(model)._masks.window
        return
    assert all(len(part) == 1 or len(part) * max(map(len, part)) <= 15 for part in engine._parts(rows))
    expected = torch.stack([full_logits(model, beginning + row)[-1] for row in rows])
    torch.testing.assert_close(engine.last_logits(rows), expected, **TOLERANCE)
    state = engine.prefill(rows)
    torch.testing.assert_close(state.last_logits, expected, **TOLERANCE)
    engine.extend(state, [[7, 8]] * len(rows))
    expected = torch.stack([full_logits(model, [*beginning, *row, 7, 8])[-1] for row in rows])
    torch.testing.assert_close(state.last_logits, expected, **TOLERANCE)
    trie = LabelTrie.build([(7, 7), (7,), (5,)], 2)
    logits = engine.tree_logits(state, trie.tokens, trie.ancestors(), trie.depths)
    expected = torch.stack([full_logits(model, [*beginning, *row, 7, 8, trie.tokens[0]])[-1] for row in rows])
    torch.testing.assert_close(logits[:, 0], expected, **TOLERANCE)


def test_forks_are_independent(tiny_model):
    engine = Engine(tiny_model)
    rows = [[5, 6, 7], [8]]
    state = engine.prefill(rows)
    before = snapshot(state)
    one, other = state.fork(), state.fork()
    engine.extend(one, [[11], [12]])
    other.select(torch.tensor([1]))
    engine.extend(other, [[13, 14]])
    ready = state.fork()
    greedy(engine, ready, end_ids={2}, max_new_tokens=3, forbid=lambda _: [3, 4, 5])
    assert_same_state(state, before)
    torch.testing.assert_close(one.last_logits[1], full_logits(tiny_model, [8, 12])[-1], **TOLERANCE)
    torch.testing.assert_close(other.last_logits[0], full_logits(tiny_model, [8, 13, 14])[-1], **TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_padding_is_not_seen_in_any_dtype(make_model, dtype):
    """The result of a padded row is bit for bit the same next to another row."""
    engine = Engine(make_model().to(dtype))
    outcomes = []
    for neighbour in ([5] * 9, [6] * 9):
        state = engine.prefill([[7, 8], neighbour])
        engine.extend(state, [[9], [10, 11, 12]])
        outcomes.append(state.last_logits[0])
    assert torch.equal(*outcomes)
    assert outcomes[0].isfinite().all()


# Random answers rarely end, so one token in five ends them here.
END_IDS = [2, *range(3, 400, 5)]


@given(prompts, st.integers(1, 12))
def test_greedy_equals_generate_row_by_row(tiny_model, rows, limit):
    engine = Engine(tiny_model)
    answers = greedy(engine, engine.prefill(rows), end_ids=set(END_IDS), max_new_tokens=limit)
    for row, answer in zip(rows, answers, strict=True):
        ids = torch.tensor([row])
        generated = tiny_model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=limit, eos_token_id=END_IDS
        )[0, len(row) :].tolist()
        assert answer == [token for token in generated if token not in END_IDS]


def test_finished_rows_leave_the_batch(tiny_model):
    engine = Engine(tiny_model)
    rows = [[index, index + 1] for index in range(3, 35, 2)]
    sizes = []
    extend = engine.extend
    engine.extend = lambda state, suffixes: (sizes.append(len(suffixes)), extend(state, suffixes))
    answers = greedy(engine, engine.prefill(rows), end_ids=set(END_IDS), max_new_tokens=20)
    assert sizes == [sum(len(answer) > step for answer in answers) for step in range(len(sizes))]
    assert sizes[0] > sizes[-1] > 0
    assert len(sizes) == min(max(map(len, answers)), 19), "the last token needs no pass"


def test_ids_that_the_tokenizer_lacks_are_never_chosen(own_tiny_model):
    engine, rows = Engine(own_tiny_model), [[3, 4, 5], [6]]
    free = greedy(engine, engine.prefill(rows), end_ids={2}, max_new_tokens=6)
    limit = max(map(max, free))
    bound = greedy(engine, engine.prefill(rows), end_ids={2}, max_new_tokens=6, vocabulary=limit)
    assert max(map(max, bound)) < limit
    for row, prompt in zip(bound, rows, strict=True):
        for place, token in enumerate(row):
            with torch.no_grad():
                logits = own_tiny_model(torch.tensor([[*prompt, *row[:place]]])).logits[0, -1, :limit]
            assert token == logits.argmax()


def test_forbidden_tokens_are_never_chosen(tiny_model):
    engine = Engine(tiny_model)
    rows = [[5, 6, 7], [8, 9]]
    free = greedy(engine, engine.prefill(rows), end_ids={2}, max_new_tokens=4)

    def forbid(answer):
        if len(answer) == 3:
            return None  # end of the answer
        return {free[0][0], free[1][0]} if not answer else ()

    answers = greedy(engine, engine.prefill(rows), end_ids={2}, max_new_tokens=4, forbid=forbid)
    for row, answer in zip(rows, answers, strict=True):
        assert len(answer) == 3
        best = full_logits(tiny_model, row)[-1]
        best[[free[0][0], free[1][0]]] = -torch.inf
        assert answer[0] == best.argmax()
        assert answer[1] == full_logits(tiny_model, [*row, answer[0]])[-1].argmax()


@pytest.fixture(scope="module", params=["sdpa", "text first"])
def prefixed(request, make_model):
    return with_prefix(make_engine_model(request.param, make_model), 5)


class TestWithPrefix:
    """The tests above also hold with a prefix, which the model's own forward pass sees."""

    @given(prompts, st.integers(1, 8))
    def test_greedy_chooses_the_most_probable_token_each_time(self, prefixed, rows, limit):
        engine = Engine(prefixed)
        answers = greedy(engine, engine.prefill(rows), end_ids=set(END_IDS), max_new_tokens=limit)
        for row, answer in zip(rows, answers, strict=True):
            ended = False
            for place in range(len(answer) + 1):
                best = int(full_logits(prefixed, row + answer[:place])[-1].argmax())
                ended = best in END_IDS
                assert ended or place == limit or best == answer[place]
            assert ended or len(answer) == limit

    def test_forks_are_independent(self, prefixed):
        engine = Engine(prefixed)
        state = engine.prefill([[5, 6, 7], [8]])
        before = snapshot(state)
        one, other = state.fork(), state.fork()
        engine.extend(one, [[11], [12]])
        other.select(torch.tensor([1]))
        engine.extend(other, [[13, 14]])
        assert_same_state(state, before)
        torch.testing.assert_close(one.last_logits[1], full_logits(prefixed, [8, 12])[-1], **TOLERANCE)
        torch.testing.assert_close(other.last_logits[0], full_logits(prefixed, [8, 13, 14])[-1], **TOLERANCE)

    def test_the_prefix_changes_the_logits(self, prefixed):
        bare = Engine(prefixed.get_base_model()).last_logits([[5, 6, 7]])
        assert (Engine(prefixed).last_logits([[5, 6, 7]]) - bare).abs().max() > 0.1

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_the_prefix_has_the_dtype_of_the_model(self, make_model, dtype):
        engine = Engine(with_prefix(make_model().to(dtype), 5))
        state = engine.prefill([[7, 8], [5] * 9])
        engine.extend(state, [[9], [10, 11, 12]])
        assert {part.dtype for pair in cached(state) for part in pair} == {dtype}
        assert state.last_logits.isfinite().all()


def test_without_a_prefix_the_first_pass_has_no_mask(tiny_model):
    """Without mask and positions the causal kernel is used."""
    calls = []
    handle = tiny_model.register_forward_pre_hook(lambda _, __, passed: calls.append(passed), with_kwargs=True)
    try:
        Engine(tiny_model).last_logits([[5, 6]])
        Engine(tiny_model).prefill([[5, 6]])
    finally:
        handle.remove()
    assert [set(passed) for passed in calls] == [
        {"input_ids", "use_cache"},
        {"input_ids", "use_cache", "past_key_values"},
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_divided_state_has_the_parts_of_a_copied_one_and_releases_each_layer(make_model, count):
    prompts = [[5, 6, 7, 8], [9], [10, 11], [12, 13, 14], [15, 16]]
    engine = Engine(make_model()).after([3, 4])
    states = [engine.prefill(prompts) for _ in range(2)]
    for state in states:
        engine.extend(state, [[20], [21, 22], [23], [24, 25, 26], [27]])  # padding is between real tokens
    expected = [states[0].part(range(first, 5, count)) for first in range(count)]
    whole = [weakref.ref(tensor) for layer in states[1].cache.layers for tensor in (layer.keys, layer.values)]
    divided = states[1].divide(count)
    assert [each() for each in whole] == [None] * len(whole)
    for part, copy in zip(divided, expected, strict=True):
        assert_same_state(part, snapshot(copy))


def test_parts_of_a_prefill_are_released_when_they_are_joined(make_model, monkeypatch):
    engine = Engine(make_model())
    monkeypatch.setattr(engine, "_part_tokens", 4)
    alone, run = [], engine._run

    def spy(*arguments, **options):
        cache, logits = run(*arguments, **options)
        alone.extend(weakref.ref(layer.keys) for layer in cache.layers)
        return cache, logits

    monkeypatch.setattr(engine, "_run", spy)
    joined = engine.prefill([[5, 6, 7, 8], [9, 10], [11, 12, 13]])
    assert len(alone) == 6  # of three parts and two layers
    assert all(each() is None for each in alone)
    for row, prompt in enumerate(([5, 6, 7, 8], [9, 10], [11, 12, 13])):
        keys = engine.prefill([prompt]).cache.layers[1].keys[0]
        torch.testing.assert_close(joined.cache.layers[1].keys[row, :, : len(prompt)], keys, **TOLERANCE)
