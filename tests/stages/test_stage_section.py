import tomllib

import pytest

from papertune.errors import RecipeError
from papertune.recipe import dump_recipe, load_recipe
from papertune.stages import STAGES

DOCUMENTS = {"table": {"document": "{title}"}}
COLUMNS = DOCUMENTS | {
    "columns": {
        "label": {"kind": "label", "question": "Is it medical?", "labels": ["1", "0"]},
        "year": {"kind": "number", "question": "From which year is it?"},
        "Keywords": {"kind": "keywords", "question": "List the keywords."},
        "summary": {"kind": "text", "question": "Sum it up."},
    }
}


def mistake(*settings, recipe=COLUMNS):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, settings)
    return str(caught.value).removeprefix("the recipe: ")


def refusal(*settings, only=()):
    recipe = load_recipe(COLUMNS, settings)
    with pytest.raises(RecipeError) as caught:
        recipe.stage.check_recipe(recipe.only(only) if only else recipe)
    return str(caught.value)


def test_a_recipe_without_the_section_learns_columns():
    assert load_recipe(COLUMNS).stage.kind == "sft"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.kind_name())
def test_a_written_recipe_has_the_same_stage(stage):
    recipe = load_recipe(COLUMNS, [f"stage.kind={stage.kind_name()}"])
    written = dump_recipe(recipe)
    assert f'[stage]\nkind = "{stage.kind_name()}"' in written
    assert load_recipe(tomllib.loads(written)) == recipe
    assert type(recipe.stage) is stage


def test_ppo_is_refused_with_what_stands_in_its_place():
    assert mistake("stage.kind=ppo") == (
        'stage.kind is "ppo": TRL has removed PPO, and rloo stands in its place: it learns from the same rewards, '
        'without a value model. Use "rloo".'
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            ["stage.kind=x"],
            "stage.kind is 'x'; allowed: 'pt', 'sft', 'rm', 'dpo', 'kto', 'rloo', 'grpo'.",
        ),
        (["stage.block=64"], "stage.block is not a known key. Known here: kind."),
        (
            ["stage.kind=pt", "stage.blok=64"],
            'stage.blok is not a known key. Did you mean "block"? Known here: kind, block, mix_instructions.',
        ),
        (["stage.kind=pt", "stage.block=3"], "stage.block is 3: input should be greater than or equal to 16."),
        (["stage=pt"], "stage is 'pt'; it must be keys with values."),
    ],
)
def test_mistakes_in_the_section_are_reported(settings, expected):
    assert mistake(*settings) == expected


def test_only_a_stage_that_reads_documents_alone_needs_no_columns():
    assert load_recipe(DOCUMENTS, ["stage.kind=pt"]).columns == {}
    assert mistake(recipe=DOCUMENTS) == "columns is missing."
    assert mistake(recipe=DOCUMENTS | {"columns": {}}) == (
        "columns: names no column; add a section [columns.NAME] for each column to fill in."
    )


@pytest.mark.parametrize("kind", ["rm", "dpo", "kto", "rloo", "grpo"])
def test_feedback_on_a_label_is_refused(kind):
    assert refusal(f"stage.kind={kind}") == (
        f'columns.label: stage "{kind}" is for generated columns. Cross-entropy over the label set is exact; there is '
        "nothing to prefer. Leave it out with --only Keywords --only summary."
    )


def test_feedback_on_a_recipe_of_labels_only_names_the_stage_to_use():
    assert refusal("stage.kind=dpo", only=("year",)) == (
        'columns.year: stage "dpo" is for generated columns. A number is right or wrong, which training on gold cells '
        'teaches already. Use stage "sft".'
    )


def test_feedback_on_generated_columns_is_accepted():
    recipe = load_recipe(COLUMNS, ["stage.kind=dpo"]).only(("Keywords", "summary"))
    recipe.stage.check_recipe(recipe)


@pytest.mark.parametrize("method", ["ptuning_v2", "probe"])
def test_reading_papers_is_refused_for_methods_that_cannot_keep_it(method):
    assert refusal("stage.kind=pt", f"method.kind={method}") == (
        f'stage "pt" changes what the model knows, which method.kind = "{method}" cannot keep. Set it to "lora", '
        '"full" or "freeze".'
    )


def test_instructions_need_columns():
    recipe = load_recipe(DOCUMENTS, ["stage.kind=pt", "stage.mix_instructions=0.2"])
    with pytest.raises(RecipeError) as caught:
        recipe.stage.check_recipe(recipe)
    assert str(caught.value) == (
        "stage.mix_instructions is 0.2, but the recipe has no columns, whose questions the instructions would be. Add "
        "[columns.NAME], or set it to 0."
    )
