import json
import math

import numpy as np
import polars as pl
import pytest
import torch

from papertune.decoding.answer import Answer
from papertune.decoding.beams import beam_search
from papertune.decoding.engine import Engine
from papertune.decoding.greedy import greedy
from papertune.errors import ModelError
from papertune.inference import predictor
from papertune.inference.predictor import Predictor
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.keywords.no_repetition import NoRepeatedKeyword
from papertune.kinds.keywords.ranked.candidates import find_candidates
from papertune.kinds.keywords.ranked.ranking import FEATURES, KeywordChoice, ranked_as_text, read_ranked
from papertune.methods import build_trainable
from papertune.metrics.phrases import normalise_keyword
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader
from papertune.recipe import PtuningV2Method, load_recipe
from papertune.tables import read_table

COLUMNS = {
    "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
    "code": {"kind": "label", "question": "Which code?", "labels": ["1", "12", "120", "2"], "loss": "answer"},
    "Keywords": {"kind": "keywords", "question": "Keywords?", "max_new_tokens": 12},
    "ranked": {"kind": "ranked_keywords", "question": "Keyword?", "count": 3, "beams": 5, "max_keyword_tokens": 4},
}
DOCUMENTS = ["the heart of patients", "", "graphs " * 30, "漢字 <|im_end|>", "the", "neural networks " * 9, "the heart"]
TOLERANCE = 1e-5


def make_recipe(layout="document-first", columns=COLUMNS, max_prompt_tokens=120):
    return load_recipe(
        {
            "layout": layout,
            "table": {"document": "{text}"},
            "columns": columns,
            "encoding": {"max_prompt_tokens": max_prompt_tokens},
        }
    )


def make_reader(recipe, rows=None):
    return RowReader(read_table(rows or [{"text": text} for text in DOCUMENTS]), recipe)


# The order is that without a ranking; but only with a ranking are phrases of the document candidates too.
RANKING = KeywordChoice(np.eye(len(FEATURES))[FEATURES.index("log_probability")])


class Ranked(list):
    """Ranked keywords: pairs of a text and a confidence."""


def answers(model, tokenizer, recipe, rows=None, **options):
    """Predict all rows as one plan; return the values by column, in table order."""
    predictor = Predictor(model, tokenizer, recipe, decisions={"ranked": RANKING}, **options)
    reader = make_reader(recipe, rows)
    count = len(rows or DOCUMENTS)
    values = {name: [None] * count for name in recipe.columns}
    for batch in predictor.plan(reader, range(count)).batches:
        for name, cells in predictor.answer(reader, batch).items():
            for row, cell in zip(batch, cells, strict=True):
                is_ranked = recipe.columns[name].kind == "ranked_keywords" and cell is not None
                values[name][row] = Ranked(read_ranked(cell)) if is_ranked else cell
    return values


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, cells in expected.items():
        for row, (cell, other) in enumerate(zip(got[name], cells, strict=True)):
            if isinstance(other, Ranked):
                assert [keyword for keyword, _ in cell] == [keyword for keyword, _ in other], (name, row)
                cell, other = ([confidence for _, confidence in pairs] for pairs in (cell, other))
            approx = other if isinstance(other, str | None) else pytest.approx(other, abs=TOLERANCE)
            assert cell == approx, (name, row)


