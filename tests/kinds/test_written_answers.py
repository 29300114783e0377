"""What kinds say of written answers: their text, how good they are, and what of them stands in the document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.kinds.text.cells import answer_as_text
from papertune.metrics.keyword_scores import f1_at_m, score_keywords
from papertune.recipe import load_recipe

RECIPE = load_recipe(
    {
        "table": {"document": "{abstract}"},
        "columns": {
            "Keywords": {"kind": "keywords", "question": "List the keywords.", "separator": ", "},
            "Claim": {"kind": "text", "question": "What is claimed?", "empty": "nothing"},
            "label": {"kind": "label", "question": "Is it?", "labels": ["1", "0"], "sources": ["model"]},
            "Ranked": {"kind": "ranked_keywords", "question": "Which keyword?"},
        },
    }
)
KEYWORDS, CLAIM, LABEL, RANKED = RECIPE.columns.values()


def test_answers_of_keyword_lists_and_texts_are_written_and_others_are_not():
    assert [column.is_written for column in (KEYWORDS, CLAIM, LABEL, RANKED)] == [True, True, False, False]
    with pytest.raises(NotImplementedError):
        LABEL.text_of("1")
    with pytest.raises(NotImplementedError):
        RANKED.answer_f1("a", "a")


def test_the_text_of_a_value_is_what_would_be_learned():
    assert KEYWORDS.text_of("graphs;  Graphs; heart.\n") == "graphs, heart"
    assert CLAIM.text_of(answer_as_text(" It works.\r\n", 0.5)) == "It works."
    assert CLAIM.text_of(answer_as_text("Nothing", 0.5)) == "nothing"


@pytest.mark.parametrize(
    ("column", "gold", "answer", "expected"),
    [
        (KEYWORDS, "graph, heart, aspirin, trial", "graphs; lung", 2 * 1 / (2 + 4)),
        (KEYWORDS, "graph", "graph; Graph; GRAPHS", 1.0),  # repeats are dropped, as in scores
        (KEYWORDS, "graph", "", 0.0),
        (CLAIM, "It works well.", "it works", 2 * 2 / (2 + 3)),
        (CLAIM, "nothing", "Nothing", 1.0),
        (CLAIM, "nothing", "it works", 0.0),
    ],
)
def test_the_score_of_an_answer_is_f1_of_all_its_keywords_or_words(column, gold, answer, expected):
    assert column.answer_f1(gold, answer) == pytest.approx(expected)


@given(*[st.lists(st.sampled_from(["a", "b", "cc", "dd", "ee"]), min_size=1, max_size=5)] * 2)
def test_f1_of_a_paper_is_that_of_a_table_with_this_paper_alone(gold, predicted):
    assert f1_at_m(gold, predicted) == pytest.approx(score_keywords([gold], [predicted], [""]).f1_at_m)


@pytest.mark.parametrize(
    ("column", "answer", "share"),
    [
        (KEYWORDS, "neural network, trials, lung", 2 / 3),
        (KEYWORDS, "", 0.0),
        (CLAIM, "Neural networks work", 2 / 3),
        (CLAIM, "...", 0.0),
    ],
)
def test_the_share_of_an_answer_that_stands_in_the_document(column, answer, share):
    assert column.present_share(answer, "A trial of neural networks.") == pytest.approx(share)
