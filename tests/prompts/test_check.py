import re

import pytest

from papertune.errors import TableError
from papertune.prompts.check_table import check_table
from papertune.recipe import load_recipe
from papertune.tables import read_table

RECIPE = load_recipe(
    {
        "table": {"id": "uuid", "document": "{title}: {abstract}"},
        "columns": {
            "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
            "Keywords": {"kind": "keywords", "question": "Keywords?"},
        },
    }
)
GOOD = [
    {"uuid": "a", "title": "The heart", "abstract": "of man", "label": "1", "Keywords": "heart; man"},
    {"uuid": "b", "title": "The graph", "abstract": "of nodes", "label": "0", "Keywords": "graph"},
    {"uuid": "c", "title": "The tree", "abstract": "of nodes", "label": "0", "Keywords": "tree"},
]


def findings(rows, purpose="train", recipe=RECIPE):
    return check_table(read_table(rows), recipe, purpose)


def with_cells(**cells):
    """Return the good rows with some cells changed: `label=(None, "x")` writes x into the label of the second row."""
    rows = [dict(row) for row in GOOD]
    for name, values in cells.items():
        for row, value in zip(rows, values, strict=False):
            if value is not None:
                row[name] = value
    return rows


def without(*names):
    return [{name: cell for name, cell in row.items() if name not in names} for row in GOOD]


def renamed(**names):
    return [{names.get(name, name): cell for name, cell in row.items()} for row in GOOD]


def test_a_good_table_has_no_problems_and_counted_labels():
    found = findings(GOOD)
    assert (found.problems, found.warnings) == ([], [])
    assert found.label_counts == {"label": {"1": 1, "0": 2}}
    found.raise_problems(read_table(GOOD))


@pytest.mark.parametrize(
    ("rows", "problems"),
    [
        (renamed(uuid="uid"), ['list of rows has no column "uuid", which table.id names. Did you mean "uid"?']),
        (
            renamed(abstract="Abstracts"),
            ['list of rows has no column "abstract", which table.document names. Did you mean "Abstracts"?'],
        ),
        (
            renamed(title="TITLE "),
            ['list of rows has no column "title", which table.document names. Did you mean "TITLE "?'],
        ),
        (
            without("title"),
            [
                'list of rows has no column "title", which table.document names. '
                "It has: uuid, abstract, label, Keywords."
            ],
        ),
        (
            without("label", "Keywords"),
            [
                "list of rows has none of the columns to learn (label, Keywords). It has: uuid, title, abstract. "
                "Name the recipe's [columns] as the table does."
            ],
        ),
        (
            with_cells(label=("one",)),
            [
                'list of rows, row 1, column "label": "one" is not one of the 2 labels (1, 0). '
                "Correct the cell, or add the label to columns.label.labels."
            ],
        ),
        (
            with_cells(label=(None, " ")),
            [
                'list of rows, row 2, column "label": the cell is empty. Fill it in, take the row out, or list "" in '
                "columns.label.unlabelled."
            ],
        ),
        (
            with_cells(label=(None, "01")),
            [
                'list of rows, row 2, column "label": "01" is not one of the 2 labels (1, 0). Did you mean "1"? '
                "Correct the cell, or add the label to columns.label.labels."
            ],
        ),
        (
            with_cells(label=(None, "NA", "-1")),
            [
                f'list of rows, row {row}, column "label": "{marker}" is not one of the 2 labels (1, 0).{hint} '
                "Correct the cell, or list it in columns.label.unlabelled."
                for row, marker, hint in ((2, "NA", ""), (3, "-1", ' Did you mean "1"?'))
            ],
        ),
        (
            with_cells(uuid=(None, None, "a")),
            [
                'list of rows, row 3, column "uuid": the id "a" is already at list of rows, row 1. '
                "Make ids unique, or leave table.id out of the recipe."
            ],
        ),
        (with_cells(uuid=(None, " ")), ['list of rows, row 2, column "uuid": the cell is empty. Give the row an id.']),
    ],
)
def test_problems_are_reported_with_their_place_and_a_remedy(rows, problems):
    assert findings(rows).problems == problems


