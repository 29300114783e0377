"""A GPU with too little memory, simulated by a hook on a model on the CPU."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from papertune.errors import ModelError
from papertune.evaluation.dev_score import DevScore
from papertune.inference.gpu_memory import MIN_TOKENS
from papertune.inference.journal import Journal
from papertune.inference.plan import MIN_PROMPT_TOKENS
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.kinds.keywords.ranked.ranking import FEATURES, KeywordChoice
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import read_table

DOCUMENTS = ["the heart of patients", "", "graphs " * 20, "漢字", "the", "neural networks " * 9, "the heart"]
COLUMNS = {
    "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
    "code": {"kind": "label", "question": "Which code?", "labels": ["1", "12", "120", "2"]},
    "Keywords": {"kind": "keywords", "question": "Keywords?", "max_new_tokens": 5},
    "ranked": {"kind": "ranked_keywords", "question": "Keyword?", "count": 3, "beams": 3, "max_keyword_tokens": 3},
}
TOPICS = {
    "topics": {
        "kind": "labels",
        "question": "About {label}?",
        "labels": [f"topic number {number}" for number in range(16)],
    }
}


@pytest.fixture(autouse=True)
def _no_beginning(monkeypatch):
    """Run whole prompts, as on a GPU."""
    monkeypatch.setattr("papertune.inference.predictor._MIN_BEGINNING", 1000)


def made(model, tokenizer, columns=COLUMNS, **options):
    """Return a predictor that runs whole batches, as on a GPU, and a reader of all documents."""
    recipe = load_recipe({"table": {"document": "{text}"}, "columns": columns})
    # With a fitted ranking, phrases are candidates too.
    ranking = KeywordChoice(np.eye(len(FEATURES))[FEATURES.index("log_probability")])
    predictor = Predictor(model, tokenizer, recipe, decisions={"ranked": ranking}, **options)
    predictor._engine._part_tokens = None
    return predictor, RowReader(read_table([{"text": text} for text in DOCUMENTS]), recipe)


@contextmanager
def memory_for(model, *, rows=10**6, tokens=10**6):
    """Make passes with more rows or padded tokens than these fail; yield the shapes of all passes."""
    passes = []

    def check(_, __, arguments):
        shape = arguments["input_ids"].shape
        passes.append(shape)
        if shape[0] > rows or shape.numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    handle = model.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield passes
    finally:
        handle.remove()


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, cells in expected.items():
        for cell, other in zip(got[name], cells, strict=True):
            if name == "ranked":  # texts, each with a confidence, as JSON
                assert [part for part in cell.split('"') if part.isalpha()] == [
                    part for part in other.split('"') if part.isalpha()
                ]
            else:
                assert cell == (other if isinstance(other, str) else pytest.approx(other, abs=1e-5)), name


@pytest.mark.parametrize("columns", [["label"], ["code"], list(COLUMNS)], ids=["single tokens", "trie", "all"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_that_does_not_fit_is_answered_in_halves(tiny_model, tiny_tokenizer, columns, rows):
    predictor, reader = made(tiny_model, tiny_tokenizer, {name: COLUMNS[name] for name in columns})
    every = range(len(DOCUMENTS))
    expected = predictor.answer(reader, every)
    with memory_for(tiny_model, rows=rows) as passes:
        assert_same(predictor.answer(reader, every), expected)
    tried = [shape[0] for shape in passes]
    assert max(tried) == len(DOCUMENTS), "the whole batch was tried first"
    assert any(count <= rows for count in tried), "and then done in parts"


def test_the_questions_of_one_row_are_split(tiny_model, tiny_tokenizer):
    predictor, reader = made(tiny_model, tiny_tokenizer, TOPICS)
    expected = predictor.answer(reader, [5])
    with memory_for(tiny_model) as passes:
        predictor.answer(reader, [5])
    longest = max(shape.numel() for shape in passes)
    assert longest > MIN_PROMPT_TOKENS  # the questions; the document is short
    with memory_for(tiny_model, tokens=MIN_PROMPT_TOKENS) as passes:
        assert_same(predictor.answer(reader, [5]), expected)
    assert sum(shape.numel() > MIN_PROMPT_TOKENS for shape in passes) > 1


def test_parts_fit_a_known_memory(tiny_model, tiny_tokenizer):
    predictor, reader = made(tiny_model, tiny_tokenizer, {"label": COLUMNS["label"]})
    every = range(len(DOCUMENTS))
    expected = predictor.answer(reader, every)
    predictor._pass_tokens = 256
    with memory_for(tiny_model) as passes:
        assert_same(predictor.answer(reader, every), expected)
    assert sum(shape[0] for shape in passes) == len(DOCUMENTS)
    assert 1 < len(passes) < len(DOCUMENTS)
    assert all(shape.numel() <= 256 and shape[0] <= 256 // MIN_PROMPT_TOKENS for shape in passes)
    # With enough memory a batch of the plan is one part.
    predictor._pass_tokens = MIN_TOKENS
    predictor.max_batch_tokens = MIN_TOKENS
    with memory_for(tiny_model) as passes:
        for batch in (batches := predictor.plan(reader, every).batches):
            predictor.answer(reader, batch)
    assert [shape[0] for shape in passes] == batches.sizes.tolist()


def test_a_row_that_does_not_fit_raises_and_finished_rows_are_kept(tiny_model, tiny_tokenizer, tmp_path):
    predictor, reader = made(tiny_model, tiny_tokenizer, {"label": COLUMNS["label"]}, max_batch_tokens=160)
    plan = predictor.plan(reader, range(len(DOCUMENTS)))
    expected = predict_rows(predictor, reader, plan).values["label"]
    journal = Journal(tmp_path / "out.csv", "f", len(plan.batches))
    longest = int(plan.tokens[0])
    plan.batches.rows[:] = plan.batches.rows[::-1].copy()  # the longest row last
    plan.batches.starts[:] = len(DOCUMENTS) - plan.batches.starts[::-1].copy()
    with (
        journal,
        memory_for(tiny_model, tokens=longest - 1),
        pytest.raises(ModelError) as caught,
    ):
        predict_rows(predictor, reader, plan, journal=journal)
    assert str(caught.value) == (
        f"a prompt of {longest} tokens does not fit into the memory of cpu beside the model. End other programs that "
        "use this memory, or take --device cpu."
    )
    with Journal(tmp_path / "out.csv", "f", len(plan.batches)) as journal:
        assert journal.finished.tolist() == [True] * (len(plan.batches) - 1) + [False]
        assert (predict_rows(predictor, reader, plan, journal=journal).values["label"] == expected).all()


def test_a_dev_score_is_computed_in_halves(tiny_model, tiny_tokenizer):
    recipe = load_recipe({"table": {"document": "{text}"}, "columns": {"code": COLUMNS["code"]}})
    table = read_table([{"text": text, "code": code} for text, code in zip(DOCUMENTS, "1221221", strict=True)])
    score = DevScore([table], recipe, tiny_tokenizer, torch.float32)
    expected = score(tiny_model)
    with memory_for(tiny_model, rows=3) as passes:
        assert score(tiny_model) == pytest.approx(expected, abs=1e-5)
    assert max(shape[0] for shape in passes) > 3


def test_sharded_weights_are_not_retried_in_halves(own_tiny_model, tiny_tokenizer):
    # The other processes would continue with a whole batch.
    next(own_tiny_model.parameters()).ds_id = 0
    predictor, reader = made(own_tiny_model, tiny_tokenizer, {"label": COLUMNS["label"]})
    with memory_for(own_tiny_model, rows=3) as passes, pytest.raises(torch.OutOfMemoryError):
        predictor.answer(reader, range(len(DOCUMENTS)))
    assert len(passes) == 1


# Encoding ahead


def test_the_next_batch_is_encoded_while_one_is_answered(tiny_model, tiny_tokenizer, monkeypatch):
    predictor, reader = made(tiny_model, tiny_tokenizer, {"label": COLUMNS["label"]}, max_batch_tokens=160)
    plan = predictor.plan(reader, range(len(DOCUMENTS)))
    assert len(plan.batches) > 3
    expected = predict_rows(predictor, reader, plan).values["label"]
    encode, answer = predictor.encode, predictor.answer
    encoded, answered, two_encoded = [], [], threading.Event()

    def encoding(reader, rows):
        encoded.append((rows, threading.current_thread()))
        if len(encoded) == 2:
            two_encoded.set()
        return encode(reader, rows)

    def answering(reader, rows, prompts):
        assert two_encoded.wait(timeout=60), "the second batch is encoded before the first is answered"
        answered.append(len(prompts))
        return answer(reader, rows, prompts)

    monkeypatch.setattr(predictor, "encode", encoding)
    monkeypatch.setattr(predictor, "answer", answering)
    monkeypatch.setattr(predictor, "encodes_ahead", True)
    assert (predict_rows(predictor, reader, plan).values["label"] == expected).all()
    assert [rows for rows, _ in encoded] == list(plan.batches)
    assert answered == plan.batches.sizes.tolist()
    (thread,) = {thread for _, thread in encoded}
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


@pytest.mark.parametrize("fails", ["encode", "answer"])
def test_an_error_ends_the_thread(tiny_model, tiny_tokenizer, monkeypatch, fails):
    predictor, reader = made(tiny_model, tiny_tokenizer, {"label": COLUMNS["label"]}, max_batch_tokens=160)
    plan = predictor.plan(reader, range(len(DOCUMENTS)))
    before = threading.active_count()

    def failing(*_):
        raise ModelError("no")

    monkeypatch.setattr(predictor, fails, failing)
    monkeypatch.setattr(predictor, "encodes_ahead", True)
    with pytest.raises(ModelError, match="no"):
        predict_rows(predictor, reader, plan)
    assert threading.active_count() == before
    assert not Predictor(tiny_model, tiny_tokenizer, predictor.recipe).encodes_ahead
