import random
import re
import unicodedata

import numpy as np
import pytest
import snowballstemmer
from hypothesis import given
from hypothesis import strategies as st

from papertune.metrics.keyword_scores import (
    SearchableDocument,
    score_keywords,
    unique_keywords,
)
from papertune.metrics.phrases import normalise_keyword


@pytest.mark.parametrize(
    ("keyword", "form"),
    [
        ("Convolutional Neural-Networks.", "convolut neural network"),
        ("  COVID-19 ", "covid 19"),
        ("Alzheimer's", "alzheim s"),
        ("snake_case", "snake case"),
        ("naïve Bayes", "naïv bay"),
        ("nai\u0308ve Bayes", "naïv bay"),  # the accent is a separate character
        ("ＬｏＲＡ", "lora"),
        ("eﬃcient", "effici"),
        ("हिन्दी", "हिन्दी"),  # its vowels are marks, not letters
        ("国家主权。", "国家主权"),
        ("Lyapunov 函数", "lyapunov函数"),
        ("修正 Rodrigues 参数(MRP)", "修正rodrigues参数mrp"),
        ("データ・マイニング", "データマイニング"),
        ("인공 지능", "인공지능"),
        ("...", ""),
        ("", ""),
    ],
)
def test_normal_form(keyword, form):
    assert normalise_keyword(keyword) == form


@given(st.text())
def test_normal_form_has_letters_digits_and_marks_only(text):
    form = normalise_keyword(text)
    assert form == " ".join(form.split())
    assert all(part.isalnum() or unicodedata.category(part)[0] == "M" for part in form.replace(" ", ""))


@given(st.text(alphabet=st.characters(max_codepoint=0x7E)))
def test_normal_form_ignores_case_and_punctuation(text):
    assert normalise_keyword(text.upper()) == normalise_keyword(text) == normalise_keyword(f" «{text}». ")


def test_repeats_are_dropped_after_stemming():
    assert unique_keywords(["Networks", "network", " ", "NETWORK.", "graph"]) == ["network", "graph"]


@pytest.mark.parametrize(
    ("phrase", "present"),
    [
        ("neural networks", True),
        ("deep neural network", True),
        ("network", True),
        ("net", False),  # whole words only
        ("neural graph", False),
        ("LoRA", True),  # between Chinese characters without blanks
        ("微调", True),
        ("用LoRA", True),
        ("大模型", False),
    ],
)
def test_present_keywords(phrase, present):
    document = SearchableDocument("Deep neural networks, graphs. 用LoRA微调模型")
    assert document.contains(normalise_keyword(phrase)) is present


def test_scores_worked_out_by_hand():
    document = "Deep neural networks for image segmentation. We train a network on scans."
    gold = ["neural network", "Image Segmentation.", "medical imaging"]  # two present, one absent
    predicted = [
        "Neural Networks",  # right, present
        "neural network",  # a repeat
        "scans",  # wrong, present
        "medical imaging",  # right, absent
        "radiology",  # wrong, absent
        "deep",  # wrong, present
        "image segmentation",  # right, present, the sixth
        "training",  # wrong, present: `train` is in the document
    ]
    scores = score_keywords([gold, []], [predicted, ["anything"]], [document, "text"])
    assert (scores.rows, scores.scored, scores.left_out) == (2, 1, 1)
    # Without the repeat: right, wrong, right, wrong, wrong | right, wrong
    assert scores.precision_at_5 == 2 / 5
    assert scores.recall_at_5 == 2 / 3
    assert scores.f1_at_5 == pytest.approx(2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3))
    assert scores.precision_at_m == 3 / 7
    assert scores.recall_at_m == 1
    assert scores.f1_at_m == pytest.approx(2 * (3 / 7) / (3 / 7 + 1))
    assert scores.precision_at_o == scores.recall_at_o == scores.f1_at_o == pytest.approx(2 / 3)
    assert scores.present is not None
    assert scores.absent is not None
    # Present: right, wrong, wrong, right, wrong of 2; absent: right, wrong of 1.
    assert scores.present.f1_at_5 == pytest.approx(2 * 2 / (5 + 2))
    assert scores.present.f1_at_m == pytest.approx(2 * 2 / (5 + 2))
    assert scores.present.recall == 1
    assert scores.absent.f1_at_5 == pytest.approx(2 * 1 / (5 + 1))
    assert scores.absent.f1_at_m == pytest.approx(2 * 1 / (2 + 1))
    assert scores.absent.papers == scores.present.papers == 1


