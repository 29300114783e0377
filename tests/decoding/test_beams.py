import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from papertune.decoding.beams import beam_search
from papertune.decoding.engine import Engine

END = 2


@pytest.fixture(scope="module")
def small():
    """Return a model with so few tokens that all short answers can be enumerated."""
    torch.manual_seed(5)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 7}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, initializer_range=0.6, bos_token_id=0, eos_token_id=END))
    return model.eval()


def log_probability(model, prompt, answer):
    ids = torch.tensor([[*prompt, *answer]])
    logs = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(dim=-1)
    return sum(float(logs[place, token]) for place, token in enumerate(answer))


@torch.no_grad()
def slow_search(model, prompt, beams, limit, *, by_mean=False, forbid=lambda answer: ()):
    """Search with a separate pass for every continuation of every beam."""

    def rank(pair):
        return pair[1] / (len(pair[0]) + 1) if by_mean else pair[1]

    active, done = [()], []
    for step in range(limit + 1):
        if step or by_mean:
            ending = [answer for answer in active if END not in forbid(answer)]
            done += [(answer, log_probability(model, prompt, [*answer, END])) for answer in ending]
            done = sorted(done, key=rank, reverse=True)[:beams]
        if step == limit:
            break
        longer = [
            (*answer, token)
            for answer in active
            for token in range(model.config.vocab_size)
            if token != END and token not in forbid(answer)
        ]
        active = sorted(longer, key=lambda answer: -log_probability(model, prompt, answer))[:beams]
        if not active:
            break
        mean = log_probability(model, prompt, active[0]) / len(active[0])
        if by_mean and len(done) == beams and mean <= rank(done[-1]):
            break
    return done


PROMPTS = [[3, 4, 5, 6, 1], [6], [1, 1, 3]]


@pytest.mark.parametrize(("beams", "limit"), [(1, 4), (3, 1), (3, 4), (40, 2)])
def test_a_batch_equals_a_slow_search_row_by_row(small, beams, limit):
    engine = Engine(small)
    found = beam_search(engine, engine.prefill(PROMPTS), end_ids={END}, beams=beams, max_new_tokens=limit)
    for prompt, row in zip(PROMPTS, found, strict=True):
        expected = slow_search(small, prompt, beams, limit)
        assert [beam.ids for beam in row] == [answer for answer, _ in expected]
        assert [beam.log_probability for beam in row] == pytest.approx([log for _, log in expected], abs=1e-4)


def test_beams_below_the_complete_answers_leave_the_search(small, monkeypatch):
    engine, widths, grow = Engine(small), [], Engine.grow_tree

    def counted(engine, state, ids, *arguments):
        widths.append(ids.shape[1])
        return grow(engine, state, ids, *arguments)

    monkeypatch.setattr(Engine, "grow_tree", counted)
    beam_search(engine, engine.prefill(PROMPTS[:1]), end_ids={END}, beams=5, max_new_tokens=8)
    assert widths[0] == 5
    assert widths[-1] < 5


@pytest.mark.parametrize(("beams", "limit"), [(1, 6), (3, 1), (3, 8), (40, 2)])
def test_complete_answers_can_be_ranked_by_their_mean(small, beams, limit):
    engine = Engine(small)
    options = {"beams": beams, "max_new_tokens": limit, "by_mean": True}
    found = beam_search(engine, engine.prefill(PROMPTS), end_ids={END}, **options)
    for prompt, row in zip(PROMPTS, found, strict=True):
        expected = slow_search(small, prompt, beams, limit, by_mean=True)
        assert [answer.ids for answer in row] == [answer for answer, _ in expected]
        assert [answer.log_probability for answer in row] == pytest.approx([log for _, log in expected], abs=1e-4)
        means = [answer.mean_log_probability for answer in row]
        assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("beams", [2, 4])
def test_the_best_answer_is_no_worse_than_that_of_transformers(small, beams):
    engine = Engine(small)
    options = {"beams": beams, "max_new_tokens": 8, "by_mean": True}
    found = beam_search(engine, engine.prefill(PROMPTS), end_ids={END}, **options)
    compared = 0
    for prompt, row in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([prompt])
        generated = small.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_beams=beams,
            max_new_tokens=8,
            pad_token_id=0,
            output_scores=True,
            return_dict_in_generate=True,
        )
        answer = generated.sequences[0, len(prompt) :].tolist()
        if END in answer:  # else it was cut off
            compared += 1
            assert row[0].mean_log_probability >= float(generated.sequences_scores[0]) - 1e-4
            if list(row[0].ids) == answer[: answer.index(END)]:
                assert row[0].mean_log_probability == pytest.approx(float(generated.sequences_scores[0]), abs=1e-4)
    assert compared


def only_even_then_end(answer):
    """Forbid odd tokens, a token twice in a row, and an end before the second token."""
    forbidden = {1, 3, 5, *answer[-1:]}
    return forbidden | {END} if len(answer) < 2 else forbidden


