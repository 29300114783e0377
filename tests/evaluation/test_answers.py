import pytest

from papertune.config import load_recipe
from papertune.evaluation.answers import Answers, score_answers
from papertune.tables import read_table
from papertune.tasks import RowReader


@pytest.mark.parametrize("separator", ["; ", " | ", ", "])
def test_keywords_are_read_as_they_were_written(separator):
    column = {"kind": "ranked_keywords", "question": "Keyword?", "output_separator": separator}
    recipe = load_recipe({"table": {"document": "{text}"}, "columns": {"Keywords": column}})
    words = ["heart", "deep learning", "lung", "trial", "graph"]
    truth = RowReader(read_table([{"text": "of the heart", "Keywords": "; ".join(words)}]), recipe)
    said = Answers([separator.join(reversed(words))])
    assert score_answers({"Keywords": said}, truth, recipe, [0])["Keywords"].f1_at_5 == 1
