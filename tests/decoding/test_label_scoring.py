import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from papertune.decoding.engine import Engine
from papertune.decoding.scoring.label_scoring import LabelTrie

END = 2
# Few tokens, so that labels share prefixes and are prefixes of each other.
label_sets = st.lists(
    st.lists(st.integers(3, 6), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6, unique=True
)
prompts = st.lists(st.lists(st.integers(3, 399), min_size=1, max_size=10), min_size=1, max_size=3)


def slow_probabilities(model, prompt, labels):
    """Score each label in a separate pass."""
    single = all(len(label) == 1 for label in labels)
    scores = []
    for label in labels:
        answer = list(label) if single else [*label, END]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0].double()
        logprobs = torch.log_softmax(logits, dim=-1)
        scores.append(sum(logprobs[len(prompt) - 1 + place, token] for place, token in enumerate(answer)))
    return torch.softmax(torch.stack(scores), dim=0)


def fast_probabilities(model, rows, labels, trie=None):
    engine = Engine(model)
    trie = trie or LabelTrie.build(labels, END)
    state = engine.prefill(rows)
    nodes = engine.tree_logits(state, trie.tokens, trie.ancestors(), trie.depths) if trie.tokens else None
    return trie.label_probabilities(state.last_logits, nodes)


@given(prompts, label_sets)
@example([[5, 6, 7]], [(4,), (4, 5), (4, 5, 3), (5,)])  # "1", "12", "120", "2"
@example([[5, 6, 7]], [(4, 5), (4, 3)])  # the same first token
def test_the_trie_equals_label_by_label_scoring(tiny_model, rows, labels):
    probabilities = fast_probabilities(tiny_model, rows, labels)
    assert probabilities.dtype == torch.float64
    for row, got in zip(rows, probabilities, strict=True):
        torch.testing.assert_close(got, slow_probabilities(tiny_model, row, labels), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(rows), dtype=torch.float64))


@given(prompts, st.lists(st.integers(3, 300), min_size=1, max_size=6, unique=True), st.booleans())
def test_labels_of_one_token_need_the_logits_of_their_tokens_only(tiny_model, rows, tokens, choices):
    build = LabelTrie.of_choices if choices else LabelTrie.build
    trie = build([(token,) for token in tokens], END)
    engine = Engine(tiny_model)
    assert trie.root_tokens == (tuple(sorted(tokens)) if not choices or len(tokens) > 1 else ())
    if trie.tokens or not trie.root_tokens:
        return
    expected = trie.label_probabilities(engine.last_logits(rows), None)
    found = trie.at_root.label_probabilities(engine.last_logits(rows, trie.root_tokens), None)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def slow_choices(model, prompt, labels):
    """Multiply the shares of each label's tokens among those that labels have there, in a pass for each label."""
    whole = [(*label, END) for label in labels]
    products = []
    for ids in whole:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0].double()
        product = 1.0
        for at, token in enumerate(ids):
            possible = sorted({other[at] for other in whole if other[:at] == ids[:at]})
            product *= logits[len(prompt) - 1 + at, possible].softmax(-1)[possible.index(token)]
        products.append(product)
    return torch.stack(products)


@given(prompts, label_sets)
@example([[5, 6, 7]], [(4,), (4, 5), (4, 5, 3), (5,)])
@example([[5, 6, 7]], [(4, 5), (4, 3)])
@example([[5, 6, 7]], [(4, 5), (3, 5)])
def test_choices_equal_decoding_that_can_write_only_labels(tiny_model, rows, labels):
    trie = LabelTrie.of_choices(labels, END)
    assert all(parent < node for node, parent in enumerate(trie.parents))
    probabilities = fast_probabilities(tiny_model, rows, labels, trie)
    for row, got in zip(rows, probabilities, strict=True):
        torch.testing.assert_close(got, slow_choices(tiny_model, row, labels), rtol=1e-4, atol=1e-4)


def test_only_choices_need_a_pass():
    trie = LabelTrie.of_choices([(11,), (11, 12), (10, 13), (10, 13, 14, 15)], END)
    assert trie.tokens == (11, 10, 13)
    assert (trie.parents, trie.depths) == ((-1, -1, 1), (1, 1, 2))
    assert trie.paths == (
        ((-1, 11), (0, END)),
        ((-1, 11), (0, 12)),
        ((-1, 10), (2, END)),
        ((-1, 10), (2, 14)),
    )
    assert LabelTrie.of_choices([(11, 7), (10, 7, 8)], END).tokens == (), "the first tokens differ"


def test_choices_among_labels_of_one_token_are_their_softmax():
    logits = torch.randn(3, 20)
    one, other = LabelTrie.of_choices([(11,), (10,)], END), LabelTrie.build([(11,), (10,)], END)
    torch.testing.assert_close(one.label_probabilities(logits, None), other.label_probabilities(logits, None))


def test_labels_of_a_real_tokenizer(tiny_model, tiny_tokenizer):
    labels = [tiny_tokenizer.encode(text) for text in ("1", "12", "120", "2")]
    assert [len(ids) for ids in labels] == [1, 2, 3, 1]
    got = fast_probabilities(tiny_model, [[9, 10]], labels)[0]
    torch.testing.assert_close(got, slow_probabilities(tiny_model, [9, 10], labels), rtol=1e-4, atol=1e-4)


def test_the_trie_of_the_docstring():
    """Labels 1, 12, 0."""
    trie = LabelTrie.build([(11,), (11, 12), (10,)], END)
    assert trie == LabelTrie(
        tokens=(11, 12, 10),
        parents=(-1, 0, -1),
        depths=(1, 2, 1),
        paths=(((-1, 11), (0, END)), ((-1, 11), (0, 12), (1, END)), ((-1, 10), (2, END))),
    )
    assert trie.ancestors().tolist() == [[True, False, False], [True, True, False], [False, False, True]]


def test_labels_of_one_token_need_no_tree():
    trie = LabelTrie.build([(11,), (10,)], END)
    assert (trie.tokens, trie.paths) == ((), (((-1, 11),), ((-1, 10),)))
    logits = torch.tensor([[0.0] * 10 + [1.0, 3.0]])
    expected = torch.softmax(torch.tensor([[3.0, 1.0]], dtype=torch.float64), dim=1)
    torch.testing.assert_close(trie.label_probabilities(logits, None), expected)


@given(label_sets)
def test_shared_tokens_are_computed_once(labels):
    trie = LabelTrie.build(labels, END)
    prefixes = {label[:length] for label in labels for length in range(1, len(label) + 1)}
    single = all(len(label) == 1 for label in labels)
    assert len(trie.tokens) == (0 if single else len(prefixes))
    assert all(parent < node for node, parent in enumerate(trie.parents))


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_probabilities_do_not_overflow(scale):
    trie = LabelTrie.build([(3,), (4,), (3, 4)], END)
    probabilities = trie.label_probabilities(torch.randn(2, 9) * scale, torch.randn(2, 3, 9) * scale)
    assert probabilities.isfinite().all()
