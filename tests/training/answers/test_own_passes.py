import pytest
import torch

from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.methods import LoraMethod, build_trainable
from papertune.training.answers.batch import Question, TrainingRow, collate
from papertune.training.answers.label_sets import LabelSet
from papertune.training.answers.own_passes import OwnPasses, _part_tokens
from papertune.training.layers.decoder import own_decoder


@pytest.mark.parametrize(
    ("tokens", "most"), [(1, 1), (100, 100), (128, 128), (129, 65), (1000, 500), (1024, 512), (1025, 257), (2920, 487)]
)
def test_a_batch_becomes_an_even_number_of_equal_parts_unless_it_is_small(tokens, most):
    assert _part_tokens(tokens) == most


SINGLE, PARTING = LabelTrie.build([[5], [9]], 2), LabelTrie.of_choices([[7, 8], [7, 11, 4], [12]], 2)
WHOLE = LabelTrie.build([[7, 8], [12]], 2)
LABELS = [
    TrainingRow([*range(3, 20)], [Question([[1]], label_set=0), Question([[0]], label_set=1, ids=[6], trie=PARTING)]),
    TrainingRow([9, 8, 7], [Question([[0]], label_set=0, weight=0.5)]),
]


def learned(model, tries, rows, few_tokens):
    """Return losses, gradients, and the numbers of logits that were computed for each position."""
    widths = []
    with own_decoder(model, torch.float32) as decoder:
        passes = OwnPasses(decoder, [LabelSet(str(n), trie) for n, trie in enumerate(tries)], None)
        if not few_tokens:
            passes._label_tokens = None
        logits = decoder.logits

        def counted(*arguments):
            found = logits(*arguments)
            widths.append(found.shape[1])
            return found

        decoder.logits = counted
        model.zero_grad()
        parts = passes.learn(collate(rows, pad_id=0), torch.tensor(2.0))
    return (
        sum(losses for _, losses in parts),
        {name: p.grad for name, p in model.named_parameters() if p.requires_grad},
        widths,
    )


def test_labels_are_learned_from_the_logits_of_their_tokens(own_tiny_model):
    model = build_trainable(own_tiny_model, LoraMethod(rank=2), seed=0)
    losses, gradients, widths = learned(model, [SINGLE, PARTING], LABELS, few_tokens=True)
    expected_losses, expected, all_widths = learned(model, [SINGLE, PARTING], LABELS, few_tokens=False)
    vocabulary = model.config.vocab_size
    read = {token for path in (*SINGLE.paths, *PARTING.paths) for _, token in path}
    assert (set(widths), set(all_widths)) == ({len(read)}, {vocabulary})
    torch.testing.assert_close(losses, expected_losses)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("tries", "row"),
    [
        ([SINGLE, WHOLE], TrainingRow([9, 8], [Question([[0]], label_set=1, trie=WHOLE)])),
        ([SINGLE], TrainingRow([9, 8], [Question([[0]], label_set=0), Question([[5, 6]], ids=[4])])),
    ],
)
def test_answers_that_compete_with_all_tokens_need_all_logits(own_tiny_model, tries, row):
    model = build_trainable(own_tiny_model, LoraMethod(rank=2), seed=0)
    assert learned(model, tries, [row], few_tokens=True)[2] == [model.config.vocab_size]
