import copy
import tomllib

import pytest

from papertune.errors import RecipeError
from papertune.kinds import LabelColumn
from papertune.recipe import dump_recipe, load_recipe

TOPICS = {"kind": "labels", "question": "Is it about {label}? {{yes}} or no", "labels": ["maths", "fine art"]}
LABEL = {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}
RECIPE = {"table": {"document": "{title}"}, "columns": {"topics": TOPICS, "label": LABEL}}


def mistakes(override, columns=None):
    """Return the lines of the error that a setting raises."""
    with pytest.raises(RecipeError) as caught:
        load_recipe({**copy.deepcopy(RECIPE), **({"columns": columns} if columns else {})}, [override])
    lines = str(caught.value).splitlines()
    return [line.strip().removeprefix("- ").removeprefix("the recipe: ") for line in (lines[1:] or lines)]


def test_each_label_has_its_own_question():
    recipe = load_recipe(RECIPE)
    assert list(recipe.questions) == ["topics: maths", "topics: fine art", "label"]
    asked = recipe.questions["topics: fine art"]
    assert asked == LabelColumn(kind="label", question="Is it about fine art? {yes} or no", labels=("yes", "no"))
    assert recipe.questions["label"] == recipe.columns["label"]
    assert list(recipe.only(("label",)).questions) == ["label"]


def test_questions_have_the_settings_of_their_column():
    column = {**TOPICS, "answers": ["ja", "nein"], "loss": "answer", "weights": {"maths": 3, "fine art": 1}}
    questions = load_recipe({**RECIPE, "columns": {"topics": column}}).questions
    assert [asked.labels for asked in questions.values()] == [("ja", "nein")] * 2
    assert [asked.weights for asked in questions.values()] == [{"ja": 3, "nein": 1}, {"ja": 1, "nein": 1}]
    assert {asked.loss for asked in questions.values()} == {"answer"}
    balanced = load_recipe({**RECIPE, "columns": {"topics": {**TOPICS, "weights": "balanced"}}}).questions
    assert {asked.weights for asked in balanced.values()} == {"balanced"}


@pytest.mark.parametrize("thresholds", [0.5, 1, "f1", {"maths": 0.25, "fine art": 0}])
def test_thresholds_can_be_dumped_and_loaded(thresholds):
    recipe = load_recipe({**RECIPE, "columns": {"topics": {**TOPICS, "thresholds": thresholds}}})
    assert recipe.columns["topics"].thresholds == thresholds
    assert load_recipe(tomllib.loads(dump_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            'question="about?"',
            [": question must ask about one label: write {label} in it, and no other name in braces."],
        ),
        (
            'question="{label} or {title}?"',
            [": question must ask about one label: write {label} in it, and no other name in braces."],
        ),
        ('question="about {label?"', [': question has a lone "{" at character 7; write "{{" for a brace.']),
        ("labels=[]", [".labels is []: tuple should have at least 1 item after validation, not 0."]),
        ('labels=["a", "a"]', [": labels are repeated: a."]),
        ('labels=["a "]', [": labels must not begin or end with a blank: ['a ']."]),
        ('answers=["yes", "yes"]', [": answers are repeated: yes."]),
        ('answers=["yes"]', [".answers is ['yes']: tuple should have at least 2 items after validation, not 1."]),
        (
            'labels=["a; b", "c"]',
            [
                ": labels are split at '; ', semicolons and line breaks, so 'a; b' could not be read; choose another "
                "separator or another word."
            ],
        ),
        (
            'separator=" "',
            [
                ": labels are split at ' ', semicolons and line breaks, so 'fine art' could not be read; choose "
                "another separator or another word."
            ],
        ),
        ("thresholds=2", [".thresholds is 2: input should be less than or equal to 1."]),
        ("thresholds=true", [".thresholds is true; allowed: 'f1', or keys with values, or a number."]),
        ("thresholds=f2", [".thresholds is 'f2'; allowed: 'f1', or keys with values, or a number."]),
        ("thresholds={maths=0.5}", [": thresholds must name each of the labels once: maths, fine art."]),
        (
            'thresholds={maths=-1,"fine art"=1}',
            [".thresholds.maths is -1: input should be greater than or equal to 0."],
        ),
        ("weights={maths=1}", [": weights must name each of the labels once: maths, fine art."]),
        ("weights=even", [".weights is 'even'; allowed: 'balanced', or keys with values."]),
        (
            "threshold=0.5",
            [
                '.threshold is not a known key. Did you mean "thresholds"? '
                "Known here: kind, question, labels, answers, separator, input_separator, thresholds, loss, weights, "
                "sources."
            ],
        ),
    ],
)
def test_mistakes_in_labels_columns_are_reported_with_key_and_allowed_values(override, expected):
    assert mistakes(f"columns.topics.{override}") == [f"columns.topics{line}" for line in expected]


@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("label", ["fine art", "fine\tart", "fine\u00a0art"])
def test_a_label_with_a_blank_separator_in_it_is_refused(separator, label):
    columns = {"topics": {**TOPICS, "labels": ["maths", label], "separator": separator}}
    assert mistakes("training.epochs=1", columns) == [
        f"columns.topics: labels are split at {separator!r}, semicolons and line breaks, so {label!r} could not be "
        "read; choose another separator or another word."
    ]


def test_names_of_questions_must_be_unique():
    columns = {"topics": TOPICS, "topics: maths": LABEL}
    assert mistakes("training.epochs=1", columns) == [
        'columns.topics: maths: "topics: maths" is the name of a label of columns.topics; rename it.'
    ]
    columns = {"a": {**TOPICS, "labels": ["b: c"]}, "a: b": {**TOPICS, "question": "{label}", "labels": ["c"]}}
    assert mistakes("training.epochs=1", columns) == [
        'columns.a: "a: b: c" is the name of a label of columns.a: b; rename it.'
    ]


def test_two_columns_with_the_same_question_are_refused():
    columns = {"topics": TOPICS, "label": {**LABEL, "question": "Is it about maths? {yes} or no"}}
    assert mistakes("training.epochs=1", columns) == [
        "columns.label.question: topics: maths has the same question; the model cannot tell them apart."
    ]
