import math

import pytest
import torch

from papertune.decoding.engine import Engine
from papertune.decoding.greedy import exclude, greedy, greedy_answers

PROMPTS = [[5, 6, 7], [8, 9], [12, 13, 14, 15]]
# Random answers rarely end, so one token in five ends them here.
END_IDS = {2, *range(3, 400, 5)}


def log_probabilities(model, ids):
    """Return the log-probabilities after some ids, from a separate pass without cache and padding."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double().log_softmax(dim=-1)


@pytest.mark.parametrize("limit", [1, 4, 30])
def test_answers_have_the_log_probability_of_their_tokens_and_end(tiny_model, limit):
    engine = Engine(tiny_model)
    options = {"end_ids": END_IDS, "max_new_tokens": limit}
    answers = greedy_answers(engine, engine.prefill(PROMPTS), **options)
    assert [list(answer.ids) for answer in answers] == greedy(engine, engine.prefill(PROMPTS), **options)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        expected = 0.0
        for place, token in enumerate(answer.ids):
            expected += float(log_probabilities(tiny_model, [*prompt, *answer.ids[:place]])[token])
        assert answer.is_complete == (len(answer.ids) < limit)
        if answer.is_complete:
            end = log_probabilities(tiny_model, [*prompt, *answer.ids])[sorted(END_IDS)]
            expected += float(end.logsumexp(dim=0))
        assert answer.log_probability == pytest.approx(expected, abs=1e-3)
        tokens = len(answer.ids) + answer.is_complete
        assert answer.mean_log_probability == pytest.approx(expected / tokens, abs=1e-3)
    assert limit < 30 or all(answer.is_complete for answer in answers)


def test_what_is_forbidden_does_not_change_the_probabilities(tiny_model):
    engine = Engine(tiny_model)
    free = greedy_answers(engine, engine.prefill(PROMPTS[:1]), end_ids={2}, max_new_tokens=1)[0]
    mask = torch.zeros(400, dtype=torch.bool)
    mask[free.ids[0]] = True
    for forbidden in (mask, [free.ids[0]]):
        (bound,) = greedy_answers(
            engine,
            engine.prefill(PROMPTS[:1]),
            end_ids={2},
            max_new_tokens=1,
            forbid=lambda _, forbidden=forbidden: forbidden,
        )
        logs = log_probabilities(tiny_model, PROMPTS[0])
        assert bound.ids != free.ids
        assert bound.ids[0] == logs.topk(2).indices[1]
        assert bound.log_probability == pytest.approx(float(logs[bound.ids[0]]), abs=1e-4)


def test_an_answer_that_must_end_has_ended(tiny_model):
    engine = Engine(tiny_model)
    (answer,) = greedy_answers(
        engine,
        engine.prefill(PROMPTS[:1]),
        end_ids={2},
        max_new_tokens=9,
        forbid=lambda ids: None if len(ids) == 2 else (),
    )
    assert len(answer.ids) == 2
    assert answer.is_complete
    assert math.isfinite(answer.log_probability)


@pytest.mark.parametrize("width", [3, 5, 7])
def test_a_mask_may_be_shorter_or_longer_than_the_logits(width):
    logits = torch.zeros(5)
    mask = torch.zeros(width, dtype=torch.bool)
    mask[1] = True
    exclude(mask, logits)
    assert logits.isinf().tolist() == [False, True, False, False, False]
    exclude(None, logits)
    exclude([], logits)
    exclude([0, 4], logits)
    assert logits.isinf().tolist() == [True, True, False, False, True]
