import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.evaluation.systems.outputs import TrainingRows
from papertune.kinds import NumberColumn

TITLES = ["TF-IDF + ridge regression", "TF-IDF nearest neighbours", "first number in the text", "median"]
ROWS = TrainingRows(
    [f"aspirin heart trial large {n}" for n in range(8)] + [f"graph network theory proof {n}" for n in range(8)],
    [str(1000 + n) for n in range(8)] + ["not stated"] * 8,
)


def filled(title, documents, rows=ROWS, **settings):
    column = NumberColumn(kind="number", question="How many?", **{"integer": True, **settings})
    output = column.baselines()[title](rows, documents)
    assert len(output.predictions.cells) == len(documents)
    assert all(cell == "" or column.grammar.is_complete(cell) for cell in output.predictions.cells)
    return output


def cells(*arguments, **settings):
    return list(filled(*arguments, **settings).predictions.cells)


def test_the_baselines_and_their_order():
    assert list(NumberColumn(kind="number", question="?").baselines()) == TITLES


class TestMedian:
    def test_the_median_is_that_of_the_training_numbers(self):
        rows = TrainingRows(["a"] * 4, ["1", "7", "100", "not stated"])
        assert cells("median", ["x", "y"], rows) == ["7", "7"]

    def test_the_median_is_not_stated_if_most_rows_have_no_number(self):
        assert cells("median", ["x"], TrainingRows(["a"] * 3, ["1", "not stated", "not stated"])) == [""]

    def test_the_median_has_no_more_decimals_than_the_training_numbers(self):
        assert cells("median", ["x"], TrainingRows(["a"] * 2, ["1.5", "1.2"]), integer=False) == ["1.4"]
        assert cells("median", ["x"], TrainingRows(["a"] * 2, ["1", "4"])) == ["2"]


class TestFirstNumber:
    @pytest.mark.parametrize(
        ("document", "cell"),
        [
            ("We followed 3,904 patients and 5 controls.", "3904"),
            ("In 120 mice (n=60 each)", "120"),
            ("(n=60)", "60"),
            ("p53 and COVID-19 in 45 of 50", "45"),
            ("a 68-year-old and a 3,904-person cohort, 7 deaths", "7"),
            ("1.5 mg for 12 weeks", "12"),
            ("10 000 rows", "10"),
            ("共120例患者", "120"),
            ("1.2.3 or 4,5,6 and 8", "8"),
            ("no number at all", ""),
            ("", ""),
        ],
    )
    def test_the_first_number_is_separate_and_allowed(self, document, cell):
        assert cells("first number in the text", [document]) == [cell]

    def test_the_first_number_is_in_the_range(self):
        assert cells("first number in the text", ["in 2019, 50 of 80 people"], maximum=100) == ["50"]
        assert cells("first number in the text", ["-3.5 or 4"], integer=False) == ["-3.5"]


class TestNeighbours:
    def test_neighbours_are_similar_rows(self):
        new = ["large aspirin trial of the heart", "theory of a network and a graph"]
        found = cells("TF-IDF nearest neighbours", new)
        assert 1000 <= int(found[0]) <= 1007
        assert found[1] == ""

    def test_neighbours_without_words_are_all_rows(self):
        rows = TrainingRows(["", " ", "."], ["5", "6", "9"])
        assert cells("TF-IDF nearest neighbours", ["x"], rows) == ["6"]
        assert cells("TF-IDF nearest neighbours", [], rows) == []


class TestRidge:
    def test_words_decide_about_the_number_and_whether_there_is_one(self):
        new = ["large aspirin trial of the heart", "theory of a network and a graph"]
        found = cells("TF-IDF + ridge regression", new)
        assert 1000 <= int(found[0]) <= 1007
        assert found[1] == ""

    def test_larger_numbers_follow_their_words(self):
        documents = [f"{'huge cohort' if n % 2 else 'small cage'} of animals {n}" for n in range(12)]
        rows = TrainingRows(documents, ["900" if n % 2 else "10" for n in range(12)])
        output = filled("TF-IDF + ridge regression", ["a huge cohort", "a small cage"], rows)
        huge, small = map(int, output.predictions.cells)
        assert huge > 600 > 300 > small
        assert output.trained_weights > 3

    def test_a_few_huge_numbers_do_not_decide_all(self):
        """Positive numbers of very different size are regressed on a logarithmic scale."""
        numbers = [10, 12, 14, 16, 18, 20, 22, 6_400_000]
        rows = TrainingRows([f"mice in cages {n}" for n in range(7)] + ["udder records"], list(map(str, numbers)))
        (cell,) = cells("TF-IDF + ridge regression", ["mice in new cages"], rows)
        assert int(cell) < 100

    def test_predictions_stay_within_the_training_numbers(self):
        rows = TrainingRows(["one one", "two two", "one two"], ["10", "20", "15"])
        found = cells("TF-IDF + ridge regression", ["one " * 50, "two " * 50, "", "other"], rows)
        assert all(10 <= int(cell) <= 20 for cell in found)

    def test_ridge_without_words_predicts_the_median(self):
        assert cells("TF-IDF + ridge regression", ["x"], TrainingRows([""] * 3, ["1", "2", "9"])) == ["2"]

    def test_ridge_without_any_number_predicts_none(self):
        assert cells("TF-IDF + ridge regression", ["x"], TrainingRows(["a b", "b c"], ["not stated"] * 2)) == [""]


rows = st.lists(
    st.tuples(st.sampled_from(["", "heart trial", "heart", "graph 5", "12 graphs", "图像"]), st.integers(-9, 99)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("title", TITLES)
@given(rows=rows, digits=st.integers(0, 2))
def test_every_prediction_is_allowed_whatever_the_training_rows(title, rows, digits):
    answers = [f"{number / 10**digits:g}" if number else "none" for _, number in rows]
    learned = TrainingRows([text for text, _ in rows], answers)
    documents = ["heart", "graphs 12 of 0.5", "", "图像处理"]
    filled(title, documents, learned, integer=digits == 0, minimum=-9, maximum=99, empty="none")
