"""Answers drawn at random; a slow twin runs the whole text again for each token."""

import numpy as np
import pytest
import torch

from papertune.decoding.engine import Engine
from papertune.decoding.sampling import draw, row_uniforms, sample

PROMPTS = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]
END = {2}


def slow_sample(model, prompt, uniforms, temperature, end_ids, forbidden=()):
    """Return the tokens, their log-probability and whether they end, without a cache and one row at a time."""
    answer, total = [], 0.0
    for uniform in uniforms.tolist():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0, -1].detach().double()
        allowed = logits.clone()
        allowed[list(forbidden)] = -torch.inf
        probabilities = (allowed / temperature).softmax(dim=0).numpy()
        token = int(np.searchsorted(np.cumsum(probabilities), uniform, side="right"))
        total += float(logits.log_softmax(dim=0)[token])
        if token in end_ids:
            return answer, total, True
        answer.append(token)
    return answer, total, False


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_answers_drawn_in_a_batch_are_those_drawn_one_at_a_time_without_a_cache(tiny_model, temperature):
    uniforms = row_uniforms(0, [0, 1, 2], 4, 12)
    ends = {2, *range(40, 90)}  # some answers end early
    engine = Engine(tiny_model)
    state = engine.prefill(PROMPTS)
    state.select(torch.arange(3).repeat_interleave(4))
    drawn = sample(engine, state, uniforms, temperature=temperature, end_ids=ends, forbid=lambda _: [100, 101])
    for place, answer in enumerate(drawn):
        ids, total, ended = slow_sample(
            tiny_model, PROMPTS[place // 4], uniforms[place], temperature, ends, forbidden=[100, 101]
        )
        assert (list(answer.ids), answer.is_complete) == (ids, ended)
        if not ended:
            assert answer.log_probability == pytest.approx(total, abs=1e-3)
    assert {answer.is_complete for answer in drawn} == {True, False}


def test_tokens_are_drawn_as_often_as_they_are_probable():
    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.2], dtype=torch.float64)
    uniforms = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    tokens = draw(probabilities.log().expand(1000, -1), uniforms, 1.0)
    assert torch.bincount(tokens, minlength=4).tolist() == [500, 0, 300, 200]


def test_a_forbidden_token_is_not_drawn_and_an_answer_without_allowed_tokens_ends(tiny_model):
    engine = Engine(tiny_model)
    drawn = sample(
        engine,
        engine.prefill(PROMPTS[:1]),
        row_uniforms(1, [0], 1, 8),
        temperature=1.0,
        end_ids=END,
        forbid=lambda ids: None if len(ids) == 3 else [],
    )
    assert len(drawn[0].ids) == 3
    assert drawn[0].is_complete


def test_the_random_numbers_of_a_row_do_not_depend_on_the_rows_beside_it():
    together, alone = row_uniforms(7, [3, 4, 5], 2, 6), row_uniforms(7, [4], 2, 6)
    assert torch.equal(together[2:4], alone)
    assert not torch.equal(row_uniforms(8, [4], 2, 6), alone)