def slow_answers(model, tokenizer, recipe, rows=None):
    """Ask about each row and column separately; labels in a pass each, keywords a token at a time."""
    reader = make_reader(recipe, rows)
    encoder = PromptEncoder(tokenizer, recipe.encoding)
    engine = Engine(model)
    values = {name: [] for name in recipe.columns}
    for row in range(len(rows or DOCUMENTS)):
        for name, column in recipe.columns.items():
            if name not in reader.asked(row):
                values[name].append(None)
                continue
            prompt = encoder.encode(reader.prompt(row, name)).ids
            if column.kind == "label":
                labels = [tokenizer.encode(label) for label in column.labels]
                if any(len(ids) > 1 for ids in labels):
                    labels = [[*ids, tokenizer.eos_token_id] for ids in labels]
                with torch.no_grad():
                    passes = [model(torch.tensor([prompt + ids])).logits[0].double().log_softmax(-1) for ids in labels]
                scores = [
                    sum(logprobs[len(prompt) - 1 + place, token] for place, token in enumerate(ids))
                    for logprobs, ids in zip(passes, labels, strict=True)
                ]
                values[name].append(torch.softmax(torch.stack(scores), 0).tolist())
            elif column.kind == "ranked_keywords":
                values[name].append(slow_keywords(model, tokenizer, prompt, reader.prompt(row, name).document))
            else:
                rule = NoRepeatedKeyword(tokenizer, column.separator)
                end_ids, limit = {tokenizer.eos_token_id}, column.max_new_tokens
                (ids,) = greedy(engine, engine.prefill([prompt]), end_ids=end_ids, max_new_tokens=limit, forbid=rule)
                text = tokenizer.decode(ids, skip_special_tokens=True)
                values[name].append(text.rsplit(";", 1)[0] if len(ids) == limit and ";" in text else text)
    return values


def slow_keywords(model, tokenizer, prompt, document):
    """Search with the prompt alone, and score each phrase of the document in a pass of its own."""
    engine, end = Engine(model), tokenizer.eos_token_id
    (beams,) = beam_search(engine, engine.prefill([prompt]), end_ids={end}, beams=5, max_new_tokens=4)
    found = [
        (beam.log_probability, keyword)
        for beam in beams
        for keyword in split_keywords(tokenizer.decode(list(beam.ids), skip_special_tokens=True) + ";")
    ]
    for text in {text for phrase in find_candidates(document) for text in phrase.spellings}:
        ids = [*tokenizer.encode(text), end]
        if len(ids) <= 4 + 1:
            with torch.no_grad():
                logs = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
            found.append((float(logs[range(len(ids)), ids].sum()), text))
    best = {}
    for log_probability, keyword in sorted(found, reverse=True):
        if form := normalise_keyword(keyword):
            best.setdefault(form, (keyword, 1 / (1 + math.exp(-log_probability))))
    return Ranked(list(best.values())[:3])


@pytest.mark.slow
@pytest.mark.parametrize("names", [("label",), ("code",), ("ranked",), ("label", "Keywords"), tuple(COLUMNS)])
@pytest.mark.parametrize("layout", ["document-first", "question-first"])
def test_questions_in_one_pass_are_answered_as_each_alone(tiny_model, tiny_tokenizer, layout, names):
    recipe = make_recipe(layout, {name: COLUMNS[name] for name in names})
    expected = slow_answers(tiny_model, tiny_tokenizer, recipe)
    # One batch, some batches, a row at a time.
    for max_batch_tokens in (None, 500, 1):
        assert_same(answers(tiny_model, tiny_tokenizer, recipe, max_batch_tokens=max_batch_tokens), expected)
    assert len({str(cell) for cell in expected[names[0]]}) > 5, "the rows have different answers"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["document-first", "question-first"])
def test_answers_behind_a_trained_prefix(own_tiny_model, tiny_tokenizer, layout):
    model = build_trainable(own_tiny_model, PtuningV2Method(kind="ptuning_v2", prefix_length=7), seed=0).eval()
    recipe = make_recipe(layout)
    expected = slow_answers(model, tiny_tokenizer, recipe)
    for max_batch_tokens in (None, 500, 1):
        assert_same(answers(model, tiny_tokenizer, recipe, max_batch_tokens=max_batch_tokens), expected)
    bare = answers(model.get_base_model(), tiny_tokenizer, recipe)
    for name, cells in expected.items():
        with pytest.raises(AssertionError):
            assert_same({name: bare[name]}, {name: cells})


