from papertune.kinds.keywords.cells import split_keywords
from papertune.prompts.examples import Example, Prompt, RowReader, make_prompt, training_examples
from papertune.recipe import load_recipe
from papertune.tables import read_table

COLUMNS = {
    "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
    "Keywords": {"kind": "keywords", "question": "Keywords?", "separator": ", "},
}
RECIPE = load_recipe({"table": {"document": "{title}: {abstract}"}, "columns": COLUMNS})


def test_a_row_gives_an_example_for_each_column_with_something_to_learn():
    table = read_table(
        [
            {"title": "A", "abstract": "{b}", "label": "1.0", "Keywords": "heart.；Lung; HEART"},
            {"title": "C", "abstract": "", "label": "0", "Keywords": " ; "},
        ]
    )
    first = Prompt("", "A: {b}", "\n\nMedical?")
    assert list(training_examples(table, RECIPE)) == [
        Example(0, "label", first, "1"),
        Example(0, "Keywords", Prompt("", "A: {b}", "\n\nKeywords?"), "heart, Lung"),
        Example(1, "label", Prompt("", "C: ", "\n\nMedical?"), "0"),
    ]
    assert RowReader(table, RECIPE).prompt(0, "label") == first, "prediction and training have different prompts"


def test_a_column_that_the_table_lacks_gives_no_examples():
    table = read_table([{"title": "A", "abstract": "b", "Keywords": "c"}])
    assert [example.column for example in training_examples(table, RECIPE)] == ["Keywords"]


def test_the_layout_decides_the_place_of_the_document():
    assert make_prompt("document-first", "D", "Q") == Prompt("", "D", "\n\nQ")
    assert make_prompt("question-first", "D", "Q", (("a", "b"),)) == Prompt("Q", "D", "", (("a", "b"),))


def test_instruction_rows_ask_one_question_each():
    table = read_table(
        [
            {"instruction": "Medical? ", "input": "D", "output": "1", "history": '[["a", "b"], ["c", ""]]'},
            {"instruction": "Keywords?", "input": "", "output": "x, y", "history": ""},
        ]
    )
    assert list(training_examples(table, RECIPE)) == [
        Example(0, "label", Prompt("", "D", "\n\nMedical?", (("a", "b"), ("c", ""))), "1"),
        Example(1, "Keywords", Prompt("", "", "\n\nKeywords?"), "x, y"),
    ]
    reader = RowReader(table, RECIPE)
    assert [reader.asked(row) for row in (0, 1)] == [["label"], ["Keywords"]]
    assert [reader.given(row, "label") for row in (0, 1)] == ["1", None]


def test_without_input_the_document_of_an_instruction_is_empty():
    table = read_table([{"instruction": "Medical?", "output": "1"}])
    assert [example.prompt.document for example in training_examples(table, RECIPE)] == [""]


def test_a_comma_in_the_only_keyword_does_not_split_it():
    column = {"kind": "ranked_keywords", "question": "Keyword?"}
    recipe = load_recipe({"table": {"document": "{title}"}, "columns": {"Keywords": column}})
    cells = ["Surgery, oral;", "heart, lung", "Surgery, oral; heart"]
    table = read_table([{"title": "A", "Keywords": cell} for cell in cells])
    answers = [example.answer for example in training_examples(table, recipe)]
    assert [split_keywords(answer) for answer in answers] == [
        ["Surgery, oral"],
        ["heart", "lung"],
        ["Surgery, oral", "heart"],
    ]
