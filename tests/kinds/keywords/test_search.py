import numpy as np
import pytest
import torch

from papertune.decoding.engine import Engine, PromptState
from papertune.decoding.greedy import answer_ends
from papertune.kinds import RankedKeywordsColumn
from papertune.kinds.keywords.ranked import shortlist
from papertune.kinds.keywords.ranked.ranking import FEATURES, KeywordChoice
from papertune.kinds.keywords.ranked.search import KeywordSearch
from papertune.models import find_base, load_own_llama, load_tokenizer
from papertune.prompts import PromptEncoder
from papertune.recipe import EncodingSpec

DOCUMENTS = [
    "title: the effect of aspirin on the heart\nabstract: a randomised trial in patients with heart failure",
    "title: graphs\nabstract: neural networks learn",
    "title: a fast method\nabstract: we study the learning of graphs with neural networks, and the method is fast",
    "title: of the\nabstract: 12",
]
COLUMN = RankedKeywordsColumn(
    kind="ranked_keywords", question="Name one keyword.", count=3, beams=4, max_keyword_tokens=6
)
NO_CHOICE = KeywordChoice()


@pytest.fixture
def search(tiny_folder):
    """Return a function that finds keywords of documents, with a number of threads."""
    base = find_base(str(tiny_folder))
    model, tokenizer = load_own_llama(base, "fp32"), load_tokenizer(base)
    encoder = PromptEncoder(tokenizer, EncodingSpec(), chat=True)
    engine = Engine(model)
    before = torch.get_num_threads()

    def found(documents, threads=1, choice=NO_CHOICE, candidates="both"):
        torch.set_num_threads(threads)
        column = COLUMN.model_copy(update={"candidates": candidates})
        find = KeywordSearch(column, encoder, tokenizer, answer_ends(model, encoder.end_id), "title: {title}")
        prompts = [encoder.encode_text(document) for document in documents]
        return find(engine, engine.prefill(prompts), documents, choice=choice)

    yield found
    torch.set_num_threads(before)


def assert_same(found, expected):
    assert [[keyword.text for keyword in row] for row in found] == [[k.text for k in row] for row in expected]
    for row, others in zip(found, expected, strict=True):
        logs = [keyword.log_probability for keyword in others]
        assert [keyword.log_probability for keyword in row] == pytest.approx(logs, abs=1e-4)


@pytest.mark.parametrize("threads", [2, 3])
def test_keywords_found_in_threads_are_those_of_rows_one_by_one(search, threads):
    expected = [search([document])[0] for document in DOCUMENTS]
    assert all(expected)
    assert_same(search(DOCUMENTS, threads), expected)


def test_rows_together_have_the_keywords_of_rows_one_by_one(search, monkeypatch):
    expected = [search([document])[0] for document in DOCUMENTS]
    monkeypatch.setattr(PromptState, "is_divisible", False)
    assert_same(search(DOCUMENTS), expected)


@pytest.mark.parametrize(
    ("candidates", "threads", "weight"),
    [("both", 1, 0.02), ("both", 2, 0.3), ("document", 1, 0.02), ("generated", 1, 0.02)],
)
def test_with_a_ranking_the_chosen_keywords_are_those_of_all_candidates(
    search, monkeypatch, candidates, threads, weight
):
    monkeypatch.setattr(shortlist, "ROUND_TOKENS", 3)
    weights = {"log_probability": weight, "log_probability_per_token": 0.2, "log_place": -4.0, "longer_keywords": -0.5}
    choice = KeywordChoice(np.array([weights.get(feature, 0.0) for feature in FEATURES]), intercept=-1.0)
    found = search(DOCUMENTS, threads, choice, candidates)
    monkeypatch.setattr(PromptState, "is_divisible", False)
    everything = search(DOCUMENTS, threads, choice, candidates)
    assert (sum(map(len, found)) < sum(map(len, everything))) == (candidates != "generated")
    for some, row in zip(found, everything, strict=True):
        chosen, expected = choice.choose(some, COLUMN.count), choice.choose(row, COLUMN.count)
        assert [text for text, _ in chosen] == [text for text, _ in expected]
        assert [confidence for _, confidence in chosen] == pytest.approx([each for _, each in expected], abs=1e-5)
