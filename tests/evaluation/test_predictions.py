import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from papertune.errors import TableError
from papertune.evaluation.predictions import predictions_of_table, score_predictions
from papertune.kinds.label.decision import Decision
from papertune.kinds.predictions import Predictions
from papertune.metrics.keyword_scores import f1_at_5_by_paper, score_keywords
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import read_table


@pytest.mark.parametrize("separator", ["; ", " | ", ", "])
def test_written_keywords_are_read_at_any_separator(separator):
    column = {"kind": "ranked_keywords", "question": "Keyword?", "output_separator": separator}
    recipe = load_recipe({"table": {"document": "{text}"}, "columns": {"Keywords": column}})
    words = ["heart", "deep learning", "lung", "trial", "graph"]
    gold = RowReader(read_table([{"text": "of the heart", "Keywords": "; ".join(words)}]), recipe)
    predictions = Predictions([separator.join(reversed(words))])
    assert score_predictions({"Keywords": predictions}, gold, recipe, [0])["Keywords"].f1_at_5 == 1


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


def label_scores(predictions, gold, rows):
    return score_predictions({"label": predictions}, gold, RECIPE, rows)["label"]


def test_differences_equal_those_of_the_scores():
    gold = RowReader(read_table(PAPERS), RECIPE)
    rows = range(4)
    cells = {"label": (["1", "0", "1", "1"], ["0", "0", "", "1"])}
    cells["Keywords"] = (["heart; lung", "x", "lung", "graph"], ["heart", "x", "heart", "trial"])
    for name, of_both in cells.items():
        first, second = (Predictions(each) for each in of_both)
        scores = [score_predictions({name: each}, gold, RECIPE, rows)[name] for each in (first, second)]
        measure = "accuracy" if name == "label" else "f1_at_5"
        found = RECIPE.columns[name].difference(first, second, gold, name, rows)
        assert found.difference == pytest.approx(getattr(scores[0], measure) - getattr(scores[1], measure))
        assert found.low <= found.difference <= found.high
    # Rows without a gold cell are not compared, nor rows whose gold keywords have no letters.
    lung, nothing = Predictions(["lung"]), Predictions([""])
    assert RECIPE.columns["Keywords"].difference(lung, nothing, gold, "Keywords", [2]).high > 0


def test_rows_are_ranked_by_the_uncalibrated_probability():
    gold = RowReader(read_table(PAPERS), RECIPE)
    cells = ["1", "0", "1", "0"]
    isotonic = [[0.5, 0.5]] * 4
    predictions = Predictions(cells, isotonic, [[0.6, 0.4], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    scores = label_scores(predictions, gold, range(4))
    assert scores.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert scores.auc == 3 / 4
    assert scores.wss_at_95 == pytest.approx(1 / 4 - 0.05)
    assert scores.log_loss == pytest.approx(math.log(2))  # of the calibrated probabilities
    tied = label_scores(Predictions(cells, isotonic), gold, range(4))
    assert (tied.average_precision, tied.auc) == (0.5, 0.5)
    # Without the probabilities of a row there is no ranking.
    gap = Predictions(cells, [[], *isotonic[1:]], [[], *predictions.raw[1:]])
    assert label_scores(gap, gold, range(4)).average_precision is None


def test_two_rankings_of_the_same_rows_are_compared():
    gold = RowReader(read_table([*PAPERS, {"text": "unlabelled", "label": ""}]), RECIPE)
    cells, column = ["1"] * 5, RECIPE.columns["label"]

    def ranked(*scores):
        return Predictions(cells, [[score, 1 - score] for score in scores])

    first, second = ranked(0.6, 0.4, 0.3, 0.2, 0.99), ranked(0.1, 0.8, 0.7, 0.3, 0.5)
    found = column.ranking_difference(first, second, gold, "label", range(5))
    one, other = (label_scores(each, gold, range(5)) for each in (first, second))
    assert found.difference == pytest.approx(one.average_precision - other.average_precision)
    assert column.ranking_difference(first, Predictions(cells), gold, "label", range(5)) is None
    assert column.ranking_difference(first, second, gold, "label", [1, 3]) is None  # neither row has the label
    assert RECIPE.columns["Keywords"].ranking_difference(first, second, gold, "Keywords", range(5)) is None


def test_f1_at_5_is_the_mean_over_papers():
    gold = [["heart", "lung"], [], ["graphs"], ["!"]]
    predicted = [["hearts", "Lungs", "x"], ["y"], ["a", "b", "c", "d", "e", "graph"], ["!"]]
    by_paper = f1_at_5_by_paper(gold, predicted)
    assert by_paper.tolist() == pytest.approx([4 / 7, 0])
    assert by_paper.mean() == pytest.approx(score_keywords(gold, predicted, [""] * 4).f1_at_5)


# Any two cells, and two numbers that add up to 1 or nearly.
ODD = st.lists(st.floats(-0.1, 1.1).map(str) | st.sampled_from(["", "nan", "90", "x"]), min_size=2, max_size=2)
NEAR = st.tuples(st.floats(0, 1), st.floats(-0.02, 0.02)).map(lambda pair: [str(pair[0]), str(1 - sum(pair))])


@settings(max_examples=10, deadline=None)
@given(ODD | NEAR)
@example(["0.335", "0.675"])  # off by the tolerance of the scores
@example(["0.7", "0.3"])
@example(["", ""])
def test_probabilities_that_can_be_read_can_be_scored(cells):
    row = {"label": "", "label_probability_1": cells[0], "label_probability_0": cells[1]}
    decisions = {"label": Decision(threshold=0.4)}
    try:
        predictions = predictions_of_table(read_table([row, row]), RECIPE, decisions)["label"]
    except TableError:  # a mistake of the user's, reported as one
        return
    scores = label_scores(predictions, RowReader(read_table(PAPERS[:2]), RECIPE), range(2))
    if cells == ["", ""]:
        assert (predictions.cells, predictions.probabilities, scores.abstained) == (["", ""], [[], []], 2)
    else:
        label = "1" if float(cells[0]) >= 0.4 else "0"
        assert (predictions.cells, predictions.abstained, scores.abstained) == ([label] * 2, [True] * 2, 0)
        assert scores.log_loss is not None
