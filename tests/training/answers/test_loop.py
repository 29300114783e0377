import json
import math
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from test_loss import LABEL_SETS, LABELS, label_question, slow_loss

from papertune.methods import build_trainable, checkpoint_activations
from papertune.prompts import shuffled_length_batches
from papertune.recipe import FreezeMethod, FullMethod, LoraMethod, PtuningV2Method, TrainingSpec
from papertune.training import VOCABULARY, FitSettings, Question, TrainingRow, callbacks, fit
from papertune.training.answers import loop, own_passes
from papertune.training.checkpoints import complete_checkpoints, mark_complete

DROPOUT = LoraMethod(rank=4, dropout=0.2)


def make_rows(count):
    """Return examples of all kinds and lengths."""
    generator = torch.Generator().manual_seed(1)

    def some(low, high, size):
        return torch.randint(low, high, (size,), generator=generator).tolist()

    rows = []
    for index in range(count):
        prompt = some(3, 400, 3 + some(0, 20, 1)[0])
        answer = some(3, 400, 1 + index % 3)
        if index % 2:
            rows.append(TrainingRow(prompt, [Question([answer], VOCABULARY, 1.0 + index % 3)]))
        else:
            label_set = index // 2 % len(LABELS)
            rows.append(TrainingRow(prompt, [label_question(index % len(LABELS[label_set]), label_set)]))
    return rows


class Training:
    """Trains new copies of a model, each in its own folder."""

    def __init__(self, make_model, folder):
        self.make_model = make_model
        self.folder = folder
        self.text = []  # what a prefix begins as

    def __call__(self, name="run", rows=10, method=DROPOUT, spec=None, **options):
        self.checkpoints = self.folder / name
        self.metrics_file = self.folder / f"{name}.jsonl"
        self.model = build_trainable(self.make_model(), method, seed=0, text=self.text)
        self.prepare(self.model)
        options = {"compute_dtype": torch.float32, "metrics_file": self.metrics_file} | options
        spec = TrainingSpec(**({"micro_batch_size": 2, "warmup_steps": 2, "logging_steps": 1} | (spec or {})))
        return fit(self.model, make_rows(rows), LABEL_SETS, FitSettings(spec, self.checkpoints, **options))

    def prepare(self, model):
        """Change a model before its training."""

    def trained(self):
        return {name: p.detach().clone() for name, p in self.model.named_parameters() if p.requires_grad}

    def metrics(self):
        return [json.loads(line) for line in self.metrics_file.read_text("utf-8").splitlines()]

    def steps(self):
        return [int(checkpoint.name.split("-")[1]) for checkpoint in complete_checkpoints(self.checkpoints)]


@pytest.fixture
def train(make_model, tmp_path, monkeypatch):
    def mark_complete_once(checkpoint):
        assert not (checkpoint / "complete").exists(), f"{checkpoint} was written to after it was marked complete"
        mark_complete(checkpoint)

    monkeypatch.setattr(callbacks, "mark_complete", mark_complete_once)
    return Training(make_model, tmp_path)


def assert_same_weights(got, expected, **tolerance):
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def assert_same_checkpoints(one, other):
    """Compare adapter, optimizer and schedule of two checkpoints bit for bit."""
    assert_same_weights(
        load_file(one / "adapter_model.safetensors"), load_file(other / "adapter_model.safetensors"), rtol=0, atol=0
    )
    first, second = (torch.load(folder / "optimizer.pt", weights_only=True) for folder in (one, other))
    assert first["param_groups"] == second["param_groups"]
    for index, state in first["state"].items():
        assert_same_weights(second["state"][index], state, rtol=0, atol=0)
    assert torch.load(one / "scheduler.pt", weights_only=True) == torch.load(other / "scheduler.pt", weights_only=True)


