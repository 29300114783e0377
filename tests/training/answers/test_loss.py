import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.errors import RecipeError
from papertune.kinds import KeywordsColumn, LabelColumn, RankedKeywordsColumn
from papertune.models import AttentionMasks, answer_positions
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Example, Prompt
from papertune.recipe import EncodingSpec
from papertune.training import (
    VOCABULARY,
    Question,
    TrainingRow,
    answer_losses,
    collate,
    encode_examples,
    split_batch,
    tree_inputs,
)
from papertune.training.answers.label_sets import LabelSet

END = 2
# One-token labels, labels that begin others, and labels that are told apart by their first tokens.
LABELS = [[[20], [30]], [[40], [50], [60]], [[7], [7, 8], [7, 8, 9], [5]], [[7, 11], [8, 11]]]
LABEL_SETS = [LabelSet("label", LabelTrie.of_choices(labels, END)) for labels in LABELS]
token_lists = st.lists(st.integers(3, 399), min_size=1, max_size=6)


@st.composite
def questions(draw):
    ids, weight = draw(st.one_of(st.just([]), token_lists)), draw(st.sampled_from([0.0, 0.5, 1.0, 3.0]))
    label_set = draw(st.sampled_from([VOCABULARY, *range(len(LABELS))]))
    if label_set == VOCABULARY:
        return Question(draw(st.lists(token_lists, min_size=1, max_size=3)), VOCABULARY, weight, ids)
    return label_question(draw(st.integers(0, len(LABELS[label_set]) - 1)), label_set, weight, ids)


def label_question(target, label_set, weight=1.0, ids=()):
    trie = LABEL_SETS[label_set].trie
    return Question([[target]], label_set, weight, list(ids), trie=trie if trie.tokens else None)


training_rows = st.builds(TrainingRow, token_lists, st.lists(questions(), min_size=1, max_size=3))


def slow_loss(model, row):
    """Return the sum of the losses of a row's examples, each computed by itself."""
    return sum(slow_loss_of(model, row.shared + question.ids, question) for question in row.questions)


def slow_loss_of(model, prompt, row):
    """Return the loss of an example with one pass for each answer, all logits, and targets shifted by one."""
    if row.label_set == VOCABULARY:
        parts = []
        for answer in row.answers:
            ids = torch.tensor([*prompt, *answer])
            logits = model(input_ids=ids[None]).logits[0, :-1].double()
            parts.append(F.cross_entropy(logits, ids[1:], reduction="none")[len(prompt) - 1 :])
        return row.weight * torch.cat(parts).mean()
    whole = [[*label, END] for label in LABELS[row.label_set]]
    label = whole[row.answers[0][0]]
    logits = model(input_ids=torch.tensor([prompt + label])).logits[0].double()
    nll = 0.0
    for at, token in enumerate(label):
        possible = sorted({other[at] for other in whole if other[:at] == label[:at]})
        nll -= logits[len(prompt) - 1 + at, possible].log_softmax(0)[possible.index(token)]
    return row.weight * nll


def fast_loss(model, rows):
    return batch_loss(model, collate(rows, pad_id=0))


def batch_loss(model, batch):
    with answer_positions(model, batch["rows"], batch["columns"]):
        logits = model(input_ids=batch["input_ids"], **tree_inputs(AttentionMasks(model), batch)).logits
    return answer_losses(logits, batch["targets"], batch["label_sets"], batch["weights"], LABEL_SETS).sum()


@given(st.lists(training_rows, min_size=1, max_size=5))
def test_the_loss_of_a_batch_is_that_of_its_examples_one_by_one(tiny_model, rows):
    with torch.no_grad():
        expected = sum(slow_loss(tiny_model, row) for row in rows)
        loss = fast_loss(tiny_model, rows)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), torch.as_tensor(expected), rtol=1e-5, atol=1e-5)


