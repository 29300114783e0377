"""Trainings on TRL: what is learned, from which tokens, and that an interruption leaves no trace."""

import json
import math

import pytest
import torch

from papertune.training.feedback import answer_log_probs
from papertune.training.feedback.bridge import trainable_digest

pytestmark = pytest.mark.slow


class Killed(Exception):
    """Ends a training as a kill would, without another checkpoint."""


def killing_at(step, make_listener):
    def act(progress):
        if progress.done == step:
            raise Killed

    return make_listener(on_training=act)


@pytest.mark.parametrize("stage", ["rm", "dpo", "kto", "rloo", "grpo"])
def test_a_killed_training_ends_as_if_it_had_not_been_killed(training, make_listener, stage):
    whole = training(stage, "whole")
    result = whole.fit()
    killed = training(stage, "killed")
    with pytest.raises(Killed):
        killed.fit(killing_at(result.steps // 2 + 2, make_listener))
    resumed = training(stage, "killed")
    assert resumed.fit(resume=True).steps == result.steps
    expected, found = whole.weights_of(), resumed.weights_of()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert whole.metrics.read_text() == resumed.metrics.read_text()
    # All parameters of the adapter have learned, and no copy of the start was trained.
    start = training(stage).weights_of()
    assert all(not torch.equal(start[name], found[name]) for name in start)
    assert not any(".ref." in name for name in found)


def test_dpo_begins_at_the_start_and_then_prefers_the_better_answers(training):
    dpo = training("dpo", epochs=4)
    dpo.weights = (0.1, 0.0)
    dpo.fit()
    first, *_, last = map(json.loads, dpo.metrics.read_text().splitlines())
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["margin"] == pytest.approx(0, abs=1e-5)
    assert last["margin"] > 0
    assert last["pairs_right"] == 1


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_the_loss_of_the_better_answers_is_added_with_its_weight(training, start, stage):
    from conftest import PAIRS, THUMBS

    losses = {}
    for weight in (0.0, 0.5):
        each = training(stage, f"weight {weight}", epochs=1, micro_batch_size=10, max_steps=1)
        each.weights = (0.1, weight)
        each.fit()
        losses[weight] = json.loads(each.metrics.read_text().splitlines()[0])["loss"]
    better = (
        [(p.prompt, p.chosen) for p in PAIRS] if stage == "dpo" else [(t.prompt, t.answer) for t in THUMBS if t.good]
    )
    log_probs = answer_log_probs(start().eval(), better)
    mean = float(log_probs.sum()) / sum(len(answer) for _, answer in better)
    assert losses[0.5] - losses[0.0] == pytest.approx(-0.5 * mean, rel=1e-4)


def test_a_padding_token_that_is_the_end_token_does_not_move_the_reward(training):
    usual, same = training("rm", "usual", max_steps=2), training("rm", "same", max_steps=2)
    same.tokenizer.pad_token = same.tokenizer.eos_token
    for each in (usual, same):
        each.fit()
    assert usual.metrics.read_text() == same.metrics.read_text()
    # The head is trained whole: no adapter is put on it.
    assert [name for name in usual.weights_of() if "lm_head" in name] == ["base_model.model.lm_head.weight"]


def test_log_probabilities_of_answers_are_those_of_each_text_alone(start):
    from conftest import PAIRS

    model = start().eval()
    sequences = [(pair.prompt, pair.chosen) for pair in PAIRS]
    expected = []
    for prompt, answer in sequences:
        logs = model(torch.tensor([[*prompt, *answer]])).logits[0].detach().double().log_softmax(dim=-1)
        expected.append(sum(float(logs[len(prompt) - 1 + place, token]) for place, token in enumerate(answer)))
    assert answer_log_probs(model, sequences).tolist() == pytest.approx(expected, abs=1e-3)


def test_logits_of_answers_alone_give_the_same_loss_as_logits_of_all_positions(training, monkeypatch):
    from contextlib import nullcontext

    from papertune.training.feedback import bridge

    fast = training("dpo", "fast", max_steps=2)
    fast.fit()
    monkeypatch.setattr(bridge, "_only_answers_scored", nullcontext)
    slow = training("dpo", "slow", max_steps=2)
    slow.fit()
    for one, other in zip(*(each.metrics.read_text().splitlines() for each in (fast, slow)), strict=True):
        assert json.loads(one)["loss"] == pytest.approx(json.loads(other)["loss"], abs=1e-5)


@pytest.mark.parametrize("stage", ["rm", "rloo"])
def test_nothing_is_sent_to_the_makers_of_trl(training, monkeypatch, stage):
    import trl.trainer.base_trainer as trl_base

    monkeypatch.setattr(trl_base, "send_telemetry", lambda *_, **__: pytest.fail("telemetry was sent"))
    training(stage, max_steps=1).fit()


@pytest.mark.parametrize("stage", ["dpo", "grpo"])
def test_recomputed_activations_change_nothing(training, stage):
    kept = training(stage, "kept", max_steps=2)
    recomputed = training(stage, "recomputed", max_steps=2, gradient_checkpointing=True)
    for each in (kept, recomputed):
        each.fit()
    for one, other in zip(*(each.metrics.read_text().splitlines() for each in (kept, recomputed)), strict=True):
        assert json.loads(one)["loss"] == pytest.approx(json.loads(other)["loss"], abs=1e-5)


def test_equal_rewards_teach_nothing_and_that_is_reported(training):
    rloo = training("rloo", max_steps=1)
    rloo.reward = lambda numbers, texts, step: [1.0] * len(texts)
    result = rloo.fit()
    assert result.unlearned == ["the training has changed no parameter: what it learned from had no gradient."]
    assert json.loads(rloo.metrics.read_text().splitlines()[0])["no_spread"] == 1


def test_the_prompts_of_an_epoch_are_all_there_in_an_order_of_its_own():
    from papertune.training.feedback.rollouts import PromptSampler

    sampler = PromptSampler(prompts=7, generations=2, step=3, passes=3, seed=0)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        numbers = list(sampler)
        assert len(numbers) == len(sampler) == 3 * 3 * 3 * 2
        steps = [numbers[begin : begin + 6] for begin in range(0, len(numbers), 18)]  # each is repeated for 3 passes
        assert all(one == other for step in steps for one, other in zip(step[::2], step[1::2], strict=True))
        epochs.append([number for step in steps for number in step[::2]])
        assert set(epochs[-1][:7]) == set(range(7))
        assert epochs[-1][7:] == epochs[-1][:2]
    assert epochs[0] != epochs[1]


def test_a_model_without_trainable_parameters_is_a_bug(tiny_model, own_tiny_model):
    own_tiny_model.requires_grad_(False)
    with pytest.raises(RuntimeError, match="no parameter of the model is trainable"):
        trainable_digest(own_tiny_model)