def slow_fit(model, rows, *, batch, accumulation, epochs, rate, warmup, seed=0):
    """Train with one example in each pass; return the loss of each optimizer step."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
    epoch_steps = [
        [batches[start : start + accumulation] for start in range(0, len(batches), accumulation)]
        for batches in (shuffled_length_batches([len(r.ids) for r in rows], batch, seed, e) for e in range(epochs))
    ]
    steps = [[rows[i] for part in step for i in part] for epoch in epoch_steps for step in epoch]
    losses = []
    for number, examples in enumerate(steps):
        progress = (number - warmup) / max(1, len(steps) - warmup)
        factor = number / warmup if number < warmup else 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        loss = sum(slow_loss(model, row) for row in examples) / len(examples)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("method", [LoraMethod(rank=4), FreezeMethod(kind="freeze", layers=1), FullMethod(kind="full")])
def test_fit_does_the_steps_of_a_plain_loop(train, make_model, method):
    result = train(rows=11, method=method, spec={"accumulation": 2, "epochs": 2, "learning_rate": 3e-3})
    model = build_trainable(make_model(), method, seed=0)
    losses = slow_fit(model, make_rows(11), batch=2, accumulation=2, epochs=2, rate=3e-3, warmup=2)
    assert (result.steps, result.best_step, result.best_score, result.stop_signal) == (6, None, None, None)
    assert [entry["step"] for entry in train.metrics()] == [1, 2, 3, 4, 5, 6]
    assert [entry["loss"] for entry in train.metrics()] == pytest.approx(losses, rel=0, abs=1e-4)
    assert max(losses) - min(losses) > 0.1
    expected = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    assert_same_weights(train.trained(), expected, rtol=0, atol=1e-5)
    assert not train.model.training


def test_fit_in_parts_does_fifty_steps_of_a_plain_loop(train, make_model, monkeypatch):
    # Parts have one or two rows. Rounding errors grow with the steps; the learning rate is that of the built-in recipe.
    monkeypatch.setattr(own_passes, "PASS_TOKENS", 24)
    spec = {"micro_batch_size": 4, "epochs": 17, "learning_rate": 1e-3}
    method = LoraMethod(rank=4)
    train(rows=11, method=method, spec=spec)
    model = build_trainable(make_model(), method, seed=0)
    losses = slow_fit(model, make_rows(11), batch=4, accumulation=1, epochs=17, rate=1e-3, warmup=2)
    assert len(losses) == 51
    assert [entry["loss"] for entry in train.metrics()] == pytest.approx(losses, rel=0, abs=1e-4)


def test_a_batch_is_split_into_parts_of_few_tokens(train, monkeypatch):
    monkeypatch.setattr(loop, "CPU_PART_TOKENS", 24)
    shapes = []
    train.prepare = lambda model: model.register_forward_pre_hook(
        lambda _, __, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    train(rows=8, spec={"micro_batch_size": 8, "epochs": 1})
    assert len(shapes) > 1
    assert sum(rows for rows, _ in shapes) == 8
    assert all(rows == 1 or rows * seq <= 24 for rows, seq in shapes)


def test_with_divided_weights_a_batch_is_one_pass(train, monkeypatch):
    """Each pass needs all processes, whose batches could have different numbers of parts."""
    monkeypatch.setattr(loop, "CPU_PART_TOKENS", 8)
    monkeypatch.setattr(loop._AnswerTrainer, "_check_sharded_method", lambda _: None)
    monkeypatch.setattr(loop._AnswerTrainer, "is_sharded", True)
    rows = []
    train.prepare = lambda model: model.register_forward_pre_hook(
        lambda _, __, inputs: rows.append(len(inputs["input_ids"])), with_kwargs=True
    )
    train(rows=8, spec={"micro_batch_size": 4, "epochs": 1})
    assert rows == [4, 4]


def test_accumulated_batches_train_like_one_batch(train):
    """Four passes of two rows and one pass of eight make the same step, although answers differ in length."""
    method = LoraMethod(rank=4)
    train("a", rows=8, method=method, spec={"micro_batch_size": 2, "accumulation": 4, "epochs": 3})
    one, one_metrics = train.trained(), train.metrics()
    train("b", rows=8, method=method, spec={"micro_batch_size": 8, "epochs": 3})
    assert_same_weights(train.trained(), one, rtol=0, atol=1e-5)
    assert [e["loss"] for e in train.metrics()] == pytest.approx([e["loss"] for e in one_metrics], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("method", [LoraMethod(rank=4), PtuningV2Method(kind="ptuning_v2", prefix_length=5)])
def test_answers_that_share_a_prompt_train_like_answers_with_their_own_prompts(train, make_model, method, attention):
    def with_attention():
        model = make_model()
        model.set_attn_implementation(attention)
        return model

    train.make_model = with_attention
    together = [
        TrainingRow([3, 4, 5], [Question([[7, 8, 2], [9, 2], [2]], ids=[8, 9]), Question([[1]], 0, 2.0, ids=[4])]),
        TrainingRow([6] * 8, [Question([[1, 2], [4, 9]])]),
    ]
    # The weight of an answer is its share of the tokens.
    apart = [
        TrainingRow(
            row.shared + asked.ids, [Question([answer], asked.label_set, asked.weight * len(answer) / asked.targets)]
        )
        for row in together
        for asked in row.questions
        for answer in asked.answers
    ]
    losses = []
    for name, rows in (("together", together), ("apart", apart)):
        model = build_trainable(train.make_model(), method, seed=0)
        spec = TrainingSpec(micro_batch_size=len(rows), epochs=2, logging_steps=1, warmup_steps=0)
        settings = FitSettings(spec, train.folder / name, train.folder / f"{name}.jsonl", torch.float32)
        fit(model, rows, LABEL_SETS, settings)
        entries = map(json.loads, (train.folder / f"{name}.jsonl").read_text().splitlines())
        losses.append([entry["loss"] * sum(len(row.questions) for row in rows) for entry in entries if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert len(losses[0]) == 2


@pytest.mark.parametrize(("method", "plain"), [(LoraMethod(rank=4), 0), (FullMethod(kind="full"), 5)])
def test_gradient_checkpointing_changes_no_loss(train, method, plain):
    """Without it, LoRA has passes of its own, which call no module of the layers."""
    losses, passes = {}, {}
    for checkpointing in (False, True):
        count = []

        def prepare(model, on=checkpointing, count=count):
            if on:
                checkpoint_activations(model)
            (first,) = (module for name, module in model.named_modules() if name.endswith("layers.0.input_layernorm"))
            first.register_forward_hook(lambda *_: count.append(1))

        train.prepare = prepare
        train(str(checkpointing), method=method)
        losses[checkpointing] = [(entry["loss"], entry["grad_norm"]) for entry in train.metrics()]
        passes[checkpointing] = len(count)
    assert passes == {False: plain, True: 10}, "activations are not recomputed"
    for on, off in zip(losses[True], losses[False], strict=True):
        assert on == pytest.approx(off, rel=1e-5)


RESUMED = {"accumulation": 2, "epochs": 2, "save_steps": 1, "keep_checkpoints": 99}  # 3 steps an epoch


@pytest.fixture(scope="module")
def uninterrupted(make_model, tmp_path_factory):
    """Return the folder, metrics and weights of a whole training, for reading only."""
    train = Training(make_model, tmp_path_factory.mktemp("uninterrupted"))
    train("whole", rows=11, spec=RESUMED)
    assert train.steps() == [1, 2, 3, 4, 5, 6]
    return train.checkpoints, train.metrics(), train.trained()


@pytest.mark.slow
@pytest.mark.parametrize("last", [1, 3, 5, 6])  # within an epoch or at its end
def test_a_resumed_training_ends_like_an_uninterrupted_one(train, uninterrupted, last, tmp_path):
    whole, metrics, weights = uninterrupted
    shutil.copytree(whole, tmp_path / "again")
    for step in range(last + 1, 7):
        shutil.rmtree(tmp_path / "again" / f"checkpoint-{step}")
    # The lines of repeated steps are still in the file, and half of the last one.
    text = "".join(json.dumps(entry) + "\n" for entry in metrics[: last + 1])
    (tmp_path / "again.jsonl").write_text(text[:-5] if last < 6 else text)
    result = train("again", rows=11, spec=RESUMED, resume=True)
    assert (result.steps, result.stop_signal) == (6, None)
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)
    for step in range(last + 1, 7):
        assert_same_checkpoints(train.checkpoints / f"checkpoint-{step}", whole / f"checkpoint-{step}")
    assert train.metrics() == metrics


def test_a_resumed_training_in_own_passes_ends_like_an_uninterrupted_one(train, tmp_path):
    settings = {"rows": 11, "method": LoraMethod(rank=4), "spec": RESUMED}
    train("whole", **settings)
    weights, metrics = train.trained(), train.metrics()
    shutil.copytree(train.checkpoints, tmp_path / "again")
    for step in range(4, 7):
        shutil.rmtree(tmp_path / "again" / f"checkpoint-{step}")
    train("again", **settings, resume=True)
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)
    assert train.metrics() == metrics[3:]


def test_an_incomplete_checkpoint_is_ignored(train, uninterrupted, tmp_path):
    whole, _, weights = uninterrupted
    again = shutil.copytree(whole, tmp_path / "again")
    for step in (5, 6):
        (again / f"checkpoint-{step}" / "complete").unlink()
        (again / f"checkpoint-{step}" / "optimizer.pt").write_bytes(b"half")
    train("again", rows=11, spec=RESUMED, resume=True)
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)
    assert train.steps() == [1, 2, 3, 4, 5, 6]
    assert_same_checkpoints(again / "checkpoint-6", whole / "checkpoint-6")


def test_resume_without_a_checkpoint_starts_a_training(train, uninterrupted, tmp_path):
    _, metrics, weights = uninterrupted
    train("again", rows=11, spec=RESUMED, resume=True)
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)
    assert train.metrics() == metrics


def test_a_new_training_removes_the_files_of_the_old_one(train, uninterrupted, tmp_path):
    whole, _, _ = uninterrupted
    shutil.copytree(whole, tmp_path / "again")
    shutil.copy(whole.with_suffix(".jsonl"), tmp_path / "again.jsonl")
    train("again", rows=11, spec=RESUMED | {"keep_checkpoints": 1, "epochs": 1})
    assert train.steps() == [3]
    assert [entry["step"] for entry in train.metrics()] == [1, 2, 3]


class DevScore:
    """Returns 1, 2, 3, ... and draws random numbers; the call number `fails_at` raises an error."""

    def __init__(self, fails_at=None):
        self.calls = 0
        self.fails_at = fails_at
        self.was_training = False

    def __call__(self, model):
        self.was_training |= model.training
        torch.rand(3)
        if self.calls + 1 == self.fails_at:
            self.fails_at = None
            raise OSError("the disk is full")
        self.calls += 1
        return {"score": self.calls}


def test_resume_after_an_error_between_two_checkpoints(train):
    train("whole", rows=11, spec=RESUMED, dev_score=DevScore())
    whole, metrics, weights = train.checkpoints, train.metrics(), train.trained()
    dev_score = DevScore(fails_at=5)
    with pytest.raises(OSError, match="the disk is full"):
        train("again", rows=11, spec=RESUMED, dev_score=dev_score)
    assert train.steps() == [1, 2, 3, 4]
    result = train("again", rows=11, spec=RESUMED, dev_score=dev_score, resume=True)
    assert (result.steps, result.best_step, result.best_score) == (6, 6, 6)
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)
    assert_same_checkpoints(train.checkpoints / "checkpoint-6", whole / "checkpoint-6")
    assert train.metrics() == metrics
    assert not dev_score.was_training


def scores(*values):
    remaining = list(values)
    return lambda _: {"score": remaining.pop(0)}


@pytest.mark.parametrize("method", [DROPOUT, FullMethod(kind="full")])
def test_the_best_weights_are_restored(train, method):
    weights = []
    values = iter([0.2, 0.9, 0.9, 0.1, 0.3])

    def dev_score(model):
        weights.append({name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad})
        return {"score": next(values), "accuracy": 0.5}

    result = train(method=method, spec={"save_steps": 1, "keep_checkpoints": 1}, dev_score=dev_score)
    assert (result.steps, result.best_step, result.best_score) == (5, 2, 0.9)
    assert_same_weights(train.trained(), weights[1], rtol=0, atol=0)
    assert train.steps() == [2, 5], "the best and the last are kept"
    scored = [entry for entry in train.metrics() if "score" in entry]
    assert [(entry["step"], entry["score"], entry["eval_accuracy"]) for entry in scored] == [
        (step, score, 0.5) for step, score in enumerate([0.2, 0.9, 0.9, 0.1, 0.3], start=1)
    ]
    # A resume of a finished training restores the best weights, too.
    train(method=method, spec={"save_steps": 1, "keep_checkpoints": 1}, dev_score=dev_score, resume=True)
    assert_same_weights(train.trained(), weights[1], rtol=0, atol=0)


def test_the_lower_log_loss_decides_between_equal_scores(train):
    # Like a model that predicts the frequent label for all rows while its probabilities improve.
    measures = iter([(0.5, 0.9, 0.1), (0.5, 0.5, 0.2), (0.5, 0.4, 0.3), (0.4, 0.1, 0.1), (0.5, 0.6, 0.1)])

    def dev_score(_):
        score, *losses = next(measures)
        return {"score": score, **{f"{name}_log_loss": loss for name, loss in zip("ab", losses, strict=True)}}

    spec = {"save_steps": 1, "keep_checkpoints": 1, "patience": 3}
    result = train(spec=spec, dev_score=dev_score)
    # The sums at steps 2, 3 and 5 are all 0.7; the first of them is the best.
    assert (result.steps, result.best_step, result.best_score) == (5, 2, 0.5)
    assert train.steps() == [2, 5]


def test_a_training_resumed_without_dev_rows_ends_with_the_last_weights(train):
    weights = []
    values = iter([0.2, 0.9, 0.9, 0.1, 0.3])

    def dev_score(_):
        weights.append(train.trained())
        return {"score": next(values)}

    train(spec={"save_steps": 1}, dev_score=dev_score)
    result = train(spec={"save_steps": 1}, resume=True)
    assert (result.steps, result.best_step, result.best_score) == (5, None, None)
    assert_same_weights(train.trained(), weights[-1], rtol=0, atol=0)


def test_each_epoch_ends_with_a_checkpoint_and_a_dev_score(train):
    result = train(spec={"epochs": 3, "keep_checkpoints": 2}, dev_score=scores(1, 2, 3))
    assert (result.steps, result.best_step) == (15, 15)
    assert train.steps() == [10, 15]
    assert [entry["step"] for entry in train.metrics() if "score" in entry] == [5, 10, 15]


def test_a_long_epoch_has_checkpoints_before_its_end(train, monkeypatch):
    monkeypatch.setattr(callbacks, "SAFETY_STEPS", 2)
    spec = {"epochs": 2, "keep_checkpoints": 99}
    train(rows=12, spec=spec, dev_score=scores(*range(6)))  # 6 steps an epoch, so both are due at its end
    assert train.steps() == [2, 4, 6, 8, 10, 12]
    assert [entry["step"] for entry in train.metrics() if "score" in entry] == [2, 4, 6, 8, 10, 12]
    train("other", rows=10, spec=spec)
    assert train.steps() == [2, 4, 5, 6, 8, 10]


def test_max_steps_ends_in_the_middle_of_an_epoch(train):
    result = train(spec={"epochs": 3, "max_steps": 7}, dev_score=scores(1, 2))
    assert (result.steps, result.best_step) == (7, 7)
    assert train.steps() == [5, 7]


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "steps"), [(0, 10), (1, 3), (2, 6), (3, 10)])
def test_patience_ends_a_training(train, patience, steps):
    # New bests are at steps 1, 2 and 4; an equal score is not a new best.
    values = scores(1, 2, 2, 3, 3, 1, 4, 3, 3, 4)
    spec = {"epochs": 2, "save_steps": 1, "patience": patience}
    result = train(spec=spec, dev_score=values)
    assert result.steps == steps
    assert result.stop_signal is None
    weights, metrics = train.trained(), train.metrics()
    # A resume of a training that ended early neither trains nor scores.
    assert train(spec=spec, dev_score=scores(), resume=True) == result
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)
    assert train.metrics() == metrics


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "number", "save_steps"),
    [
        (1, signal.SIGTERM, 0),
        (1, signal.SIGTERM, 1),
        (3, signal.SIGINT, 0),
        (3, signal.SIGTERM, 1),
        (6, signal.SIGTERM, 4),
    ],
)
def test_a_signal_writes_a_checkpoint_and_ends_the_training(
    train, uninterrupted, make_listener, step, number, save_steps
):
    whole, metrics, weights = uninterrupted
    spec = RESUMED | {"save_steps": save_steps}
    before = signal.getsignal(number)
    kill = make_listener(on_training=lambda each: os.kill(os.getpid(), number) if each.done == step else None)
    result = train("again", rows=11, spec=spec, listener=kill, dev_score=lambda _: {"score": 1.0})
    # The signal comes at the end of a step. The next step is still done, unless the epoch ends here (3, 6).
    end = step if step in (3, 6) else step + 1
    assert (result.steps, result.stop_signal) == (end, number)
    assert train.steps()[-1] == end
    assert_same_checkpoints(train.checkpoints / f"checkpoint-{end}", whole / f"checkpoint-{end}")
    assert signal.getsignal(number) is before
    result = train("again", rows=11, spec=spec, resume=True)
    assert (result.steps, result.stop_signal) == (6, None)
    assert_same_weights(train.trained(), weights, rtol=0, atol=0)
    assert [entry for entry in train.metrics() if "loss" in entry] == metrics


@pytest.mark.parametrize("step", [3, 6])  # at the ends of both epochs
def test_a_signal_during_a_dev_score_ends_the_training(train, listener, step):
    values = scores(1, 2, 3)

    def dev_score(model):
        if listener.steps[-1].done == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return values(model)

    result = train(rows=11, spec=RESUMED | {"save_steps": 0}, listener=listener, dev_score=dev_score)
    assert result.stop_signal == signal.SIGTERM
    assert train.steps()[-1] == result.steps
    assert step <= result.steps <= step + 1


def test_a_second_signal_stops_at_once(train, make_listener):
    def stop(*_):
        raise KeyboardInterrupt

    def interrupt_twice(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(listener=make_listener(on_training=interrupt_twice))
        assert signal.getsignal(signal.SIGINT) is stop
    finally:
        signal.signal(signal.SIGINT, before)


def test_progress_is_reported(train, listener):
    train(listener=listener)
    assert [(each.stage, each.done, each.total) for each in listener.steps] == [("training", n, 5) for n in range(1, 6)]
    assert all(each.rows_per_s > 0 for each in listener.steps)
    assert listener.steps[0].loss is None
    assert listener.steps[0].seconds_left > listener.steps[-1].seconds_left == 0
    assert listener.steps[-1].loss in [entry["loss"] for entry in train.metrics()]


def test_examples_with_a_weight_of_zero_change_nothing(train, make_model):
    rows = [TrainingRow([3, 4, 5], [Question([[9]], VOCABULARY, 0.0)])] * 4
    train.model = build_trainable(make_model(), DROPOUT, seed=0)
    before = train.trained()
    spec = TrainingSpec(micro_batch_size=2)
    fit(train.model, rows, [], FitSettings(spec, train.folder / "x", train.folder / "m", torch.float32))
    assert_same_weights(train.trained(), before, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", [DROPOUT, FreezeMethod(kind="freeze", layers=1), FullMethod(kind="full")])
def test_a_bfloat16_model_has_float32_parameters(train, make_model, method):
    """Products are in bfloat16 and trainable parameters in float32; the dev score runs on the same model."""
    train.make_model = lambda: make_model().bfloat16()
    ids = torch.arange(3, 13)[None]
    outputs = []

    def dev_score(model):
        with torch.inference_mode():
            outputs.append(model(input_ids=ids).logits)
        return {"score": 1.0}

    result = train(
        rows=24,
        method=method,
        spec={"epochs": 4, "learning_rate": 1e-2},
        compute_dtype=torch.bfloat16,
        dev_score=dev_score,
    )
    assert result.steps == 48
    assert {tensor.dtype for tensor in train.trained().values()} == {torch.float32}
    losses = [entry["loss"] for entry in train.metrics() if "loss" in entry]
    assert sum(losses[-12:]) < 0.6 * sum(losses[:12])
    assert len(outputs) == 4
    assert outputs[0].isfinite().all()


@pytest.mark.parametrize("spec", [{"accumulation": 3, "epochs": 2}, {"max_steps": 7}, {"epochs": 1.5}])
def test_the_time_left_is_exact_from_the_first_step_where_each_token_takes_a_second(
    spec, train, make_listener, monkeypatch
):
    clock = [0.0]
    steps = []
    learn = loop._AnswerTrainer.training_step

    def take_a_second_for_each_token(self, model, inputs, *rest):
        clock[0] += float(inputs["lengths"].sum())
        return learn(self, model, inputs, *rest)

    monkeypatch.setattr(loop._AnswerTrainer, "training_step", take_a_second_for_each_token)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    remember = make_listener(on_training=lambda step: steps.append((clock[0], step.seconds_left)))
    train(rows=23, spec=spec, listener=remember)
    assert len(steps) > 4
    assert [now + left for now, left in steps] == pytest.approx([clock[0]] * len(steps))


@pytest.mark.slow
@pytest.mark.parametrize("method", [LoraMethod(rank=4), LoraMethod(rank=4, layers=1)])
def test_parts_in_threads_train_like_parts_one_after_another(train, monkeypatch, method):
    monkeypatch.setattr(own_passes, "PASS_TOKENS", 24)
    spec = {"micro_batch_size": 4, "epochs": 2, "learning_rate": 3e-3}
    train("one", method=method, spec=spec)
    expected = train.trained()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train("two", method=method, spec=spec)
    finally:
        torch.set_num_threads(threads)
    assert_same_weights(train.trained(), expected, rtol=0, atol=1e-5)