def test_gradients_of_a_batch_are_those_of_its_examples_one_by_one(own_tiny_model):
    rows = [
        TrainingRow([3, 4], [Question([[9, 2]], VOCABULARY, 2.0)]),
        TrainingRow([6, 7, 8, 9], [Question([[1]], 1)]),
        TrainingRow([5, 8], [Question([[7, 9, 2], [4, 2], [6]], ids=[8, 8]), Question([[1]], 1, ids=[3])]),
        TrainingRow([6, 7, 8], [label_question(2, 2, weight=3.0)]),
        TrainingRow([9, 3], [label_question(0, 3, ids=[5, 4]), label_question(1, 2, ids=[8])]),
    ]

    def gradients(loss):
        own_tiny_model.zero_grad()
        loss.backward()
        return {name: p.grad.clone() for name, p in own_tiny_model.named_parameters()}

    slow = gradients(sum(slow_loss(own_tiny_model, row) for row in rows))
    fast = gradients(fast_loss(own_tiny_model, rows))
    for name, gradient in slow.items():
        torch.testing.assert_close(
            fast[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@given(st.lists(training_rows, min_size=1, max_size=6), st.integers(1, 40))
def test_the_loss_of_a_batch_is_the_sum_over_its_parts(tiny_model, rows, max_tokens):
    batch = collate(rows, pad_id=0)
    parts = split_batch(batch, max_tokens)
    with torch.no_grad():
        losses = [batch_loss(tiny_model, part) for part in parts]
        whole = batch_loss(tiny_model, batch)
    torch.testing.assert_close(sum(losses), whole, rtol=1e-5, atol=1e-5)
    assert sorted(n for part in parts for n in part["lengths"].tolist()) == sorted(map(len, rows))
    for part in parts:
        assert part["input_ids"].shape[1] == max(part["lengths"])
        assert len(part["lengths"]) == 1 or part["input_ids"].numel() <= max_tokens


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layers", [["sliding_attention"] * 2, ["sliding_attention", "full_attention"]])
def test_trees_with_sliding_window_attention(layers, attention):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 64, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.5, "sliding_window": 4}
    model = Gemma3ForCausalLM(Gemma3TextConfig(**sizes, **heads, layer_types=layers)).eval()
    model.set_attn_implementation(attention)
    rows = [
        TrainingRow([5, 9, 8, 7, 6], [Question([[7, 9, 2], [4, 2], [6]], ids=[8, 3, 9]), Question([[9, 2]], ids=[3])]),
        TrainingRow([6, 7], [Question([[9, 2]])]),
    ]
    with torch.no_grad():
        expected = sum(slow_loss(model, row) for row in rows)
        torch.testing.assert_close(fast_loss(model, rows).double(), expected, rtol=1e-5, atol=1e-5)


def test_collate_rows_without_trees():
    rows = [TrainingRow([1, 2], [Question([[3, 8]], VOCABULARY, 3.0)]), TrainingRow([4, 5, 6, 9], [Question([[1]], 0)])]
    batch = {name: tensor.tolist() for name, tensor in collate(rows, pad_id=99).items()}
    assert batch == {
        "input_ids": [[1, 2, 3, 99], [4, 5, 6, 9]],
        "lengths": [3, 4],
        "rows": [0, 0, 1],
        "columns": [1, 2, 3],
        "targets": [3, 8, 1],
        "label_sets": [-1, -1, 0],
        "weights": [1.5, 1.5, 1.0],
        "examples": 2,
    }


def test_collate_several_answers_as_a_tree():
    rows = [TrainingRow([1, 2], [Question([[3, 4, 9], [5, 9], [9]])]), TrainingRow([6], [Question([[7, 9]])])]
    batch = {name: tensor.tolist() for name, tensor in collate(rows, pad_id=0).items()}
    assert batch["input_ids"] == [[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]
    assert batch["position_ids"] == [[0, 1, 2, 3, 2], [0, 1, 2, 3, 4]]
    assert (batch["rows"], batch["columns"]) == ([0] * 6 + [1, 1], [1, 2, 3, 1, 4, 1, 0, 1])
    assert batch["targets"] == [3, 4, 9, 5, 9, 9, 7, 9]
    assert batch["weights"] == pytest.approx([1 / 6] * 6 + [0.5, 0.5])
    seen = [["".join(" x"[bit] for bit in row).rstrip() for row in rows] for rows in batch["visible"]]
    assert seen == [["x", "xx", "xxx", "xxxx", "xx  x"], ["x", "xx", "xxx", "xxxx", "xxxxx"]]


def test_collate_two_questions_as_a_tree():
    label, keywords = Question([[1]], 0, ids=[4, 5]), Question([[6, 7, 9], [8, 9]], ids=[3])
    batch = {name: tensor.tolist() for name, tensor in collate([TrainingRow([1, 2], [label, keywords])], 0).items()}
    assert batch["input_ids"] == [[1, 2, 4, 5, 3, 6, 7, 8]]
    assert batch["position_ids"] == [[0, 1, 2, 3, 2, 3, 4, 3]]
    assert (batch["columns"], batch["targets"]) == ([3, 4, 5, 6, 4, 7], [1, 6, 7, 9, 8, 9])
    assert batch["label_sets"] == [0, -1, -1, -1, -1, -1]
    assert batch["weights"] == pytest.approx([1] + [1 / 5] * 5)
    assert batch["examples"] == 2
    seen = ["".join(" x"[bit] for bit in row).rstrip() for row in batch["visible"][0]]
    assert seen == ["x", "xx", "xxx", "xxxx", "xx  x", "xx  xx", "xx  xxx", "xx  x  x"]


def test_collate_labels_of_several_tokens_as_a_trie():
    rows = [TrainingRow([1, 2], [label_question(1, 2, 4.0, [3]), label_question(0, 0, ids=[6])])]
    batch = {name: tensor.tolist() for name, tensor in collate(rows, pad_id=0).items()}
    assert batch["input_ids"] == [[1, 2, 3, 7, 8, 6]]
    assert batch["position_ids"] == [[0, 1, 2, 3, 4, 2]]
    assert batch["columns"] == [2, 3, 4, 5]
    assert (batch["targets"], batch["label_sets"]) == ([1] * 3 + [0], [2] * 3 + [0])
    assert batch["weights"] == pytest.approx([4 / 3] * 3 + [1])
    seen = ["".join(" x"[bit] for bit in row).rstrip() for row in batch["visible"][0]]
    assert seen == ["x", "xx", "xxx", "xxxx", "xxxxx", "xx   x"]


def test_collate_labels_that_part_twice_as_branches():
    trie = LabelTrie.of_choices([[7], [7, 8], [5, 9], [5]], END)
    batch = {
        n: tensor.tolist() for n, tensor in collate([TrainingRow([1], [Question([[2]], 0, trie=trie)])], 0).items()
    }
    assert batch["input_ids"] == [[1, 7, 5]]
    assert batch["position_ids"] == [[0, 1, 1]]
    assert batch["visible"] == [[[True, False, False], [True, True, False], [True, False, True]]]


def test_the_loss_over_labels_of_one_token_is_that_of_their_logits():
    logits = torch.randn(3, 400)
    targets, sets, weights = torch.tensor([1, 0, 1]), torch.zeros(3, dtype=torch.int64), torch.tensor([1.0, 2.0, 0.5])
    expected = (F.cross_entropy(logits[:, [20, 30]], targets, reduction="none") * weights).sum()
    torch.testing.assert_close(answer_losses(logits, targets, sets, weights, LABEL_SETS)[0], expected)


def test_rows_with_one_answer_need_no_mask():
    rows = [TrainingRow([1, 2], [Question([[3, 4, 9]], ids=[5])]), TrainingRow([1], [Question([[9], [3, 9]])])]
    assert "visible" not in collate(rows, pad_id=0)


def test_low_precision_logits_are_summed_in_float32():
    logits = torch.randn(4, 50).bfloat16()
    targets, weights = torch.tensor([1, 2, 3, 4]), torch.full((4,), 0.25)
    (loss,) = answer_losses(logits, targets, torch.full((4,), VOCABULARY), weights, [])
    torch.testing.assert_close(loss, F.cross_entropy(logits.float(), targets), rtol=0, atol=1e-6)


COLUMNS = {
    "label": LabelColumn(kind="label", question="Medical?", labels=("1", "0"), weights="balanced"),
    "code": LabelColumn(kind="label", question="Code?", labels=("1", "12"), weights={"1": 5, "12": 7}),
    "words": LabelColumn(kind="label", question="Word?", labels=("2", "3"), loss="answer"),
    "Keywords": KeywordsColumn(kind="keywords", question="Keywords?"),
    "ranked": RankedKeywordsColumn(kind="ranked_keywords", question="Keyword?", max_keyword_tokens=12),
}


@pytest.fixture
def encoder(tiny_tokenizer):
    return PromptEncoder(tiny_tokenizer, EncodingSpec(max_prompt_tokens=64))


def test_examples_become_rows(encoder):
    prompts = [Prompt("", f"the heart {row}", "\n\nQ") for row in range(7)]
    answers = [
        ("label", "1"),
        ("label", "0"),
        ("label", "0"),
        ("code", "12"),
        ("words", "3"),
        ("Keywords", "heart; paper"),
        ("ranked", "heart; paper"),
    ]
    examples = [Example(row, column, prompts[row], answer) for row, (column, answer) in enumerate(answers)]
    encoded = encode_examples(examples, COLUMNS, encoder)
    ids = [encoder.encode(prompt).ids for prompt in prompts]
    tries = [LabelTrie.of_choices(encoder.label_ids(labels), encoder.end_id) for labels in (("1", "0"), ("1", "12"))]
    # The weights of 1 and 0 are 1.5 once and 0.75 twice; all of the weights of code are those of 12.
    assert encoded.label_sets == [
        LabelSet("label", tries[0], pytest.approx(math.log(2))),
        LabelSet("code", tries[1], 0.0),
    ]
    assert encoded.rows[:4] == [
        TrainingRow(ids[0], [Question([[0]], 0, 1.5)]),  # 3 rows / (2 labels x 1 row)
        TrainingRow(ids[1], [Question([[1]], 0, 0.75)]),
        TrainingRow(ids[2], [Question([[1]], 0, 0.75)]),
        TrainingRow(ids[3], [Question([[1]], 1, 7, trie=tries[1])]),
    ]
    texts = [["3"], ["heart; paper"], ["heart", "paper"]]
    for row, prompt, texts_of_row in zip(encoded.rows[4:], ids[4:], texts, strict=True):
        answers = [[*encoder.encode_text(text), encoder.end_id] for text in texts_of_row]
        assert row == TrainingRow(prompt, [Question(answers, VOCABULARY)])
    assert encoded.truncated == 0


def test_columns_of_one_row_share_its_document(encoder):
    document = "the heart of the patients and the effect of aspirin on it"
    prompts = {name: Prompt("", document, f"\n\n{column.question}") for name, column in COLUMNS.items()}
    answers = {"label": "1", "Keywords": "heart; paper"}
    examples = [Example(4, name, prompts[name], answer) for name, answer in answers.items()]
    other = Example(5, "label", Prompt("", "graphs", "\n\nMedical?"), "0")
    row, alone = encode_examples([*examples, other], COLUMNS, encoder).rows
    for question, name in zip(row.questions, answers, strict=True):
        assert row.shared + question.ids == encoder.encode(prompts[name]).ids
    assert row.questions[0].ids != []
    assert alone == TrainingRow(encoder.encode(other.prompt).ids, alone.questions)
    # The same column twice means two table rows, even with the same document.
    assert len(encode_examples([examples[0], examples[0]], COLUMNS, encoder).rows) == 2
    # With the question first, hardly any tokens are shared.
    first = [Example(4, name, Prompt(COLUMNS[name].question, document, ""), answer) for name, answer in answers.items()]
    assert [len(row.questions) for row in encode_examples(first, COLUMNS, encoder).rows] == [1, 1]


def test_too_long_ranked_keywords_are_left_out(encoder):
    prompt = Prompt("", "the heart", "\n\nQ")
    keywords = ["heart", "a keyword of far too many tokens to be one", "paper"]
    examples = [Example(0, "ranked", prompt, "; ".join(keywords)), Example(1, "ranked", prompt, keywords[1])]
    encoded = encode_examples(examples, COLUMNS, encoder)
    (row,) = encoded.rows
    assert encoded.left_out == {"ranked": 2}
    assert row.questions[0].answers == [[*encoder.encode_text(text), encoder.end_id] for text in ("heart", "paper")]

    with pytest.raises(RecipeError, match=r"than columns\.ranked\.max_keyword_tokens; not learned\. No answer is left"):
        encode_examples(examples[1:], COLUMNS, encoder)


def test_truncated_documents_are_counted(encoder):
    prompts = [Prompt("", "the heart " * count, "\n\nQ") for count in (1, 50, 60)]
    encoded = encode_examples(
        [Example(row, "label", prompt, "1") for row, prompt in enumerate(prompts)], COLUMNS, encoder
    )
    assert encoded.truncated == 2
    assert max(len(row.ids) for row in encoded.rows) <= 64
