"""Exports of all sources go through init, check and check --for predict; only the question is written by hand."""

import re
import warnings

import pytest
from made_up_exports import EXPORTS, Export

from papertune import read_table
from papertune.pipelines.check import check_tables
from papertune.pipelines.init import recipe_for
from papertune.recipe import load_recipe
from papertune.templates import template_columns

QUESTIONS = {"label": "Is it about fish?", "labels": "Is it a paper on {label}?", "keywords": "Name a keyword."}


@pytest.mark.slow
@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.source)
def test_an_export_goes_through_init_and_check(export: Export, tmp_path, tiny_folder):
    path = export.write(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        written = recipe_for(read_table(path), **{kind: [name] for kind, name in export.named.items()})
    said = [str(warning.message) for warning in caught]
    assert len(said) == len(export.warnings), said
    for message, beginning in zip(said, export.warnings, strict=True):
        assert message.startswith(beginning.replace("{path}", str(path)))

    ((kind, name),) = export.named.items()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(re.sub(r"(?m)^question = .*$", f'question = "{QUESTIONS[kind]}"', written), "utf-8")
    loaded = load_recipe(recipe)
    assert template_columns(loaded.table.document) == list(export.document)
    assert (loaded.table.id, list(loaded.columns)) == (export.id, [name])

    with warnings.catch_warnings():
        if export.warnings:
            warnings.simplefilter("ignore")  # of rows that are not labelled
        learned = check_tables([path], recipe, overrides=[f"model={tiny_folder}"])
        predicted = check_tables([path], recipe, overrides=[f"model={tiny_folder}"], purpose="predict")
    assert learned.examples[0].prompt.count("census") + learned.examples[0].prompt.count("藻类") >= 1
    assert predicted.examples[0].prompt == learned.examples[0].prompt
