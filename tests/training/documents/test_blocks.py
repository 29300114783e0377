"""Blocks of packed texts: nothing is lost, and a text is learned as if it were alone."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from papertune.models import AttentionMasks
from papertune.training.documents import HeldOut, PackedBlocks, TokenFile, TokenWriter
from papertune.training.documents.blocks import collate_blocks, cut_texts, pack, split_blocks, token_losses

TEXTS = [[5, 6, 7, 8, 2], [9, 10, 2], [11, 2], [12, 13, 14, 15, 16, 17, 18, 2]]


def starts_of(lengths):
    return np.cumsum([0, *lengths], dtype=np.int64)


def written(folder, texts, vocabulary=400):
    with TokenWriter(folder, vocabulary) as writer:
        for ids in texts:
            writer.add(ids)
        writer.finish({})
    return TokenFile.open(folder)


def slow_losses(model, texts):
    """Return the loss of each predicted token, one text at a time."""
    losses = []
    for ids in texts:
        tokens = torch.tensor([ids])
        with torch.no_grad():
            logits = model(input_ids=tokens, use_cache=False).logits[0, :-1]
        losses += F.cross_entropy(logits.float(), tokens[0, 1:], reduction="none").tolist()
    return losses


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 9))
def test_cut_texts_predict_each_token_but_the_first_once(lengths, block):
    starts = starts_of(lengths)
    begins, sizes = cut_texts(starts, block)
    assert sizes.min(initial=1) >= 1
    assert sizes.max(initial=0) <= block
    predicted = [begin + 1 + place for begin, size in zip(begins, sizes, strict=True) for place in range(size)]
    firsts = {start for start, length in zip(starts, lengths, strict=False) if length}
    assert predicted == [token for token in range(starts[-1]) if token not in firsts]
    for begin, size in zip(begins, sizes, strict=True):
        assert np.searchsorted(starts, begin, "right") == np.searchsorted(starts, begin + size, "right")


def slow_pack(sizes, block):
    """Fill blocks one by one with the largest piece that still fits; return the sizes in each."""
    left, blocks = sorted(sizes), []
    while left:
        blocks.append([])
        while fitting := [size for size in left if size <= block - sum(blocks[-1])]:
            left.remove(fitting[-1])
            blocks[-1].append(fitting[-1])
    return blocks


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(0, 3))
def test_packing_is_that_of_plain_best_fit(sizes, seed):
    packed = pack(np.asarray(sizes, dtype=np.int64), 20, seed)
    assert [[sizes[row] for row in block] for block in packed] == slow_pack(sizes, 20)
    assert sorted(row for block in packed for row in block) == list(range(len(sizes)))


def test_another_seed_packs_other_texts_together():
    sizes = np.full(20, 5)
    assert list(pack(sizes, 10, 0)) != list(pack(sizes, 10, 1))


def test_a_batch_is_as_the_docstring_shows():
    batch = collate_blocks([[np.array([3, 4, 5, 2]), np.array([6, 7, 2])], [np.array([8, 9])]])
    assert {name: value.tolist() for name, value in batch.items()} == {
        "input_ids": [[3, 4, 5, 6, 7], [8, 0, 0, 0, 0]],
        "position_ids": [[0, 1, 2, 0, 1], [0, 0, 0, 0, 0]],
        "pieces": [[0, 0, 0, 1, 1], [0, -1, -1, -1, -1]],
        "targets": [[4, 5, 2, 7, 2], [9, -1, -1, -1, -1]],
        "examples": 6.0,
    }


def test_the_parts_of_a_batch_have_its_rows():
    batch = collate_blocks([[np.arange(3, 9)] for _ in range(5)])
    parts = split_blocks(batch, 10)
    assert [len(part["input_ids"]) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part["targets"] for part in parts]), batch["targets"])
    assert all(part["examples"] == batch["examples"] for part in parts)
    assert [len(part["input_ids"]) for part in split_blocks(batch, 1)] == [1] * 5


class TestTokenFile:
    @given(texts=st.lists(st.lists(st.integers(0, 69_999), max_size=5), min_size=1), vocabulary=st.just(70_000))
    def test_what_is_written_is_read(self, texts, vocabulary, tmp_path_factory):
        texts = [*texts, [1]]  # an empty file cannot be mapped
        file = written(tmp_path_factory.mktemp("tokens"), texts, vocabulary)
        assert len(file) == len(texts)
        assert [
            file.tokens[start:end].tolist() for start, end in zip(file.starts[:-1], file.starts[1:], strict=True)
        ] == texts

    @pytest.mark.parametrize(("vocabulary", "size"), [(256, 1), (49_152, 2), (65_537, 4)])
    def test_an_id_takes_as_few_bytes_as_it_needs(self, tmp_path, vocabulary, size):
        written(tmp_path, [[0, vocabulary - 1]], vocabulary)
        assert (tmp_path / "tokens.bin").stat().st_size == 2 * size

    def test_a_file_that_a_kill_left_unfinished_is_not_opened(self, tmp_path):
        written(tmp_path, TEXTS)
        with TokenWriter(tmp_path, 400) as writer:
            writer.add([1, 2])
        assert TokenFile.open(tmp_path) is None


class TestLoss:
    @pytest.fixture(params=["sdpa", "eager"])
    def model(self, request, own_tiny_model):
        own_tiny_model.set_attn_implementation(request.param)
        return own_tiny_model

    def packed_losses(self, model, folder, texts, block):
        blocks = PackedBlocks(written(folder, texts), block, seed=0)
        batch = collate_blocks([blocks[number] for number in range(len(blocks))])
        with torch.no_grad():
            losses, places = token_losses(model, AttentionMasks(model), batch)
        assert int(places.sum()) == blocks.targets == sum(len(ids) - 1 for ids in texts)
        assert sum(blocks.lengths) == blocks.targets
        return len(blocks), losses

    def test_packed_texts_have_their_own_losses(self, model, tmp_path):
        count, losses = self.packed_losses(model, tmp_path, TEXTS, block=16)
        assert count == 1
        assert sorted(losses.tolist()) == pytest.approx(sorted(slow_losses(model, TEXTS)), abs=1e-4)

    def test_the_pieces_of_a_long_text_are_texts_of_their_own(self, model, tmp_path):
        long = list(range(3, 27))
        _, losses = self.packed_losses(model, tmp_path, [long], block=8)
        pieces = [long[:8], long[7:16], long[15:24]]
        assert sorted(losses.tolist()) == pytest.approx(sorted(slow_losses(model, pieces)), abs=1e-4)

    def test_a_sliding_window_is_that_of_each_text(self, tmp_path):
        from transformers import MistralConfig, MistralForCausalLM

        torch.manual_seed(0)
        config = MistralConfig(
            vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, initializer_range=0.3, sliding_window=3,
        )  # fmt: skip
        model = MistralForCausalLM(config).eval()
        _, losses = self.packed_losses(model, tmp_path, TEXTS, block=16)
        assert sorted(losses.tolist()) == pytest.approx(sorted(slow_losses(model, TEXTS)), abs=1e-4)


class TestHeldOut:
    def test_each_text_has_the_sum_of_its_own_losses(self, tiny_model):
        held_out = HeldOut(TEXTS, 16, torch.float32)
        expected = [sum(slow_losses(tiny_model, [ids])) for ids in TEXTS]
        assert held_out.nll(tiny_model).tolist() == pytest.approx(expected, abs=1e-3)
        assert held_out.tokens.tolist() == [4, 2, 1, 7]

    def test_many_passes_find_the_same_as_one(self, tiny_model, monkeypatch):
        texts = [[5 + n % 7, *range(20, 25 + n), 2] for n in range(9)]
        one = HeldOut(texts, 16, torch.float32).nll(tiny_model)
        monkeypatch.setattr("papertune.training.documents.likelihood._PASS_TOKENS", 1)
        assert HeldOut(texts, 16, torch.float32).nll(tiny_model).tolist() == pytest.approx(one.tolist(), abs=1e-3)

    def test_the_dev_score_is_the_negated_loss_a_token_and_leaves_training_mode(self, own_tiny_model):
        own_tiny_model.train()
        scores = HeldOut(TEXTS, 16, torch.float32).dev_score(own_tiny_model)
        assert own_tiny_model.training
        losses = slow_losses(copy.deepcopy(own_tiny_model).eval(), TEXTS)
        assert scores["nll"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)
        assert scores["score"] == -scores["nll"]
        assert scores["perplexity"] == pytest.approx(np.exp(scores["nll"]))