@pytest.mark.parametrize(
    ("rows", "warnings"),
    [
        (
            with_cells(abstract=(None, "", " \n")),
            ['list of rows, row 2, column "abstract": 2 cells are empty (this is the first).'],
        ),
        (
            with_cells(abstract=("x" * 200_000,)),
            [
                'list of rows, row 1, column "abstract": 1 cell is longer than 50,000 characters; '
                "only the beginning is read (this is the first)."
            ],
        ),
        (
            with_cells(title=(None, "Same", "Same")),
            ['list of rows, row 2, column "title": 2 cells are the same as in another row (this is the first).'],
        ),
        (
            with_cells(label=("1.0", " 0", "0")),
            [
                'list of rows, row 1, column "label": 2 cells are read as a label after tidying '
                "(blanks, invisible characters, case, or 1.0 for 1) (this is the first)."
            ],
        ),
        (
            with_cells(label=("0",)),
            ["list of rows, column \"label\": no row has the label '1'; it cannot be learned."],
        ),
        (
            with_cells(Keywords=("", " ; ")),
            ['list of rows, row 1, column "Keywords": 2 cells are without keywords; not learned (this is the first).'],
        ),
        (without("Keywords"), ['list of rows has no column "Keywords"; it is not learned from this table.']),
        (
            renamed(Keywords="keyword"),
            ['list of rows has no column "Keywords"; it is not learned from this table. Did you mean "keyword"?'],
        ),
    ],
)
def test_warnings_are_reported_with_their_first_place(rows, warnings):
    found = findings(rows)
    assert (found.problems, found.warnings) == ([], warnings)


def test_labels_are_counted_after_tidying():
    assert findings(with_cells(label=("1.0", " 1 ", "0"))).label_counts == {"label": {"1": 2, "0": 1}}


def test_several_problems_make_one_error():
    rows = with_cells(uuid=("b",), label=("", "x"), abstract=("",))
    found = findings(rows)
    assert found.warnings[0] == 'list of rows, row 1, column "abstract": 1 cell is empty (this is the first).'
    with pytest.raises(TableError) as caught:
        found.raise_problems(read_table(rows))
    lines = str(caught.value).splitlines()
    assert lines[0] == "list of rows does not fit the recipe (3 problems):"
    assert [re.search(r'row \d, column "\w+"', line)[0] for line in lines[1:]] == [
        'row 2, column "uuid"',
        'row 1, column "label"',
        'row 2, column "label"',
    ]


def test_of_many_problems_only_the_first_are_listed():
    rows = [{**GOOD[0], "uuid": str(row), "label": f"x{row}"} for row in range(30)]
    with pytest.raises(TableError, match=r"\(30 problems\):(.|\n)*\n  - and 10 more$"):
        findings(rows).raise_problems(read_table(rows))


def test_the_same_fault_in_many_rows_is_one_problem():
    rows = [{**GOOD[0], "uuid": str(row), "label": "x" if row % 2 else "1\u200b1"} for row in range(60)]
    rows[20]["uuid"] = rows[40]["uuid"] = " "
    remedy = "Correct the cell, or add the label to columns.label.labels."
    assert findings(rows).problems == [
        'list of rows, row 21, column "uuid": the cell is empty. Give the row an id. (and 1 more: 41)',
        'list of rows, row 1, column "label": "1\\u200b1" is not one of the 2 labels (1, 0). '
        f"{remedy} (and 29 more: 3, 5, 7, 9, ...)",
        f'list of rows, row 2, column "label": "x" is not one of the 2 labels (1, 0). {remedy} '
        "(and 29 more: 4, 6, 8, 10, ...)",
    ]


def test_a_table_to_predict_needs_no_labels():
    found = findings(without("label", "Keywords"), purpose="predict")
    assert (found.problems, found.warnings) == ([], [])
    # Cells of the predicted column are not checked.
    assert findings(with_cells(label=("x", "")), purpose="predict").problems == []
    assert findings(without("title", "label"), purpose="predict").problems == [
        'list of rows has no column "title", which table.document names. It has: uuid, abstract, Keywords.'
    ]


def test_repeated_ids_are_one_problem():
    rows = [{**GOOD[0], "uuid": f"id {row % 10}"} for row in range(30)]
    assert findings(rows).problems == [
        'list of rows, row 11, column "uuid": the id "id 0" is already at list of rows, row 1 (and 19 more: 12, 13, '
        "14, 15, ...). Make ids unique, or leave table.id out of the recipe."
    ]


