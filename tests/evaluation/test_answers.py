import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from papertune.errors import TableError
from papertune.evaluation.predictions import (
    Answers,
    answers_difference,
    answers_of_table,
    ranking_difference,
    score_answers,
)
from papertune.kinds.label.decision import Decision
from papertune.metrics.keyword_scores import f1_at_5_by_paper, score_keywords
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import read_table


@pytest.mark.parametrize("separator", ["; ", " | ", ", "])
def test_keywords_are_read_as_they_were_written(separator):
    column = {"kind": "ranked_keywords", "question": "Keyword?", "output_separator": separator}
    recipe = load_recipe({"table": {"document": "{text}"}, "columns": {"Keywords": column}})
    words = ["heart", "deep learning", "lung", "trial", "graph"]
    truth = RowReader(read_table([{"text": "of the heart", "Keywords": "; ".join(words)}]), recipe)
    said = Answers([separator.join(reversed(words))])
    assert score_answers({"Keywords": said}, truth, recipe, [0])["Keywords"].f1_at_5 == 1


PAPERS = [
    {"text": "on the heart", "label": "1", "Keywords": "heart; lung"},
    {"text": "on graphs", "label": "0", "Keywords": ""},
    {"text": "on lungs", "label": "1", "Keywords": "lung"},
    {"text": "on trials", "label": "0", "Keywords": "trial; !"},
]
RECIPE = load_recipe(
    {
        "table": {"document": "{text}"},
        "columns": {
            "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
            "Keywords": {"kind": "keywords", "question": "Keywords?"},
        },
    }
)


def test_differences_are_those_of_the_scores():
    truth = RowReader(read_table(PAPERS), RECIPE)
    rows = range(4)
    said = {"label": (["1", "0", "1", "1"], ["0", "0", "", "1"])}
    said["Keywords"] = (["heart; lung", "x", "lung", "graph"], ["heart", "x", "heart", "trial"])
    for name, cells in said.items():
        first, second = (Answers(each) for each in cells)
        of_first, of_second = (score_answers({name: each}, truth, RECIPE, rows)[name] for each in (first, second))
        measure = "accuracy" if name == "label" else "f1_at_5"
        found = answers_difference(first, second, truth, name, RECIPE.columns[name], rows)
        assert found.difference == pytest.approx(getattr(of_first, measure) - getattr(of_second, measure))
        assert found.low <= found.difference <= found.high
    # A row that the table says nothing of is not compared, and neither is one whose keywords are but signs.
    assert (
        answers_difference(Answers(["lung"]), Answers([""]), truth, "Keywords", RECIPE.columns["Keywords"], [2]).high
        > 0
    )


def test_rows_are_ranked_by_the_models_own_probability():
    truth = RowReader(read_table(PAPERS), RECIPE)
    cells = ["1", "0", "1", "0"]
    isotonic = [[0.5, 0.5]] * 4
    said = Answers(cells, isotonic, [[0.6, 0.4], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    found = score_answers({"label": said}, truth, RECIPE, range(4))["label"]
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert found.auc == 3 / 4
    assert found.wss_at_95 == pytest.approx(1 / 4 - 0.05)
    assert found.log_loss == pytest.approx(math.log(2))  # of what is written
    tied = score_answers({"label": Answers(cells, isotonic)}, truth, RECIPE, range(4))["label"]
    assert (tied.average_precision, tied.auc) == (0.5, 0.5)
    # A row without probabilities is ranked nowhere.
    gap = Answers(cells, [[], *isotonic[1:]], [[], *said.raw[1:]])
    assert score_answers({"label": gap}, truth, RECIPE, range(4))["label"].average_precision is None


def test_rankings_of_the_same_rows_are_compared():
    truth = RowReader(read_table([*PAPERS, {"text": "untold", "label": ""}]), RECIPE)
    cells, column = ["1"] * 5, RECIPE.columns["label"]

    def said(*scores):
        return Answers(cells, [[score, 1 - score] for score in scores])

    first, second = said(0.6, 0.4, 0.3, 0.2, 0.99), said(0.1, 0.8, 0.7, 0.3, 0.5)
    found = ranking_difference(first, second, truth, "label", column, range(5))
    one, other = (score_answers({"label": of}, truth, RECIPE, range(5))["label"] for of in (first, second))
    assert found.difference == pytest.approx(one.average_precision - other.average_precision)
    assert ranking_difference(first, Answers(cells), truth, "label", column, range(5)) is None
    assert ranking_difference(first, second, truth, "label", column, [1, 3]) is None  # neither has the label
    assert ranking_difference(first, second, truth, "Keywords", RECIPE.columns["Keywords"], range(5)) is None


def test_f1_by_paper_is_what_the_score_is_the_mean_of():
    truth = [["heart", "lung"], [], ["graphs"], ["!"]]
    said = [["hearts", "Lungs", "x"], ["y"], ["a", "b", "c", "d", "e", "graph"], ["!"]]
    by_paper = f1_at_5_by_paper(truth, said)
    assert by_paper.tolist() == pytest.approx([4 / 7, 0])
    assert by_paper.mean() == pytest.approx(score_keywords(truth, said, [""] * 4).f1_at_5)


# Any two cells, and two numbers that add up to 1 or nearly.
ODD = st.lists(st.floats(-0.1, 1.1).map(str) | st.sampled_from(["", "nan", "90", "x"]), min_size=2, max_size=2)
NEAR = st.tuples(st.floats(0, 1), st.floats(-0.02, 0.02)).map(lambda pair: [str(pair[0]), str(1 - sum(pair))])


@settings(max_examples=10, deadline=None)
@given(ODD | NEAR)
@example(["0.335", "0.675"])  # off by as much as is allowed, as the scores see it too
@example(["0.7", "0.3"])
@example(["", ""])
def test_what_is_read_as_probabilities_can_be_scored(cells):
    row = {"label": "", "label_probability_1": cells[0], "label_probability_0": cells[1]}
    try:
        said = answers_of_table(read_table([row, row]), RECIPE, {"label": Decision(threshold=0.4)})["label"]
    except TableError:  # a mistake of the user's, told as such
        return
    scores = score_answers({"label": said}, RowReader(read_table(PAPERS[:2]), RECIPE), RECIPE, range(2))["label"]
    if cells == ["", ""]:
        assert (said.cells, said.probabilities, scores.abstained) == (["", ""], [[], []], 2)
    else:
        chosen = "1" if float(cells[0]) >= 0.4 else "0"
        assert (said.cells, said.withheld, scores.abstained) == ([chosen] * 2, [True] * 2, 0)
        assert scores.log_loss is not None