INSTRUCTIONS = [
    {"instruction": "Keywords?", "input": "the heart", "output": "", "history": ""},
    {"instruction": "Medical?", "input": "the heart", "output": "", "history": '[["What?", "That."]]'},
    {"instruction": " Medical?", "input": "", "output": "", "history": ""},
    {"instruction": "No question of the recipe", "input": "the heart", "output": "", "history": ""},
    {"instruction": "Keywords?", "input": "graphs " * 9, "output": "", "history": '[["a", "b"], ["c", "d"]]'},
    {"instruction": "Which code?", "input": "the heart", "output": "", "history": ""},
]


def test_instruction_tables(tiny_model, tiny_tokenizer):
    recipe = make_recipe()
    got = answers(tiny_model, tiny_tokenizer, recipe, INSTRUCTIONS)
    assert_same(got, slow_answers(tiny_model, tiny_tokenizer, recipe, INSTRUCTIONS))
    assert [cell is None for cell in got["label"]] == [True, False, False, True, True, True]
    assert [cells[3] for cells in got.values()] == [None] * len(COLUMNS)


def test_a_plan_sorts_rows_by_length_into_batches_within_the_limit(tiny_model, tiny_tokenizer):
    recipe = make_recipe(max_prompt_tokens=64)
    predictor = Predictor(tiny_model, tiny_tokenizer, recipe, max_batch_tokens=150)
    reader = make_reader(recipe)
    plan = predictor.plan(reader, range(len(DOCUMENTS)))
    lengths = [
        max(len(predictor.encoder.encode(reader.prompt(row, name)).ids) for name in COLUMNS)
        for row in range(len(DOCUMENTS))
    ]
    order = [row for batch in plan.batches for row in batch]
    assert sorted(order) == list(range(len(DOCUMENTS)))
    assert [lengths[row] for row in order] == sorted(lengths, reverse=True)
    assert plan.tokens.tolist() == [sum(lengths[row] for row in batch) for batch in plan.batches]
    assert all(len(batch) == 1 or lengths[batch[0]] * len(batch) <= 150 for batch in plan.batches)
    assert list(plan.truncated) == [2, 5]
    # Only some rows of a table.
    assert sorted(row for batch in predictor.plan(reader, [5, 1]).batches for row in batch) == [1, 5]


@pytest.mark.parametrize("layout", ["document-first", "question-first"])
@pytest.mark.parametrize("names", [["label"], ["code"], ["Keywords", "label"]])
def test_the_common_beginning_goes_through_the_model_once(tiny_model, tiny_tokenizer, monkeypatch, layout, names):
    recipe = make_recipe(layout, {name: COLUMNS[name] for name in names})
    tokens = []
    hook = tiny_model.register_forward_pre_hook(
        lambda _, __, inputs: tokens.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    got = answers(tiny_model, tiny_tokenizer, recipe)
    few, tokens[:] = sum(tokens), []
    monkeypatch.setattr(predictor, "_MIN_BEGINNING", 1000)
    expected = answers(tiny_model, tiny_tokenizer, recipe)
    hook.remove()
    assert few < sum(tokens)
    assert_same(got, expected)


def test_rows_with_different_beginnings(tiny_model, tiny_tokenizer, monkeypatch):
    recipe = make_recipe(columns={"label": COLUMNS["label"]})
    history = json.dumps([["What is it?", "a paper"]])
    row = {"instruction": "Medical?", "input": "the heart of patients", "output": ""}
    rows = [row | {"history": history}, row | {"history": ""}, row | {"history": history}]
    got = answers(tiny_model, tiny_tokenizer, recipe, rows)
    monkeypatch.setattr(predictor, "_MIN_BEGINNING", 1000)
    assert_same(got, answers(tiny_model, tiny_tokenizer, recipe, rows))


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("heart; lung; paper", 96, "heart; lung; paper"),
        # The last keyword may be half a word, even where the limit is just behind it.
        ("heart; lung; paper", 15, "heart; lung"),
        ("heart; lung; paper", 11, "heart"),
        # Half a word is better than none.
        ("heart", 4, "hear"),
    ],
)
def test_a_list_cut_off_at_the_token_limit_loses_its_last_keyword(
    own_tiny_model, tiny_tokenizer, generates_ids, monkeypatch, text, limit, expected
):
    monkeypatch.setattr(predictor, "_MIN_BEGINNING", 1000)  # a pass of the beginning would use up an id
    ids = [tiny_tokenizer.convert_tokens_to_ids(char) for char in text.replace(" ", "Ġ")]
    columns = {"Keywords": COLUMNS["Keywords"] | {"max_new_tokens": limit}}
    own_tiny_model.lm_head.register_forward_hook(generates_ids([*ids, tiny_tokenizer.eos_token_id]))
    got = answers(own_tiny_model, tiny_tokenizer, make_recipe(columns=columns), [{"text": "x"}])
    assert got == {"Keywords": [expected]}


