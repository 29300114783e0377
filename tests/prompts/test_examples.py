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


class TestOwnQuestions:
    """Questions that rows bring along."""

    ENTRIES = (
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
        {"instruction": "Say a.", "output": "a", "system": "Be brief.", "history": [["Say b.", "b"], ["Say c.", ""]]},
        {"instruction": "", "input": "Say d.", "output": " "},
    )

    def recipe(self, layout="question-first", **columns):
        column = {"kind": "text", "question": "{instruction}"}
        return load_recipe(
            {"layout": layout, "table": {"document": "{input}"}, "columns": {"output": column, **columns}}
        )

    def test_each_entry_asks_its_own(self):
        table = read_table(self.ENTRIES)
        rounds = (("Say b.", "b"), ("Say c.", ""))
        first = Example(0, "output", Prompt("", "Add.\n1 and 2", "", drops_history=True), "3")
        second = Example(1, "output", Prompt("", "Say a.", "", rounds, "Be brief.", drops_history=True), "a")
        assert list(training_examples(table, self.recipe())) == [first, second]
        reader = RowReader(table, self.recipe())
        assert reader.prompt(0, "output") == first.prompt, "prediction asks with another prompt than training"
        assert reader.prompt(2, "output").document == "Say d."
        assert [reader.document(row) for row in range(3)] == ["Add.\n1 and 2", "Say a.", "Say d."]
        assert [reader.question(0, "output"), reader.input(0)] == ["Add.", "1 and 2"]

    def test_a_document_may_stand_first(self):
        reader = RowReader(read_table(self.ENTRIES), self.recipe("document-first"))
        prompts = [reader.prompt(row, "output") for row in range(3)]
        assert [(p.document, p.after) for p in prompts] == [("1 and 2", "\n\nAdd."), ("Say a.", ""), ("Say d.", "")]
        assert reader.document(0) == "1 and 2\n\nAdd."

    def test_all_answers_of_a_conversation(self):
        examples = list(training_examples(read_table(self.ENTRIES), self.recipe(), learn_history=True))
        earlier = Example(1, "output", Prompt("", "Say b.", "", (), "Be brief.", drops_history=True), "b")
        assert examples[1] == earlier  # the empty answer teaches nothing
        assert [example.answer for example in examples] == ["3", "b", "a"]
        assert [each for each in examples if each != earlier] == list(
            training_examples(read_table(self.ENTRIES), self.recipe())
        )

    def test_an_entry_may_have_an_instruction_only(self):
        table = read_table([{"instruction": "Say a.", "id": 7}])
        assert RowReader(table, self.recipe()).prompt(0, "output").document == "Say a."
        assert RowReader(table, self.recipe()).asked(0) == ["output"]

    def test_fixed_questions_stand_beside_it(self):
        recipe = self.recipe(label={"kind": "label", "question": "Medical?", "labels": ["1", "0"]})
        table = read_table([{"instruction": "Medical?", "input": "D", "output": "1"}, self.ENTRIES[0]])
        reader = RowReader(table, recipe)
        assert [reader.asked(row) for row in (0, 1)] == [["label"], ["output"]]
        assert reader.prompt(0, "label") == Prompt("Medical?", "D", "")
        assert [reader.document(row) for row in (0, 1)] == ["D", "Add.\n1 and 2"]

    def test_any_column_of_any_table(self):
        columns = {"answer": {"kind": "label", "question": "{question}", "labels": ["yes", "no"]}, **COLUMNS}
        recipe = load_recipe({"table": {"document": "{text}"}, "columns": columns})
        table = read_table([{"text": "D", "question": "Is it a heart?", "answer": "no"}])
        assert list(training_examples(table, recipe)) == [
            Example(0, "answer", Prompt("", "D", "\n\nIs it a heart?", drops_history=True), "no")
        ]
        assert RowReader(table, recipe).document(0) == "D"


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
