import asyncio

import numpy as np
import pytest

from papertune.errors import PapertuneError
from papertune.run import load_run
from papertune.serve.answering.opened import OpenRun, RunInMemory
from papertune.serve.answering.predict import predicted_row, probabilities_of
from papertune.serve.answering.rows import fill_together
from papertune.serve.answering.wanted import RowsWanted
from papertune.serve.answering.worker import ModelWorker


@pytest.fixture(scope="module")
def opened(workspace):
    """Return the open run with all kinds of columns."""
    return OpenRun(load_run(workspace.runs / "all", device="cpu"))


def without(row, *names):
    return {name: cell for name, cell in row.items() if name not in names}


def cells_of(filled):
    """Return the cells of the columns themselves, and all numbers beside them."""
    own = {name: list(filled.cells[name]) for name in filled.recipe.columns}
    return own, [
        float(p) for name in ("label", "topics") for row in filled.predictions[name].probabilities for p in row
    ]


@pytest.mark.slow
def test_requests_together_get_what_each_gets_alone(opened, papers):
    rows = papers(10, 90)
    requests = [RowsWanted([row]) for row in rows[:5]]
    requests += [RowsWanted(rows[5:8]), RowsWanted([without(rows[8], "uuid")]), RowsWanted([rows[9], rows[9]])]
    requests.append(RowsWanted([{"document": "the heart of learning"}], is_text=True))
    together = fill_together(opened, requests)
    for wanted, filled in zip(requests, together, strict=True):
        (alone,) = fill_together(opened, [wanted])
        (cells, numbers), (expected, expected_numbers) = cells_of(filled), cells_of(alone)
        assert cells == expected
        assert filled.warnings == alone.warnings
        assert np.allclose(numbers, expected_numbers, atol=1e-5)


def test_some_columns_alone(opened, papers):
    (filled,) = fill_together(opened, [RowsWanted(papers(2), ("label",))])
    assert list(filled.recipe.columns) == ["label"]
    assert set(filled.cells) == {
        "label",
        "label_set",
        *(f"label_probability_{each}" for each in ("yes", "no", "maybe")),
    }


def test_a_wrong_request_does_not_disturb_the_others(opened, papers):
    good, other = papers(2)
    requests = [
        RowsWanted([good], ("label",)),
        RowsWanted([{"title": "x"}], ("label",)),
        RowsWanted([other], ("label",)),
    ]
    first, wrong, last = fill_together(opened, requests)
    assert str(wrong) == 'list of rows has no column "abstract", which table.document names. It has: title.'
    assert [len(each.cells["label"]) for each in (first, last)] == [1, 1]


def test_rows_that_a_table_cannot_hold_are_an_error_of_their_request(opened, papers):
    bad = {"title": "x\0", "abstract": "y"}
    wrong, good = fill_together(opened, [RowsWanted([bad], ("label",)), RowsWanted(papers(1), ("label",))])
    assert isinstance(wrong, PapertuneError)
    assert "NUL" in str(wrong)
    assert not isinstance(good, PapertuneError)


def test_a_failure_of_the_model_is_a_matter_of_the_request_that_causes_it(opened, papers, monkeypatch):
    from papertune.serve.answering import rows as module

    whole = module.predict_rows

    def fragile(predictor, reader, plan, *, listener):
        if any("poison" in reader.document(row) for row in range(len(plan.batches.rows))):
            raise PapertuneError("the numbers overflow")
        return whole(predictor, reader, plan, listener=listener)

    monkeypatch.setattr(module, "predict_rows", fragile)
    good, other = papers(2)
    bad = {**good, "title": "poison"}
    requests = [RowsWanted([each], ("label",)) for each in (good, bad, other)]
    first, wrong, last = fill_together(opened, requests)
    assert str(wrong) == "the numbers overflow"
    assert [len(each.cells["label"]) for each in (first, last)] == [1, 1]


def test_each_request_has_its_own_warnings(opened, papers):
    long = {"title": "long", "abstract": "heart graph " * 200}
    twice = papers(1) * 2
    requests = [RowsWanted(papers(1, 5), ("answer",)), RowsWanted([long], ("answer",)), RowsWanted(twice, ("answer",))]
    fine, truncated, repeated = fill_together(opened, requests)
    assert fine.warnings == []
    assert truncated.warnings == [
        "list of rows, row 1: 1 document has more than 120 tokens; only the beginning is read (this is the first)."
    ]
    assert 'row 1, column "title": 2 cells are the same as in another row' in repeated.warnings[0]


def test_prompt_tokens_are_counted_on_request(opened, papers):
    wanted = RowsWanted(papers(2), ("label",), counts_tokens=True)
    reader_ids = []
    in_turns, _ = opened.predictor(opened.asked(("label",), is_text=False))
    predictor = in_turns._predictor
    encode = predictor.encoder.encode_many
    predictor.encoder.encode_many = lambda prompts: [
        reader_ids.append(len(each.ids)) or each for each in encode(prompts)
    ]
    try:
        (filled,) = fill_together(opened, [wanted])
    finally:
        del predictor.encoder.encode_many
    assert filled.prompt_tokens == sum(reader_ids) // 3  # measured, encoded and counted


def test_a_row_has_numbers_only_where_they_are_asked_for(opened, papers):
    (filled,) = fill_together(opened, [RowsWanted(papers(1))])
    plain = predicted_row(filled, 0, with_all=False)
    assert (plain.probabilities, plain.confidences) == (None, None)
    full = predicted_row(filled, 0, with_all=True)
    assert full.cells == plain.cells
    assert full.sets == plain.sets == {"label": filled.cells["label_set"][0].split("; ")}
    assert list(full.probabilities) == ["label", "topics"]
    assert full.probabilities["label"] == {
        label: float(filled.cells[f"label_probability_{label}"][0]) for label in ("yes", "no", "maybe")
    }
    assert sum(probabilities_of(filled, "label", 0).values()) == pytest.approx(1)
    assert len(full.confidences["Keywords"]) == len(full.cells["Keywords"].split("; "))
    assert full.confidences["answer"] == float(filled.cells["answer_confidence"][0])


def test_prompts_of_other_columns_are_encoded_in_turns_too(opened, papers):
    predictors = [opened.predictor(opened.asked((name,), is_text=False))[0] for name in ("label", "Keywords")]
    assert len({id(each._encoding) for each in predictors}) == 1


def test_a_single_keyword_has_a_list_of_one_confidence(opened, papers):
    (filled,) = fill_together(opened, [RowsWanted(papers(1), ("Keywords",))])
    filled.cells["Keywords_confidence"][0] = "0.250000"
    assert predicted_row(filled, 0, with_all=True).confidences == {"Keywords": [0.25]}


@pytest.mark.slow
@pytest.mark.parametrize("run", ["joined", "all"])
def test_rows_of_many_clients_in_two_threads_are_those_of_one_table(workspace, papers, run):
    rows = papers(24, 300)
    memory = RunInMemory(workspace.run_path, device="cpu")

    async def ask():
        worker = ModelWorker(memory)
        await worker.fill(run, RowsWanted(rows[:1]))
        found = await asyncio.gather(*(worker.fill(run, RowsWanted([row])) for row in rows))
        assert worker._second._thread.is_alive()
        worker.stop()
        return found

    together, alone = asyncio.run(ask()), fill_together(memory.open(run), [RowsWanted(rows)])[0]
    for name in alone.recipe.columns:
        assert [each.cells[name][0] for each in together] == list(alone.cells[name])
