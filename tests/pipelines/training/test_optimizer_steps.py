import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.pipelines.training.optimizer_steps import (
    ENOUGH_STEPS,
    MIN_STEPS,
    SMALL_TABLE,
    label_settings_for,
    optimizer_steps,
    settings_for,
    too_few_steps,
)
from papertune.recipe import TrainingSpec, load_recipe
from papertune.training.shares import SharedBatchSampler

pytestmark = pytest.mark.once


@given(
    rows=st.integers(1, 60),
    batch=st.integers(1, 9),
    accumulation=st.integers(1, 4),
    processes=st.integers(1, 3),
    epochs=st.integers(1, 3),
)
def test_steps_are_counted_like_the_batches(rows, batch, accumulation, processes, epochs):
    sampler = SharedBatchSampler([7] * rows, batch, 0, accumulation=accumulation, index=0, count=processes)
    passes = len(list(sampler))
    spec = TrainingSpec(micro_batch_size=batch, accumulation=accumulation, epochs=epochs)
    assert optimizer_steps(spec, rows, processes) == epochs * -(-passes // accumulation)


@pytest.mark.parametrize(
    ("rows", "settings"), [(1400, (8, 1)), (800, (8, 1)), (799, (4, 1)), (248, (2, 1)), (160, (2, 2)), (12, (2, 5))]
)
def test_small_tables_get_small_batches_and_then_epochs(rows, settings):
    assert settings_for(rows) == settings


@given(rows=st.integers(1, 3000))
def test_a_table_gets_enough_steps_if_it_can(rows):
    batch, epochs = settings_for(rows)
    steps = optimizer_steps(TrainingSpec(micro_batch_size=batch, epochs=epochs), rows)
    assert steps >= ENOUGH_STEPS or (batch, epochs) == (2, 5)


@pytest.mark.parametrize(
    ("rows", "settings"),
    [(1, (2, 10)), (50, (2, 10)), (100, (4, 10)), (200, (8, 10)), (300, (8, 8)), (799, (8, 3)), (999, (8, 2))],
)
def test_small_tables_of_labels_get_more_epochs(rows, settings):
    assert label_settings_for(rows) == settings


@given(rows=st.integers(40, SMALL_TABLE - 1))
def test_a_small_table_of_labels_gets_about_three_hundred_steps(rows):
    batch, epochs = label_settings_for(rows)
    assert 200 <= optimizer_steps(TrainingSpec(micro_batch_size=batch, epochs=epochs), rows) <= 357


def test_few_steps_are_reported_with_settings_for_more():
    few = too_few_steps(TrainingSpec(), 160)
    assert few == (
        "160 rows make 20 optimizer steps, so the model may hardly change. To learn more from them, "
        "add --set training.micro_batch_size=2 --set training.epochs=2"
    )
    few = too_few_steps(TrainingSpec(micro_batch_size=2, accumulation=8), 500)
    assert few.endswith(" To learn more from them, add --set training.accumulation=1")
    # Batches of one row are kept.
    few = too_few_steps(TrainingSpec(micro_batch_size=1, accumulation=16), 160)
    assert few.endswith(" add --set training.accumulation=1")
    assert too_few_steps(TrainingSpec(micro_batch_size=2, epochs=5), 1) == (
        "1 row makes 5 optimizer steps, so the model may hardly change."
    )


RECIPE = {
    "table": {"document": "{title}"},
    "columns": {"label": {"kind": "label", "sources": ["model"], "question": "?", "labels": ["1", "0"]}},
}


@given(
    rows=st.integers(1, 4000),
    batch=st.integers(1, 16),
    accumulation=st.integers(1, 16),
    epochs=st.integers(1, 6),
    processes=st.integers(1, 8),
)
def test_the_advised_settings_make_enough_steps(rows, batch, accumulation, epochs, processes):
    training = {"micro_batch_size": batch, "accumulation": accumulation, "epochs": epochs}
    few = too_few_steps(TrainingSpec(**training), rows, processes)
    if few is None:
        assert optimizer_steps(TrainingSpec(**training), rows, processes) >= MIN_STEPS
        return
    settings = few.split("--set ")[1:]
    followed = load_recipe({**RECIPE, "training": training}, [setting.strip() for setting in settings]).training
    best = TrainingSpec(micro_batch_size=min(batch, 2), epochs=max(epochs, 5))
    if optimizer_steps(best, rows, processes) >= MIN_STEPS:
        assert too_few_steps(followed, rows, processes) is None
    assert followed.epochs * followed.micro_batch_size <= max(epochs, 5) * batch


def test_enough_steps_or_a_given_number_are_not_reported():
    assert too_few_steps(TrainingSpec(), 8 * MIN_STEPS) is None
    assert too_few_steps(TrainingSpec(max_steps=3), 160) is None
    assert too_few_steps(TrainingSpec(), 0) is None