def test_predicting_few_keywords_does_not_raise_precision_at_5():
    one_of_four = score_keywords([["a1", "b1", "c1", "d1"]], [["a1"]], ["a1"])
    assert one_of_four.precision_at_5 == 1 / 5
    assert one_of_four.precision_at_o == 1 / 4
    assert one_of_four.precision_at_m == 1
    nothing = score_keywords([["a1"]], [[]], ["b1"])
    assert (nothing.f1_at_5, nothing.f1_at_m, nothing.f1_at_o) == (0, 0, 0)
    assert nothing.present is None
    assert nothing.as_dict()["absent"] == {"papers": 1, "f1_at_5": 0.0, "f1_at_m": 0.0, "recall": 0.0}


def test_chinese_keywords():
    scores = score_keywords([["国家主权", "一国两制", "思想 史"]], [["国家主权。", "思想"]], ["国家主权与一国两制"])
    assert scores.precision_at_m == 1 / 2
    assert scores.present is not None
    assert scores.present.recall == 1 / 2


def _slow_stems(text: str) -> list[str]:
    stemmer = snowballstemmer.stemmer("porter")
    return [stemmer.stemWord(word) if len(word) > 2 else word for word in re.findall("[a-z0-9]+", text.lower())]


def _slow_scores(gold, predicted, documents):
    """Compute the same scores with plain lists, without a cache, one formula at a time."""
    sums: dict[str, list[float]] = {}

    def note(name, right, divisor, gold_count):
        precision = right / divisor if divisor else 0
        recall = right / gold_count
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
        for kind, value in (("precision", precision), ("recall", recall), ("f1", f1)):
            sums.setdefault(f"{kind}_{name}", []).append(value)

    for gold_keywords, predicted_keywords, document in zip(gold, predicted, documents, strict=True):
        words = _slow_stems(document)
        lists = []
        for keywords in (gold_keywords, predicted_keywords):
            stems: list[list[str]] = []
            for keyword in keywords:
                if _slow_stems(keyword) and _slow_stems(keyword) not in stems:
                    stems.append(_slow_stems(keyword))
            lists.append(stems)
        wanted, found = lists
        if not wanted:
            continue
        for name, cutoff, divisor in (("5", 5, 5), ("m", len(found), len(found)), ("o", len(wanted), len(wanted))):
            note(f"at_{name}", sum(stems in wanted for stems in found[:cutoff]), divisor, len(wanted))
        for part in (True, False):
            wanted_part, found_part = [
                [s for s in stems if any(words[i : i + len(s)] == s for i in range(len(words))) is part]
                for stems in (wanted, found)
            ]
            if wanted_part:
                right = [stems in wanted_part for stems in found_part]
                note(f"at_5_{part}", sum(right[:5]), 5, len(wanted_part))
                note(f"at_m_{part}", sum(right), len(found_part), len(wanted_part))
    return {name: np.mean(values) for name, values in sums.items()}


def test_scores_equal_a_slow_implementation():
    draw = random.Random(7)
    vocabulary = ["network", "networks", "Graph", "graphs", "learning", "learned", "x-ray", "2D", "data", "-"]

    def phrases(maximum):
        return [" ".join(draw.choices(vocabulary, k=draw.randint(1, 2))) for _ in range(draw.randint(0, maximum))]

    gold = [phrases(6) for _ in range(200)]
    predicted = [phrases(12) for _ in range(200)]
    documents = [" ".join(draw.choices(vocabulary, k=12)) for _ in range(200)]
    scores = score_keywords(gold, predicted, documents)
    slow = _slow_scores(gold, predicted, documents)
    for name in ("at_5", "at_m", "at_o"):
        for kind in ("precision", "recall", "f1"):
            assert getattr(scores, f"{kind}_{name}") == pytest.approx(slow[f"{kind}_{name}"])
    for part, found in ((True, scores.present), (False, scores.absent)):
        assert found is not None
        assert found.f1_at_5 == pytest.approx(slow[f"f1_at_5_{part}"])
        assert found.f1_at_m == pytest.approx(slow[f"f1_at_m_{part}"])
        assert found.recall == pytest.approx(slow[f"recall_at_m_{part}"])
    assert scores.f1_at_5_interval.low < scores.f1_at_5 < scores.f1_at_5_interval.high
    assert scores.f1_at_o_interval.low < scores.f1_at_o < scores.f1_at_o_interval.high


def test_invalid_inputs_raise():
    with pytest.raises(ValueError, match="2 lists of gold keywords, 1 of predicted ones and 2 documents"):
        score_keywords([["a"], ["b"]], [["a"]], ["", ""])
    with pytest.raises(ValueError, match="nothing to score"):
        score_keywords([["."], []], [["a"], []], ["", ""])
