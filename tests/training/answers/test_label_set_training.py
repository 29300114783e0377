"""Training of a labels column: its labels share the pass of a document, and together they count as one example."""

import pytest
import torch
from test_loss import batch_loss

from papertune.prompts import PromptEncoder
from papertune.prompts.examples import training_examples
from papertune.recipe import load_recipe
from papertune.tables import read_table
from papertune.training import collate, encode_examples, split_batch
from papertune.training.answers import rows

TABLE = [
    {"text": "the heart of the patients and the effect of aspirin on it, in a randomised trial", "topics": "heart"},
    {"text": "graphs", "topics": ""},
    {
        "text": "the learning of graphs with neural networks; the method is fast and so is the heart",
        "topics": "b; heart",
    },
]


def recipe(**changes):
    topics = {"kind": "labels", "question": "About {label}?", "labels": ["heart", "graphs", "b"], "answers": ["1", "0"]}
    return load_recipe({"table": {"document": "{text}"}, "columns": {"topics": {**topics, **changes}}})


def encoded(tokenizer, chosen, table=TABLE):
    examples = list(training_examples(read_table(table), chosen))
    return examples, encode_examples(
        examples, chosen.questions, PromptEncoder(tokenizer, chosen.encoding), chosen.owners
    )


def slow_loss(model, tokenizer, chosen, examples):
    """Return the mean over the papers of the mean over their labels, with one pass for each label."""
    encoder = PromptEncoder(tokenizer, chosen.encoding)
    column = chosen.columns["topics"]
    total = 0.0
    for example in examples:
        prompt = encoder.encode(example.prompt).ids
        if column.loss == "labels":
            gold = column.answers.index(example.answer)
            yes, no = (tokenizer.encode(answer) for answer in column.answers)
            at = next(at for at in range(len(yes)) if yes[at] != no[at])  # where the answers part
            logits = model(torch.tensor([[*prompt, *yes[:at]]])).logits[0, -1].double()
            nll = -logits[[yes[at], no[at]]].log_softmax(-1)[gold]
        else:
            answer = [*tokenizer.encode(example.answer), tokenizer.eos_token_id]
            logprobs = model(torch.tensor([prompt + answer])).logits[0].double().log_softmax(-1)
            nll = -torch.stack([logprobs[len(prompt) - 1 + n, token] for n, token in enumerate(answer)]).mean()
        weights = column.weights or {}
        label = example.column.removeprefix("topics: ")
        total += nll * (weights.get(label, 1.0) if example.answer == column.answers[0] else 1.0) / len(column.labels)
    return total / len(TABLE)


@pytest.mark.parametrize("answers", [["1", "0"], ["the heart", "the paper"]])
@pytest.mark.parametrize("loss", ["labels", "answer"])
@pytest.mark.parametrize("weights", [None, {"heart": 2, "graphs": 0, "b": 0.5}])
def test_labels_in_one_pass_have_the_loss_of_each_label_alone(
    tiny_model, tiny_tokenizer, monkeypatch, answers, loss, weights
):
    chosen = recipe(loss=loss, weights=weights, answers=answers)
    examples, together = encoded(tiny_tokenizer, chosen)
    columns = [label_set.column for label_set in together.label_sets]
    assert columns == (["topics"] if loss == "labels" else []), "all labels share the two answers"
    monkeypatch.setattr("test_loss.LABEL_SETS", together.label_sets)
    batch = collate(together.rows, pad_id=0)
    assert batch["examples"] == pytest.approx(len(TABLE))
    with torch.no_grad():
        expected = slow_loss(tiny_model, tiny_tokenizer, chosen, examples)
        for parts in ([batch], split_batch(batch, 1)):
            got = sum(batch_loss(tiny_model, part) for part in parts) / batch["examples"]
            torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


def test_the_labels_of_a_document_share_one_row(tiny_tokenizer):
    _, together = encoded(tiny_tokenizer, recipe())
    assert [len(row.questions) for row in together.rows] == [3, 3, 3]
    _, apart = encoded(tiny_tokenizer, recipe().model_copy(update={"layout": "question-first"}))
    # The prompts of a short document are mostly the chat template, which is shared anyway.
    assert [len(row.questions) for row in apart.rows] == [1, 1, 1, 3, 1, 1, 1]


def test_many_labels_are_split_into_several_rows(tiny_tokenizer, monkeypatch):
    _, once = encoded(tiny_tokenizer, recipe(), TABLE[:1])
    (row,) = once.rows
    monkeypatch.setattr(rows, "MAX_QUESTION_TOKENS", row.questions[0].tokens + row.questions[1].tokens)
    _, twice = encoded(tiny_tokenizer, recipe(), TABLE[:1])
    assert [len(part.questions) for part in twice.rows] == [2, 1]
    assert [question for part in twice.rows for question in part.questions] == row.questions
    assert all(part.shared == row.shared for part in twice.rows)


def test_balanced_weights_are_computed_for_each_label(tiny_tokenizer):
    _, together = encoded(tiny_tokenizer, recipe(weights="balanced"))
    weights = [question.weight for row in together.rows for question in row.questions]
    # Positive rows: heart 2 of 3, graphs none, b 1.
    assert weights == pytest.approx([0.75, 1, 0.75, 1.5, 1, 0.75, 0.75, 1, 1.5])
