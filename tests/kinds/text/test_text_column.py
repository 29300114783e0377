import pytest

from papertune import RecipeError, load_recipe, read_table
from papertune.kinds import TextColumn
from papertune.prompts import PromptEncoder
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import training_examples
from papertune.recipe import EncodingSpec
from papertune.training.answers.rows import encode_examples


def recipe(**settings):
    column = {"kind": "text", "question": "How many patients?", **settings}
    return load_recipe({"table": {"document": "{abstract}"}, "columns": {"size": column}})


def table(*cells):
    return read_table([{"abstract": f"text {number}", "size": cell} for number, cell in enumerate(cells)])


@pytest.fixture(scope="module")
def encoder(tiny_tokenizer):
    return PromptEncoder(tiny_tokenizer, EncodingSpec(max_answer_tokens=6))


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"pattern": "[0-9"}, "pattern is '\\[0-9', which is not a regular expression: unterminated"),
            ({"empty": " "}, "empty is blank; write the answer"),
            ({"decoding": "sampling"}, "decoding is 'sampling'; allowed: 'greedy' or 'beams'"),
            ({"beams": 0}, "beams is 0: input should be greater than or equal to 1"),
            ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ],
    )
    def test_invalid_settings_are_refused(self, settings, message):
        with pytest.raises(RecipeError, match=f"columns.size.*{message}"):
            recipe(**settings)

    def test_a_pattern_that_cannot_be_used_to_decode(self, encoder):
        column = recipe(pattern="a(?=b)").columns["size"]  # Python takes it
        with pytest.raises(RecipeError, match="the pattern 'a\\(\\?=b\\)' cannot be used to decode"):
            column.check_tokens(encoder)
        recipe(pattern="[0-9]+", empty="(none)").columns["size"].check_tokens(encoder)

    def test_output_columns_have_names_of_their_own(self):
        columns = {
            "size": {"kind": "text", "question": "How many?"},
            "size_confidence": {"kind": "text", "question": "How sure?"},
        }
        with pytest.raises(RecipeError, match='its output column "size_confidence" \\(the confidence'):
            load_recipe({"table": {"document": "{abstract}"}, "columns": columns})


class TestCells:
    def test_empty_cells_are_not_learned(self):
        findings = check_table(table("120", "", " "), recipe())
        assert findings.problems == []
        (warning,) = findings.warnings
        assert warning.endswith('column "size": 2 cells are empty; not learned (this is the first).')

    def test_empty_cells_are_learned_with_an_answer_for_them(self):
        chosen = recipe(empty="not stated")
        assert check_table(table("120", ""), chosen).warnings == []
        assert [each.answer for each in training_examples(table("120", "", "NOT STATED"), chosen)] == [
            "120",
            "not stated",
            "not stated",
        ]

    def test_cells_that_do_not_match_the_pattern(self):
        chosen = recipe(pattern="[0-9]+", empty="none")
        papers = table("120", "about 12", "", "none", " 7 ")
        (problem,) = check_table(papers, chosen).problems
        assert problem.endswith(
            "\"about 12\" does not match columns.size.pattern, '[0-9]+'. Correct the cell or the pattern."
        )
        findings = check_table(papers, chosen, "score")
        assert findings.problems == []
        (warning,) = findings.warnings
        assert "1 cell is not matched by the pattern, so no prediction can be right" in warning


class TestLearning:
    def test_an_answer_is_learned_with_its_end(self, encoder):
        column = recipe().columns["size"]
        (ids,) = column.encode_answers("120", encoder)
        assert ids == [*encoder.encode_text("120"), encoder.end_id]
        assert column.count_left_out("120", [ids], encoder) == 0

    def test_a_long_answer_is_truncated_and_has_no_end(self, encoder):
        column = recipe().columns["size"]
        text = "one hundred and twenty patients"
        (ids,) = column.encode_answers(text, encoder)
        assert ids == encoder.encode_text(text)[:6]
        assert column.count_left_out(text, [ids], encoder) == 1
        # Five tokens and the end just fit.
        fitting = "12345"
        (ids,) = column.encode_answers(fitting, encoder)
        assert (len(ids), ids[-1]) == (6, encoder.end_id)

    def test_truncated_answers_are_counted(self, encoder):
        chosen = recipe()
        examples = list(training_examples(table("12", "one hundred and twenty", "thirty-five patients"), chosen))
        encoded = encode_examples(examples, chosen.questions, encoder)
        assert encoded.left_out == {"size": 2}
        assert chosen.columns["size"].left_out_in_words("size", 2) == (
            'column "size": 2 answers have more tokens than encoding.max_answer_tokens; their ends are not learned.'
        )

    def test_a_check_reports_answer_lengths(self, encoder):
        column = recipe(max_new_tokens=4).columns["size"]
        too_long = "3 answers are longer than columns.size.max_new_tokens, 4; a prediction cannot be that long."
        assert column.answer_facts("size", ["12", "12345", "123456", "1" * 9], encoder) == [
            "size: 4 answers of 3 to 10 tokens, mean 6",
            'column "size": 2 answers have more tokens than encoding.max_answer_tokens; their ends are not learned.',
            f'column "size": {too_long}',
        ]
        assert column.answer_facts("size", ["12"], encoder) == ["size: 1 answer of 3 tokens"]


def test_every_free_answer_is_an_example_of_one_group():
    column = TextColumn(kind="text", question="How many?")
    assert column.example_group("12") == column.example_group("13") == ""
    assert column.one_answer("12") == "12"
