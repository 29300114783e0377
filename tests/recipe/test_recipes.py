import copy
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from papertune.errors import RecipeError
from papertune.kinds import LabelColumn
from papertune.prompts.examples import make_prompt
from papertune.recipe import FreezeMethod, FullMethod, LoraMethod, Recipe, builtin_recipes, dump_recipe, load_recipe

LABEL = {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}
KINDS = "'label', 'labels', 'keywords', 'ranked_keywords', 'text', 'number'"
MINIMAL = {"table": {"document": "{title}"}, "columns": {"label": LABEL}}


def mistakes(overrides: list[str], values: dict | None = None) -> list[str]:
    """Return the lines of the error that these settings raise."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(copy.deepcopy(MINIMAL if values is None else values), overrides)
    lines = str(caught.value).splitlines()
    if len(lines) == 1:
        return [lines[0].removeprefix("the recipe: ")]
    assert lines[0] == f"the recipe is invalid ({len(lines) - 1} problems):"
    return [line.removeprefix("  - the recipe: ") for line in lines[1:]]


@pytest.mark.parametrize("name", builtin_recipes())
def test_built_in_recipes_can_be_dumped_and_loaded(name, tmp_path):
    recipe = load_recipe(name)
    file = tmp_path / "recipe.toml"
    file.write_text(dump_recipe(recipe), "utf-8")
    assert load_recipe(file) == recipe
    assert load_recipe(recipe) == recipe
    assert load_recipe(tomllib.loads(builtin_recipes()[name])) == recipe
    assert builtin_recipes()[name].startswith("# ")


@pytest.mark.parametrize(
    ("name", "column", "instruction"),
    [
        (
            "xfg-label",
            "label",
            "Please judge whether it is a medical field paper according to the given paper title and abstract, "
            "output 1 or 0, the following is the paper title and abstract -->",
        ),
        (
            "xfg-keywords",
            "Keywords",
            "Please extract keywords from the given paper title and abstract in the text below, "
            "separated by commas -->",
        ),
    ],
)
def test_built_in_recipes_have_the_tutorials_words_and_settings(name, column, instruction):
    recipe = load_recipe(name)
    assert recipe.columns[column].question == instruction
    assert recipe.table.document == "title:{title},abstract:{abstract}"
    prompt = make_prompt(recipe.layout, "title:T,abstract:A", recipe.columns[column].question)
    assert prompt.before + prompt.document + prompt.after == f"{instruction}title:T,abstract:A"
    assert recipe.method == LoraMethod(kind="lora", rank=8, alpha=32, dropout=0.1, targets=("query_key_value",))
    assert (recipe.encoding.max_prompt_tokens, recipe.encoding.max_answer_tokens) == (512, 512)
    training = recipe.training
    assert (training.micro_batch_size, training.accumulation, training.epochs, training.learning_rate) == (
        4,
        4,
        4,
        5e-5,
    )
    assert (training.schedule, training.warmup_steps, training.precision) == ("cosine", 0, "fp16")


def test_all_mistakes_are_reported_together():
    found = mistakes(
        ["training.epochs=0", "training.sed=1", "layout=middle", "columns.Keywords.kind=keyword", "table.document=abc"]
    )
    assert found == [
        "layout is 'middle'; allowed: 'document-first' or 'question-first'.",
        'table.document: names no column; write for example "title: {title}\\nabstract: {abstract}".',
        f"columns.Keywords.kind is 'keyword'; allowed: {KINDS}.",
        "training.epochs is 0: input should be greater than 0.",
        'training.sed is not a known key. Did you mean "seed"? Known here: epochs, max_steps, micro_batch_size, '
        "accumulation, learning_rate, schedule, warmup_steps, weight_decay, max_grad_norm, dev_fraction, seed, "
        "precision, gradient_checkpointing, logging_steps, save_steps, keep_checkpoints, dev_rows, calibration_rows, "
        "patience, learn_history, report_to.",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        # A label is text: 0 is not "0", and a boolean has no spelling of its own.
        (
            "columns.label.labels=[1, 0]",
            [
                'columns.label.labels.0 is 1; it must be text: put it in quotes ("1").',
                'columns.label.labels.1 is 0; it must be text: put it in quotes ("0").',
            ],
        ),
        (
            'columns.label.labels=[true, "no"]',
            ['columns.label.labels.0 is true; it must be text: put it in quotes ("true").'],
        ),
        ("columns.label.labels=1,0", ["columns.label.labels is '1,0'; it must be a list in [ ]."]),
        ('columns.label.labels=["a", "b", "a"]', ["columns.label: labels are repeated: a."]),
        ('columns.label.labels=["a", " b"]', ["columns.label: labels must not begin or end with a blank: [' b']."]),
        ("columns.label.weights={1=2}", ["columns.label: weights must name each of the labels once: 1, 0."]),
        ("columns.label.weights=even", ["columns.label.weights is 'even'; allowed: 'balanced', or keys with values."]),
        (
            "columns.label.weights={1=-1,0=2}",
            ["columns.label.weights.1 is -1: input should be greater than or equal to 0."],
        ),
        (
            "columns.label.knd=1",
            [
                'columns.label.knd is not a known key. Did you mean "kind"? '
                "Known here: kind, question, labels, unlabelled, loss, weights, calibration, threshold, "
                "abstain_below, abstain_for_accuracy, coverage, sources."
            ],
        ),
        # A key with the name of its column's kind is reported with its own path.
        (
            "columns.label.label=1",
            [
                'columns.label.label is not a known key. Did you mean "labels"? '
                "Known here: kind, question, labels, unlabelled, loss, weights, calibration, threshold, "
                "abstain_below, abstain_for_accuracy, coverage, sources."
            ],
        ),
        # A column may have the name of a key.
        (
            'columns.threshold={kind="label", question="q", labels=["a", "b"], weigths="balanced"}',
            [
                'columns.threshold.weigths is not a known key. Did you mean "weights"? '
                "Known here: kind, question, labels, unlabelled, loss, weights, calibration, threshold, "
                "abstain_below, abstain_for_accuracy, coverage, sources."
            ],
        ),
        (
            "columns.label.threshold=true",
            ["columns.label.threshold is true; allowed: 'f1', or a number, or keys with values."],
        ),
        ("columns.label.abstain_below=true", ["columns.label.abstain_below is true; it must be a number."]),
        (
            'columns={label={kind="label", question="q", labels=["a", "b"], coverage=0.9}, '
            'label_set={kind="keywords", question="r"}}',
            [
                'columns.label: its output column "label_set" (the label sets) has the name of columns.label_set; '
                "rename one of them."
            ],
        ),
        (
            'columns={label={kind="label", question="q", labels=["a", "b"]}, '
            'label_given={kind="keywords", question="r"}}',
            [
                'columns.label: its output column "label_given" (the cells of the table itself) has the name of '
                "columns.label_given; rename one of them."
            ],
        ),
        (
            'columns={f_probability_b={kind="keywords", question="r"}, '
            'f={kind="labels", question="{label}?", labels=["a", "b"]}}',
            [
                'columns.f: its output column "f_probability_b" (the probability of b) has the name of '
                "columns.f_probability_b; rename one of them."
            ],
        ),
        (
            'columns={f={kind="label", question="q", labels=["a", "b_probability_c"]}, '
            'f_probability_b={kind="label", question="r", labels=["c", "d"]}}',
            [
                'columns.f_probability_b: its output column "f_probability_b_probability_c" (the probability of c) has '
                "the name of an output column of columns.f; rename one of them."
            ],
        ),
        (
            'table={id="label_given", document="{title}"}',
            [
                'columns.label: its output column "label_given" (the cells of the table itself) has the name of '
                "table.id; rename one of them."
            ],
        ),
        (
            'columns.row={kind="keywords", question="r"}',
            ['columns.row: "row" numbers the rows of a table that has no id column; rename it.'],
        ),
        (
            "columns.label.threshold=best",
            ["columns.label.threshold is 'best'; allowed: 'f1', or a number, or keys with values."],
        ),
        (
            "columns.label.threshold={false_positive=0, false_negative=2}",
            ["columns.label.threshold.false_positive is 0: input should be greater than 0."],
        ),
        ("columns.label.threshold={false_positive=1}", ["columns.label.threshold.false_negative is missing."]),
        (
            "columns.label.threshold={false_positive=1, false_negative=2, true_positive=3}",
            [
                "columns.label.threshold.true_positive is not a known key. "
                'Did you mean "false_positive"? Known here: false_positive, false_negative.'
            ],
        ),
        (
            'columns.x={kind="label", question="q", labels=["a", "b", "c"], calibration="isotonic"}',
            ['columns.x: calibration is "isotonic", which is for two labels; there are 3.'],
        ),
        (
            'columns.x={kind="label", question="q", labels=["a", "b", "c"], threshold=0.3}',
            ["columns.x: threshold is set, which is for two labels; there are 3."],
        ),
        (
            'columns.x={kind="label", question="q", labels=["a", "b; c"], coverage=0.9}',
            ["columns.x: coverage: the labels of a set are separated by semicolons, and 'b; c' has one."],
        ),
        ("columns.label.coverage=1", ["columns.label.coverage is 1: input should be less than 1."]),
        (
            "columns.x.question=q",
            [f"columns.x.kind is missing; allowed: {KINDS}."],
        ),
        ("columns.x.kind=keywords", ["columns.x.question is missing."]),
        (
            'columns.x={kind="keywords", question="q", separator=" | "}',
            ["columns.x: separator is ' | ', at which lists are not split; use one with ; or , in it."],
        ),
        (
            'columns.x={kind="ranked_keywords", question="q", count=20}',
            ["columns.x: beams is 16, but 20 keywords are to be found; raise it."],
        ),
        ("method.kind=qlora", ["method.kind is 'qlora'; allowed: 'lora', 'ptuning_v2', 'full', 'freeze', 'probe'."]),
        ("method.targets=q_proj", ["method.targets is 'q_proj'; allowed: 'all-linear', or a list in [ ]."]),
        ('method.targets=["a", 3]', ['method.targets.1 is 3; it must be text: put it in quotes ("3").']),
        ("method=lora", ["method is 'lora'; it must be keys with values."]),
        ("chat=perhaps", ["chat is 'perhaps'; it must be true or false."]),
        ("table.id=label", ["columns.label: the column is also table.id; it cannot be learned."]),
        ("table.document={label}", ['table.document: shows the model "{label}", the column that it must learn.']),
        (
            'columns.x={kind="keywords", question=" Medical? "}',
            ["columns.x.question: label has the same question; the model cannot tell them apart."],
        ),
        (
            "table.document={a",
            [
                'table.document: has a lone "{" at character 1; write "{{" for a brace; a column name with braces '
                'stands in quotes: {"Title {EN}"}.'
            ],
        ),
        ("training.epochs", ['--set training.epochs: write KEY=VALUE, for example "training.epochs=3".']),
        ("training..epochs=3", ['--set training..epochs=3: write KEY=VALUE, for example "training.epochs=3".']),
        ("layout.x=3", ['--set layout.x=3: "layout" is a value, not a part of the recipe.']),
    ],
)
def test_mistakes_in_recipes_are_reported_with_key_and_allowed_values(override, expected):
    assert mistakes([override], {**copy.deepcopy(MINIMAL), "layout": "question-first"}) == expected


def test_missing_parts_are_reported():
    assert mistakes([], {}) == ["table is missing.", "columns is missing."]


def test_settings_override_the_recipe():
    recipe = load_recipe(
        MINIMAL,
        ["training.epochs=3", " training . seed = 7", 'columns.label.labels=["yes", "no"]', "model=a/b", "chat=false"],
    )
    assert (recipe.training.epochs, recipe.training.seed, recipe.model, recipe.chat) == (3, 7, "a/b", False)
    assert recipe.columns["label"].labels == ("yes", "no")
    assert MINIMAL["columns"]["label"]["labels"] == ["1", "0"], "the mapping was changed"
    assert load_recipe(recipe, ["training.seed=8"]) == load_recipe(MINIMAL, []).model_copy(
        update=recipe.model_dump(include={"model", "chat"})
        | {"columns": recipe.columns, "training": recipe.training.model_copy(update={"seed": 8})}
    )


@given(st.text(max_size=20))
def test_any_text_is_a_valid_setting(text):
    """A value that is not TOML is text; no text makes --set itself fail."""
    try:
        expected = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        expected = text.strip()
    if isinstance(expected, str) and expected:
        assert load_recipe(MINIMAL, [f"model={text}"]).model == expected
    else:
        with pytest.raises(RecipeError, match="model"):
            load_recipe(MINIMAL, [f"model={text}"])


@pytest.mark.parametrize("method", [LoraMethod(rank=4), FullMethod(kind="full"), FreezeMethod(kind="freeze", layers=1)])
def test_a_recipe_made_in_python_can_be_loaded(method):
    made = Recipe(table={"document": "{title}"}, columns={"label": LabelColumn(**LABEL)}, method=method)
    assert load_recipe(made) == made
    assert load_recipe(made, ["training.epochs=2"]).method == method
    assert load_recipe(tomllib.loads(dump_recipe(made))) == made


def test_a_method_without_a_kind_is_lora():
    assert load_recipe(MINIMAL, ["method.rank=4"]).method == LoraMethod(rank=4)
    assert mistakes(["method.rnk=4"])[0].startswith('method.rnk is not a known key. Did you mean "rank"?')


def test_recipes_are_frozen():
    recipe = load_recipe(MINIMAL)
    for part, name in [(recipe, "model"), (recipe.training, "epochs"), (recipe.columns["label"], "question")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, name, 1)


def test_a_selection_of_columns_keeps_the_recipes_order():
    columns = {"a": LABEL, "b": {"kind": "keywords", "question": "b?"}, "c": {"kind": "keywords", "question": "c?"}}
    recipe = load_recipe({**MINIMAL, "columns": columns})
    assert list(recipe.only(("c", "a")).columns) == ["a", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model = smollm2-135m", "is not TOML: Invalid value (at line 1, column 9). Text values need quotes."),
        (b'model = "\xff"', ", byte 10: not UTF-8. Save the recipe as UTF-8."),
        (
            b"model = " + b"9" * 5000,
            "is not TOML: Exceeds the limit (4300 digits) for integer string conversion: value has 5000 "
            "digits; use sys.set_int_max_str_digits() to increase the limit. Text values need quotes.",
        ),
    ],
)
def test_files_that_are_not_recipes_are_refused(content, message, tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert str(caught.value) in (f"{file} {message}", f"{file}{message}")


def test_a_byte_order_mark_is_accepted(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text(dump_recipe(load_recipe(MINIMAL)), "utf-8-sig")
    assert load_recipe(str(file)) == load_recipe(MINIMAL)


def test_unknown_names_of_recipes_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r'^medical-paper: .* Did you mean "medical-papers"\?$'):
        load_recipe("medical-paper")
    with pytest.raises(RecipeError, match=r"Built-in recipes: instruct, medical-papers, xfg-keywords, xfg-label\.$"):
        load_recipe(Path("zzz.toml"))
    with pytest.raises(RecipeError, match="is a folder; name the recipe file in it"):
        load_recipe(tmp_path)


def test_a_question_cannot_be_a_column_that_is_learned():
    columns = {
        "answer": {"kind": "text", "question": "{why}"},
        "why": {"kind": "text", "question": "Why?"},
    }
    with pytest.raises(
        RecipeError, match=r"columns\.answer\.question: asks what stands in why, a column that is learned"
    ):
        load_recipe({"table": {"document": "{text}"}, "columns": columns})