def test_a_recipe_without_an_id_accepts_repeated_ids():
    recipe = RECIPE.model_copy(update={"table": RECIPE.table.model_copy(update={"id": None})})
    assert findings(with_cells(uuid=("b", "b")), recipe=recipe).problems == []


INSTRUCTIONS = [
    {"instruction": " Medical? ", "input": "The heart", "output": "1", "history": ""},
    {"instruction": "Keywords?", "input": "The heart", "output": "heart", "history": '[["Medical?", "1"]]'},
    {"instruction": "Medical?", "input": "The graph", "output": "0.0", "history": "[]"},
]


def test_an_instruction_table_is_checked_by_question():
    found = findings(INSTRUCTIONS)
    assert found.problems == []
    assert found.warnings == [
        'list of rows, row 3, column "output": 1 cell is read as a label after tidying (blanks, invisible characters, '
        "case, or 1.0 for 1) (this is the first).",
    ]
    assert found.label_counts == {"label": {"1": 1, "0": 1}}


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (
            {"instruction": "Is it medical?"},
            "column \"instruction\": 'Is it medical?' is not a question of the recipe (Medical? | Keywords?). "
            "Set the question of its column to this text.",
        ),
        (
            {"output": "yes"},
            'column "output": "yes" is not one of the 2 labels (1, 0). '
            "Correct the cell, or add the label to columns.label.labels.",
        ),
        *(
            ({"history": cell}, 'column "history": not a list of [question, answer] pairs. Correct or empty the cell.')
            for cell in [
                "x",
                '["a", "b"]',
                '[["a"]]',
                '{"a": "b"}',
                '[["a", null]]',
                "3",
                '[["a", "b"]',
                '[["a", "b", "c"]]',
            ]
        ),
    ],
)
def test_problems_of_instruction_tables_are_reported(cells, problem):
    assert findings([INSTRUCTIONS[0] | cells, *INSTRUCTIONS[1:]]).problems == [f"list of rows, row 1, {problem}"]


def test_an_instruction_table_to_predict_needs_no_output():
    rows = [{name: cell for name, cell in row.items() if name != "output"} for row in INSTRUCTIONS]
    assert findings(rows, purpose="predict").problems == []
    assert findings(rows).problems == ["list of rows: its entries have no output, so there is nothing to learn."]


def test_a_table_to_score_may_lack_some_labels():
    rows = with_cells(label=("", None, " "), Keywords=(None, "; "))
    found = findings(rows, "score")
    assert found.problems == []
    assert found.warnings == [
        'list of rows, row 1, column "label": 2 cells are empty; not scored (this is the first).',
        'list of rows, row 2, column "Keywords": 1 cell is without keywords; not scored (this is the first).',
    ]
    assert found.label_counts == {"label": {"0": 1}}
    assert findings(with_cells(label=("7",)), "score").problems == findings(with_cells(label=("7",))).problems
    assert findings(without("Keywords"), "score").warnings == [
        'list of rows has no column "Keywords"; it is not scored.',
    ]
    (problem,) = findings(without("label", "Keywords"), "score").problems
    assert problem.startswith("list of rows has none of the columns to score (label, Keywords). It has: uuid, title")
    entries = [{"instruction": "Medical?", "input": "heart"}]
    assert findings(entries, "score").problems == [
        "list of rows: its entries have no output, so there is nothing to score."
    ]


