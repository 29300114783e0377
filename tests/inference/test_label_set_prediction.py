"""The labels of a column are asked together, in a tree behind the document; each alone would say the same."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from papertune.decoding.label_scoring import LabelTrie
from papertune.decoding.question_tree import QuestionTree, split_questions
from papertune.inference import predictor as predictor_module
from papertune.inference.outputs import build_output, choose_columns, empty_cells, label_set_cells
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader, make_prompt
from papertune.recipe import load_recipe
from papertune.tables import read_table

DOCUMENTS = ["the heart of patients", "", "graphs " * 30, "漢字 <|im_end|>", "the", "neural networks " * 9, "the heart"]
TOPICS = {"kind": "labels", "question": "About {label}?", "labels": ["the heart", "graphs", "漢字", "x"]}
TOLERANCE = 1e-3  # of log-odds in float32, of which the tiny model's are up to 10


def make_recipe(layout="document-first", columns=None, max_prompt_tokens=120, **topics):
    return load_recipe(
        {
            "layout": layout,
            "table": {"document": "{text}"},
            "columns": columns or {"topics": {**TOPICS, **topics}},
            "encoding": {"max_prompt_tokens": max_prompt_tokens},
        }
    )


def predicted(model, tokenizer, recipe, rows=None, **options):
    """Predict all rows as one plan; give the values by column."""
    predictor = Predictor(model, tokenizer, recipe, **options)
    table = read_table(rows or [{"text": text} for text in DOCUMENTS])
    reader = RowReader(table, recipe)
    return predict_rows(predictor, reader, predictor.plan(reader, range(len(table)))).values


def slow_probabilities(model, tokenizer, recipe, documents=DOCUMENTS):
    """Give the probability of a yes for each document and label, each from passes of its own; (rows, labels)."""
    column = recipe.columns["topics"]
    encoder = PromptEncoder(tokenizer, recipe.encoding)
    found = np.zeros((len(documents), len(column.labels)))
    for row, document in enumerate(documents):
        for n, label in enumerate(column.labels):
            question = column.question.replace("{label}", label)
            prompt = encoder.encode(make_prompt(recipe.layout, document, question)).ids
            words = [tokenizer.encode(answer) for answer in column.answers]
            if any(len(ids) > 1 for ids in words):
                words = [[*ids, tokenizer.eos_token_id] for ids in words]
            scores = []
            for ids in words:
                with torch.no_grad():
                    logprobs = model(torch.tensor([prompt + ids])).logits[0].double().log_softmax(-1)
                scores.append(sum(logprobs[len(prompt) - 1 + place, token] for place, token in enumerate(ids)))
            found[row, n] = torch.softmax(torch.stack(scores), 0)[0]
    return found


@pytest.mark.parametrize("answers", [("1", "0"), ("yes", "no"), ("1", "12")])  # "yes" and "no" are several tokens
@pytest.mark.parametrize("layout", ["document-first", "question-first"])
def test_all_labels_in_one_pass_are_each_alone(tiny_model, tiny_tokenizer, layout, answers):
    recipe = make_recipe(layout, answers=answers)
    expected = slow_probabilities(tiny_model, tiny_tokenizer, recipe)
    # One batch, some batches, a row and a label at a time.
    for max_batch_tokens in (None, 300, 1):
        got = predicted(tiny_model, tiny_tokenizer, recipe, max_batch_tokens=max_batch_tokens)["topics"]
        assert logit(got) == pytest.approx(logit(expected), abs=TOLERANCE)
    assert logit(expected).std(axis=0).min() > 0.2, "the rows are told apart"
    assert logit(expected).std(axis=1).min() > 0.2, "the labels are told apart"


@pytest.mark.parametrize("max_prompt_tokens", [60, 70])
def test_shortened_documents(tiny_model, tiny_tokenizer, max_prompt_tokens):
    """A long question leaves the document less room than a short one, so rows have different tokens behind theirs."""
    recipe = make_recipe(max_prompt_tokens=max_prompt_tokens, labels=["x", "the effect of aspirin on the heart"])
    expected = slow_probabilities(tiny_model, tiny_tokenizer, recipe)
    got = predicted(tiny_model, tiny_tokenizer, recipe)["topics"]
    assert logit(got) == pytest.approx(logit(expected), abs=TOLERANCE)


def test_labels_beside_other_columns(tiny_model, tiny_tokenizer):
    """Each column says what it says alone."""
    columns = {
        "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
        "topics": TOPICS,
        "Keywords": {"kind": "keywords", "question": "Keywords?", "max_new_tokens": 8},
    }
    together = predicted(tiny_model, tiny_tokenizer, make_recipe(columns=columns))
    for name, column in columns.items():
        alone = predicted(tiny_model, tiny_tokenizer, make_recipe(columns={name: column}))[name]
        if name == "Keywords":
            assert together[name].to_list() == alone.to_list()
        else:
            assert logit(together[name]) == pytest.approx(logit(alone), abs=TOLERANCE)


def test_a_batch_of_labels_takes_one_pass_behind_the_documents(tiny_model, tiny_tokenizer, monkeypatch):
    passes = []
    real = predictor_module.QuestionTree.build
    monkeypatch.setattr(QuestionTree, "build", lambda questions: passes.append(len(questions)) or real(questions))
    predicted(tiny_model, tiny_tokenizer, make_recipe())
    assert passes == [4]


def test_entries_of_an_instruction_file_ask_for_one_label_each(tiny_model, tiny_tokenizer):
    recipe = make_recipe()
    rows = [
        {"instruction": f"About {label}?", "input": text, "output": ""}
        for text, label in (("the heart", "x"), ("the heart", "graphs"), ("graphs", "x"))
    ]
    got = predicted(tiny_model, tiny_tokenizer, recipe, rows)["topics"]
    expected = slow_probabilities(tiny_model, tiny_tokenizer, recipe, ["the heart", "graphs"])
    nan = math.nan
    wanted = [[nan, nan, nan, expected[0, 3]], [nan, expected[0, 1], nan, nan], [nan, nan, nan, expected[1, 3]]]
    assert logit(got) == pytest.approx(logit(np.array(wanted)), abs=TOLERANCE, nan_ok=True)


def test_a_tree_shares_what_questions_begin_with():
    trie = LabelTrie.build([[5, 6], [7]], end_id=9)  # several tokens: two inner nodes
    single = LabelTrie.build([[5], [7]], end_id=9)
    tree = QuestionTree.build([([1, 2], trie), ([1, 3], single)])
    assert tree.tokens == (1, 2, 5, 6, 7, 3)
    assert tree.parents == (-1, 0, 1, 2, 1, 0)
    assert tree.depths == (1, 2, 3, 4, 3, 2)
    assert (tree.roots, tree.inner) == ((1, 5), ((2, 3, 4), ()))
    assert tree.wanted == [1, 2, 3, 4, 5]
    assert tree.ancestors()[4].tolist() == [True, True, False, False, True, False]


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 12))
def test_parts_are_as_large_as_they_may_be(questions, max_tokens):
    tries = [LabelTrie.build([[5, 6], [7]], end_id=9)] * len(questions)
    sizes = [len(ids) + 3 for ids in questions]
    parts = split_questions(questions, tries, max_tokens)
    assert [index for part in parts for index in part] == list(range(len(questions)))
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        total = sum(sizes[index] for index in part)
        assert len(part) == 1 or total <= max_tokens
        assert following is None or total + sizes[following[0]] > max_tokens


def test_cells_have_the_labels_that_reach_their_thresholds():
    column = make_recipe(thresholds={"the heart": 0.5, "graphs": 0.9, "漢字": 0.1, "x": 0}).columns["topics"]
    nan = math.nan
    values = np.array([[0.5, 0.8, 0.2, 0.0], [0.4, 0.9, 0.0, nan], [0.1, nan, nan, nan], [nan] * 4])
    assert label_set_cells(values, column).to_list() == ["the heart; 漢字; x", "graphs", "", None]
    # Until thresholds are chosen, and without any, it is the likelier of yes and no.
    for recipe in (make_recipe(), make_recipe(thresholds="f1")):
        assert label_set_cells(values, recipe.columns["topics"])[0] == "the heart; graphs"


def test_the_output_has_labels_and_their_probabilities():
    recipe = make_recipe(labels=["a", "b"], separator=" | ")
    table = read_table([{"text": "A", "topics": "b"}, {"text": "B", "topics": ""}])
    values = {"topics": np.array([[0.75, 0.6], [0.25, 0.125]])}
    columns = choose_columns(None, table, recipe, probabilities=True)
    output = build_output(table, recipe, values, columns, {})
    assert json.loads(output.write_json()) == [
        {
            "row": "1",
            "topics": "a | b",
            "topics_probability_a": "0.750000",
            "topics_probability_b": "0.600000",
            "topics_given": "b",
        },
        {
            "row": "2",
            "topics": "",
            "topics_probability_a": "0.250000",
            "topics_probability_b": "0.125000",
            "topics_given": "",
        },
    ]
    # A row without labels is answered.
    assert empty_cells(values, recipe, {}) == {}
