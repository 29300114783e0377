"""A labels column asks about all labels in one tree behind the document, and answers as for each label alone."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logit

from papertune.decoding.scoring.question_tree import QuestionTree
from papertune.inference import predictor as predictor_module
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader, make_prompt
from papertune.recipe import load_recipe
from papertune.tables import read_table

DOCUMENTS = ["the heart of patients", "", "graphs " * 30, "漢字 <|im_end|>", "the", "neural networks " * 9, "the heart"]
# With this loss whole answers are scored, which takes passes behind the prompts.
TOPICS = {
    "kind": "labels",
    "question": "About {label}?",
    "labels": ["the heart", "graphs", "漢字", "x"],
    "loss": "answer",
}
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
    """Predict all rows as one plan; return the values by column."""
    predictor = Predictor(model, tokenizer, recipe, **options)
    table = read_table(rows or [{"text": text} for text in DOCUMENTS])
    reader = RowReader(table, recipe)
    return predict_rows(predictor, reader, predictor.plan(reader, range(len(table)))).values


def slow_probabilities(model, tokenizer, recipe, documents=DOCUMENTS):
    """Return the probability of yes for each document and label, from separate passes; shape (rows, labels)."""
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
def test_labels_in_one_pass_are_answered_as_each_alone(tiny_model, tiny_tokenizer, layout, answers):
    recipe = make_recipe(layout, answers=answers)
    expected = slow_probabilities(tiny_model, tiny_tokenizer, recipe)
    # One batch, some batches, a row and a label at a time.
    for max_batch_tokens in (None, 300, 1):
        got = predicted(tiny_model, tiny_tokenizer, recipe, max_batch_tokens=max_batch_tokens)["topics"]
        assert logit(got) == pytest.approx(logit(expected), abs=TOLERANCE)
    assert logit(expected).std(axis=0).min() > 0.2, "the rows have different probabilities"
    assert logit(expected).std(axis=1).min() > 0.2, "the labels have different probabilities"


@pytest.mark.parametrize("max_prompt_tokens", [60, 70])
def test_truncated_documents(tiny_model, tiny_tokenizer, max_prompt_tokens):
    """A long question leaves the document less room than a short one, so the tokens behind the shared part differ."""
    recipe = make_recipe(max_prompt_tokens=max_prompt_tokens, labels=["x", "the effect of aspirin on the heart"])
    expected = slow_probabilities(tiny_model, tiny_tokenizer, recipe)
    got = predicted(tiny_model, tiny_tokenizer, recipe)["topics"]
    assert logit(got) == pytest.approx(logit(expected), abs=TOLERANCE)


def test_labels_beside_other_columns(tiny_model, tiny_tokenizer):
    """Each column is predicted as it is alone."""
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