class TestOwnQuestions:
    RECIPE = load_recipe("instruct")

    def test_an_empty_input_is_no_warning(self):
        rows = [{"instruction": "Say a.", "input": "", "output": "a"}, {"instruction": "", "input": "b", "output": "b"}]
        found = findings(rows, recipe=self.RECIPE)
        assert (found.problems, found.warnings) == ([], [])
        found = findings([{"instruction": "Say a."}], "predict", self.RECIPE)
        assert (found.problems, found.warnings) == ([], [])

    def test_entries_with_nothing_in_them(self):
        rows = [{"instruction": "Say a.", "output": "a"}, {"instruction": " ", "output": "b", "input": "\n"}]
        assert findings(rows, recipe=self.RECIPE).problems == [
            'list of rows, row 2, column "instruction": the entry has neither an instruction nor an input. Fill in or '
            "remove the entry."
        ]

    def test_nothing_to_learn(self):
        assert findings([{"instruction": "Say a."}], recipe=self.RECIPE).problems == [
            "list of rows: its entries have no output, so there is nothing to learn."
        ]
        rows = [{"instruction": "Say a.", "output": "a"}, {"instruction": "Say b.", "output": ""}]
        assert findings(rows, recipe=self.RECIPE).warnings == [
            'list of rows, row 2, column "output": 1 cell is empty; not learned (this is the first).'
        ]

    def test_a_column_of_questions_that_is_not_there(self):
        columns = {"answer": {"kind": "text", "question": "{question}"}}
        recipe = load_recipe({"table": {"document": "{text}"}, "columns": columns})
        assert findings([{"text": "a", "questions": "b", "answer": "c"}], recipe=recipe).problems == [
            'list of rows has no column "question", which columns.answer.question names. Did you mean "questions"?'
        ]

    def test_a_name_in_braces_amid_a_question_is_a_warning(self):
        columns = {"answer": {"kind": "text", "question": "Answer this: {question}"}}
        recipe = load_recipe({"table": {"document": "{text}"}, "columns": columns})
        (warning,) = findings([{"text": "a", "question": "b", "answer": "c"}], recipe=recipe).warnings
        assert warning == (
            'columns.answer.question: "{question}" is not filled in from list of rows. Only a '
            "question that is just a column's name in braces is."
        )

    def test_thirty_entries_with_the_same_fault_are_one_problem(self):
        same = [{"instruction": "Who?", "input": f"paper {n}", "output": "1"} for n in range(30)]
        place = 'list of rows, row 1, column "instruction": '
        assert findings(same).problems == [
            f"{place}'Who?' is not a question of the recipe (Medical? | Keywords?) (30 entries, this is the first). "
            "Set the question of its column to this text."
        ]
        others = [{**row, "instruction": f"Who {n}?"} for n, row in enumerate(same)]
        assert findings(others).problems == [
            f"{place}'Who 0?' is not a question of the recipe (Medical? | Keywords?) (30 entries, this is the first). "
            "Nor are 29 other texts: write the question of a column there, or use the recipe instruct (-r instruct), "
            "which reads any instruction."
        ]
        talk = [{**row, "instruction": "Medical?", "history": "x"} for row in same]
        assert findings(talk).problems == [
            'list of rows, row 1, column "history": not a list of [question, answer] pairs (30 entries, this is the '
            "first). Correct or empty the cell."
        ]

    def test_keys_of_entries_that_are_not_used_are_counted(self):
        entry = {"instruction": "Medical?", "input": "x", "output": "1", "id": 7, "label_given": "0"}
        rows = [{**entry, "tools": "[]", "image": ""}, {**entry, "input": "y", "note": "n"}]
        assert findings(rows).warnings[0] == (
            'list of rows: not used of its entries: "tools" (1 of 2 entries), "note" (1 of 2 entries).'
        )
        assert findings(rows, "predict").warnings[0] == findings(rows).warnings[0]

    def test_instructions_that_hold_the_document(self):
        rows = [{"instruction": f"Medical? paper {n}", "input": "", "output": "1"} for n in range(30)]
        assert findings(rows).warnings == []
        assert findings(rows).problems == [
            'list of rows, row 1, column "instruction": 30 entries have no input, and instructions that are not a '
            "question of the recipe (this is the first). If the document is in the instruction, move it to input; "
            "to learn any instructions, use the recipe instruct (-r instruct)."
        ]


def test_a_chinese_table_for_an_english_model_is_a_warning_of_a_training():
    rows = with_cells(
        title=("心脏的研究", "图的研究", "树的研究"), abstract=("我们研究心脏。", "我们研究图。", "我们研究树。")
    )
    assert findings(rows, recipe=load_recipe({**RECIPE.model_dump(), "model": "folder"})).warnings == []
    english = load_recipe({**RECIPE.model_dump(), "model": "smollm2-135m"})
    assert findings(rows, recipe=english).warnings == [
        'list of rows: most of the text is Chinese, Japanese or Korean, and the model "smollm2-135m" knows only '
        "English. Name another one as model in the recipe."
    ]
    assert findings(rows, "predict", english).warnings == []
    assert findings(GOOD, recipe=english).warnings == []
