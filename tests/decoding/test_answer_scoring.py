import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MistralConfig, MistralForCausalLM

from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.scoring import answer_scoring
from papertune.decoding.scoring.answer_scoring import answer_log_probabilities
from papertune.methods import build_trainable
from papertune.recipe import PtuningV2Method

END, OTHER_END = 2, 7
TOLERANCE = 1e-4  # float32, of log-probabilities that reach -60
ids = st.integers(8, 12)  # few, so that answers share tokens
rows = st.lists(
    st.tuples(st.lists(st.integers(3, 390), min_size=1, max_size=9), st.lists(st.lists(ids, min_size=1, max_size=5))),
    min_size=1,
    max_size=4,
)
MISTRAL = {
    "vocab_size": 400,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "sliding_window": 6,
    "initializer_range": 0.5,
}


@pytest.fixture(scope="module", params=["plain", "prefix", "sliding"])
def model(request, make_model):
    if request.param == "sliding":
        return MistralForCausalLM(MistralConfig(**MISTRAL)).eval()
    model = make_model()
    if request.param == "plain":
        return model
    return build_trainable(model, PtuningV2Method(kind="ptuning_v2", prefix_length=5), seed=0).eval()


@torch.no_grad()
def slow_log_probability(model, prompt, answer):
    """Return the log-probability of one answer from a separate pass without cache and padding."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0, len(prompt) - 1 :]
    logs = logits.double().log_softmax(dim=-1)
    tokens = sum(float(logs[place, token]) for place, token in enumerate(answer))
    return tokens + float(logs[-1, [END, OTHER_END]].logsumexp(dim=0))


@pytest.mark.slow
@settings(max_examples=25)
@given(rows, st.booleans())
def test_a_batch_equals_its_answers_one_by_one(model, rows, row_by_row):
    """Rows of different lengths and answers, some without answers, in parts of few nodes; as on a CPU, as on a GPU."""
    prompts, answers = [prompt for prompt, _ in rows], [found for _, found in rows]
    engine = Engine(model)
    state = engine.prefill(prompts)
    keys = [layer.keys.clone() for layer in state.cache.layers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answer_scoring, "CPU_PART_TOKENS", 7)
        patch.setattr(PromptState, "is_divisible", row_by_row)
        got = answer_log_probabilities(engine, state, answers, {END, OTHER_END})
    assert all(torch.equal(a.keys, b) for a, b in zip(state.cache.layers, keys, strict=True))
    for prompt, found, logs in zip(prompts, answers, got, strict=True):
        assert logs == pytest.approx([slow_log_probability(model, prompt, answer) for answer in found], abs=TOLERANCE)


def test_the_logits_of_a_part_are_limited(tiny_model, monkeypatch):
    engine, sizes = Engine(tiny_model), []
    grow = engine.grow_tree

    def counted(*arguments):
        sizes.append(len(logits := grow(*arguments)))
        return logits

    monkeypatch.setattr(engine, "grow_tree", counted)
    monkeypatch.setattr(answer_scoring, "CPU_PART_TOKENS", 8)
    answers = [[[8, 9], [8, 10], [11]], [[token, 9] for token in range(10, 20)]]
    answer_log_probabilities(engine, engine.prefill([[5], [6, 7]]), answers, {END})
    assert sizes == [4, 8, 8, 4]  # 4 nodes of the first row, 20 of the second
    sizes.clear()
    monkeypatch.setattr(PromptState, "is_divisible", False)
    answer_log_probabilities(engine, engine.prefill([[5], [6, 7]]), answers, {END})
    assert sizes == [8, 4, 4, 4, 4]  # together; padding has no logits
