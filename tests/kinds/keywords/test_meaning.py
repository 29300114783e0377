"""The second look of a sentence encoder at the best phrases of a document."""

import dataclasses
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.errors import RunError
from papertune.kinds.keywords.by_words import meaning
from papertune.kinds.keywords.by_words.fit import fit_words, words_in_words
from papertune.kinds.keywords.by_words.meaning import (
    LOOKED_AT,
    MEANING_FEATURES,
    Meaning,
    MeaningRecord,
    meaning_features,
)
from papertune.kinds.keywords.by_words.words import load_words

COLOURS = ("amber", "ochre", "teal", "mauve", "beige", "coral", "olive", "ivory")


# Words that mean the same as a colour; counting words cannot know.
SHADES = {f"shade{letter}": colour for letter, colour in zip("abcdefgh", COLOURS, strict=True)}


class HashedEncoder:
    """Adds up a random direction for each word; a shade counts ten times as its colour."""

    name = "hashed"
    checksum = "c0ffee" * 10

    def __init__(self):
        self.texts = 0

    def embed(self, texts):
        self.texts += len(texts)
        vectors = np.stack([sum((self._word(word) for word in text.split()), np.zeros(64)) for text in texts])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)

    def embed_together(self, texts):
        return self.embed(texts)

    def _word(self, word):
        word = word.strip(".").lower()
        direction = np.random.default_rng(zlib.crc32(SHADES.get(word, word).encode())).normal(size=64)
        return direction * (10 if word in SHADES else 1)


def make_rows(count):
    """Return documents and keywords: one of eight colours that words cannot tell apart."""
    random = np.random.default_rng(0)
    documents, keywords = [], []
    for _ in range(count):
        walls = [f"{colour} walls" for colour in random.permutation(COLOURS)]
        shade = str(random.choice(list(SHADES)))
        documents.append(f"A house\nWe paint {', '.join(walls)}. It is {shade}.")
        keywords.append([f"{SHADES[shade]} walls", "absent thing"])
    return documents, keywords


def plain_features(document, texts, odds, embed):
    """The features one phrase after the other."""
    near = [float(embed([document])[0] @ embed([text])[0]) for text in texts]
    title = [float(embed([document.split("\n")[0]])[0] @ embed([text])[0]) for text in texts]
    rows = []
    for place, text in enumerate(texts):
        others = [float(embed([text])[0] @ embed([other])[0]) for other in texts]
        others[place] = 0.0
        row = [odds[place]]
        for values in (near, title):
            before = sum(
                value > values[place] or (value == values[place] and n < place) for n, value in enumerate(values)
            )
            row += [values[place], values[place] - max(values), before / len(texts)]
        rows.append([*row, sum(others) / len(texts), max([0.0, *others[:place]])])
    return np.array(rows).reshape(-1, len(MEANING_FEATURES))


@given(st.lists(st.sampled_from(["red", "red wall", "blue", "of", "new red"]), unique=True, max_size=5))
def test_features_are_those_of_a_plain_loop(texts):
    encoder = HashedEncoder()
    odds = [1.0 - place for place in range(len(texts))]
    found = meaning_features("A new red wall\nis red", texts, odds, encoder)
    # Ranks of equal nearness depend on the last bits.
    np.testing.assert_allclose(found, plain_features("A new red wall\nis red", texts, odds, encoder.embed), atol=1e-6)


def record(**changes):
    weights = dict.fromkeys(MEANING_FEATURES, 0.0) | {"nearness": 1.0}
    return dataclasses.replace(
        MeaningRecord("hashed", HashedEncoder.checksum, True, 9, {"words": 0.1, "encoder": 0.2}, 0.01, weights, 0.5),
        **changes,
    )


def test_phrases_behind_the_best_stay_last(monkeypatch):
    encoder = HashedEncoder()
    monkeypatch.setattr(meaning, "open_encoder", lambda _name: encoder)
    ranked = [(f"word{n}", 5.0 - n / 10) for n in range(LOOKED_AT + 3)]
    found = Meaning(record(), None).look_again("word7 word7 word9", ranked)
    assert [text for text, _ in found[:2]] == ["word7", "word9"]
    assert found[0][1] > found[1][1] > found[2][1]
    assert [text for text, _ in found[LOOKED_AT:]] == [text for text, _ in ranked[LOOKED_AT:]]
    odds = [each for _, each in found]
    assert odds == sorted(odds, reverse=True)
    assert encoder.texts == LOOKED_AT + 2
    assert Meaning(record(), None).look_again("word", []) == []


def test_another_encoder_is_an_error(monkeypatch):
    monkeypatch.setattr(meaning, "open_encoder", lambda _name: HashedEncoder())
    with pytest.raises(RunError) as caught:
        Meaning(record(checksum="0" * 64), None).look_again("word", [("word", 0.0)])
    assert str(caught.value) == (
        "keywords were learned with the sentence encoder hashed with weights 000000000000..., but hashed has "
        "c0ffeec0ffee.... Give the folder of the right one as encoder in the run's recipe.toml."
    )


def test_the_encoder_looks_again_where_that_is_better(tmp_path, monkeypatch):
    documents, keywords = make_rows(40)
    encoder = HashedEncoder()
    words = fit_words(documents, keywords, encoder=encoder)
    found = words.record.meaning
    assert words.record.order == "learned"
    assert found is not None
    assert found.is_used
    assert found.rows == 40
    assert found.f1_at_5["encoder"] - found.f1_at_5["words"] > found.standard_error
    message = words_in_words(words.record)
    assert "; the sentence encoder looks at the best 40 of a document again: F1@5 0." in message
    monkeypatch.setattr(meaning, "open_encoder", lambda name: {"folder": encoder}[name])
    words.save(tmp_path)
    loaded = load_words(tmp_path, "folder")
    assert loaded is not None
    assert loaded.record == words.record
    without = dataclasses.replace(loaded, record=dataclasses.replace(loaded.record, meaning=None))
    assert loaded.rank(documents[0], 3) != without.rank(documents[0], 3)


def test_an_encoder_that_adds_nothing_is_not_asked():
    documents, keywords = make_rows(40)
    encoder = HashedEncoder()
    encoder.embed = lambda texts: np.ones((len(texts), 4), dtype=np.float32) / 2
    words = fit_words(documents, keywords, encoder=encoder)
    assert words.record.meaning is not None
    assert not words.record.meaning.is_used
    assert "the sentence encoder is not used, since it adds less than the standard error of " in words_in_words(
        words.record
    )
    alone = dataclasses.replace(words, record=dataclasses.replace(words.record, meaning=None))
    assert words.rank(documents[0], 5) == alone.rank(documents[0], 5)  # no encoder is opened


def test_a_second_look_with_other_features_is_an_error(tmp_path):
    words = fit_words(*make_rows(20))
    words.save(tmp_path)
    kept = json.loads((tmp_path / "words.json").read_text("utf-8"))
    assert kept["meaning"] is None
    kept["meaning"] = dataclasses.asdict(record(weights={"shine": 1.0}))
    (tmp_path / "words.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="cannot be read: the second look has other features: shine"):
        load_words(tmp_path)
    del kept["meaning"]  # as an earlier version has written it
    (tmp_path / "words.json").write_text(json.dumps(kept))
    loaded = load_words(tmp_path)
    assert loaded is not None
    assert loaded.record.meaning is None