@pytest.mark.parametrize(
    ("answer", "count", "written"),
    [
        ("1,2-x", 1, "1,2-x;"),  # the semicolon says that the comma in the only keyword does not split it
        ("a; b", 1, "a"),  # a model that writes several at once
        ("a; b", 2, "a | b"),
    ],
)
def test_the_cell_of_ranked_keywords(tiny_model, tiny_tokenizer, monkeypatch, answer, count, written):
    beams = [Answer(tuple(tiny_tokenizer.encode(answer)), -1.0)]
    monkeypatch.setattr("papertune.kinds.keywords.ranked.search.beam_search", lambda *_, **__: [beams])
    column = {"count": count, "output_separator": " | ", "candidates": "generated"}
    recipe = make_recipe(columns={"ranked": COLUMNS["ranked"] | column})
    (value,) = answers(tiny_model, tiny_tokenizer, recipe, [{"text": "x"}])["ranked"]
    assert recipe.columns["ranked"].cells(pl.Series([ranked_as_text(value)]), None).to_list() == [written]


def test_a_phrase_whose_probability_is_not_a_number_is_an_error(tiny_model, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(
        "papertune.kinds.keywords.ranked.search.answer_log_probabilities",
        lambda _, __, answers, *___: [[math.nan] * len(row) for row in answers],
    )
    recipe = make_recipe(columns={"ranked": COLUMNS["ranked"] | {"candidates": "document"}})
    with pytest.raises(ModelError, match='probabilities for "ranked" are not numbers'):
        answers(tiny_model, tiny_tokenizer, recipe, [{"text": "the heart of patients"}])


def test_every_end_token_of_the_model_ends_an_answer(own_tiny_model, tiny_tokenizer, generates_ids, monkeypatch):
    monkeypatch.setattr(predictor, "_MIN_BEGINNING", 1000)
    other_end = tiny_tokenizer.convert_tokens_to_ids("z")
    own_tiny_model.generation_config.eos_token_id = [tiny_tokenizer.eos_token_id, other_end]
    ids = [*tiny_tokenizer.encode("heart"), other_end, *tiny_tokenizer.encode("lung")]
    own_tiny_model.lm_head.register_forward_hook(generates_ids(ids))
    columns = {"Keywords": COLUMNS["Keywords"]}
    got = answers(own_tiny_model, tiny_tokenizer, make_recipe(columns=columns), [{"text": "x"}])
    assert got == {"Keywords": ["heart"]}


def test_without_a_chat_template(tiny_model, tiny_tokenizer):
    """The prompts of two columns share only the document."""
    recipe = make_recipe().model_copy(update={"chat": False})
    together = answers(tiny_model, tiny_tokenizer, recipe)
    for name in COLUMNS:
        alone = recipe.model_copy(update={"columns": {name: recipe.columns[name]}})
        assert_same(answers(tiny_model, tiny_tokenizer, alone), {name: together[name]})