@pytest.mark.parametrize("as_mask", [False, True])
@pytest.mark.parametrize(("beams", "limit"), [(1, 4), (3, 4), (40, 3)])
def test_forbidden_tokens_are_in_no_answer(small, beams, limit, as_mask):
    def forbid(answer):
        ids = only_even_then_end(answer)
        return torch.tensor([token in ids for token in range(7)]) if as_mask else ids

    engine = Engine(small)
    options = {"end_ids": {END}, "beams": beams, "max_new_tokens": limit}
    found = beam_search(engine, engine.prefill(PROMPTS), **options, forbid=forbid)
    for prompt, row in zip(PROMPTS, found, strict=True):
        expected = slow_search(small, prompt, beams, limit, forbid=only_even_then_end)
        assert [answer.ids for answer in row] == [answer for answer, _ in expected]
        assert [answer.log_probability for answer in row] == pytest.approx([log for _, log in expected], abs=1e-4)
        assert all(len(answer.ids) >= 2 and not {1, 3, 5} & set(answer.ids) for answer in row)


def test_without_an_allowed_answer_there_is_none(small):
    engine = Engine(small)
    options = {"end_ids": {END}, "beams": 3, "max_new_tokens": 4}
    nothing = beam_search(engine, engine.prefill(PROMPTS), **options, forbid=lambda answer: range(7))
    assert nothing == [[], [], []]
    endless = beam_search(engine, engine.prefill(PROMPTS), **options, forbid=lambda answer: {END})
    assert endless == [[], [], []]
    ended = beam_search(engine, engine.prefill(PROMPTS), **options, forbid=lambda answer: None if answer else ())
    assert ended == [[], [], []]


@pytest.mark.parametrize("by_mean", [False, True])
def test_numbers_that_overflow_during_the_search_are_not_hidden(small, monkeypatch, by_mean):
    engine = Engine(small)
    grow = engine.grow_tree
    monkeypatch.setattr(engine, "grow_tree", lambda *arguments: grow(*arguments) * torch.nan)
    options = {"end_ids": {END}, "beams": 3, "max_new_tokens": 4, "by_mean": by_mean}
    for row in beam_search(engine, engine.prefill(PROMPTS), **options):
        assert any(math.isnan(answer.log_probability) for answer in row)


def test_with_enough_beams_every_answer_is_found(small):
    engine = Engine(small)
    (row,) = beam_search(engine, engine.prefill(PROMPTS[:1]), end_ids={END}, beams=6 + 36, max_new_tokens=2)
    assert len({beam.ids for beam in row}) == 6 + 36
    # The rest of the probability is of empty answers and of more than two tokens.
    with torch.no_grad():
        at_once = math.exp(log_probability(small, PROMPTS[0], [END]))
    assert 0.1 < sum(math.exp(beam.log_probability) for beam in row) < 1 - at_once


def test_finished_rows_leave_the_batch(small, monkeypatch):
    engine, sizes = Engine(small), []
    grow = engine.grow_tree

    def counted(state, ids, *rest):
        sizes.append(len(ids))
        return grow(state, ids, *rest)

    monkeypatch.setattr(engine, "grow_tree", counted)
    beam_search(engine, engine.prefill(PROMPTS), end_ids={END}, beams=2, max_new_tokens=30)
    assert sizes[0] == len(PROMPTS)
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) < 30 or sizes[-1] < len(PROMPTS), "no row was ever done"


def test_several_end_tokens_count_together(small):
    engine = Engine(small)
    (row,) = beam_search(engine, engine.prefill([[3, 4]]), end_ids={END, 5}, beams=8, max_new_tokens=2)
    with torch.no_grad():
        for beam in row:
            ends = [log_probability(small, [3, 4], [*beam.ids, end]) for end in (END, 5)]
            assert not {END, 5} & set(beam.ids)
            assert beam.log_probability == pytest.approx(math.log(sum(map(math.exp, ends))), abs=1e-4)


def test_ids_that_the_tokenizer_lacks_are_never_chosen(small):
    engine = Engine(small)
    options = {"end_ids": {END}, "beams": 50, "max_new_tokens": 2}
    (free,) = beam_search(engine, engine.prefill([[3, 4]]), **options)
    (bound,) = beam_search(engine, engine.prefill([[3, 4]]), **options, vocabulary=5)
    assert any(max(beam.ids) >= 5 for beam in free)
    assert [(beam.ids, pytest.approx(beam.log_probability)) for beam in free if max(beam.ids) < 5] == [
        (beam.ids, beam.log_probability) for beam in bound
    ]


def test_an_end_token_that_the_tokenizer_lacks_ends_an_answer(small):
    """The generation configuration may name one."""
    engine = Engine(small)
    (row,) = beam_search(engine, engine.prefill([[3, 4]]), end_ids={END, 6}, beams=50, max_new_tokens=2, vocabulary=5)
    words = (0, 1, 3, 4)
    assert {beam.ids for beam in row} == {(a,) for a in words} | {(a, b) for a in words for b in words}
    with torch.no_grad():
        ends = [log_probability(small, [3, 4], [*row[0].ids, end]) for end in (END, 6)]
    assert row[0].log_probability == pytest.approx(math.log(sum(map(math.exp, ends))), abs=1e-4)
