"""Prompts and answers against the context of a model."""

import pytest
from transformers import LlamaConfig, MambaConfig

from papertune.errors import ModelError, PapertuneWarning, RecipeError
from papertune.prompts import PromptEncoder
from papertune.prompts.context import check_context, encoder_within_context
from papertune.prompts.examples import Prompt
from papertune.recipe import load_recipe

LABEL = {"kind": "label", "question": "Medical?", "labels": ["1", "0"]}
TEXT = {"kind": "text", "question": "What was found?", "max_new_tokens": 30}


def recipe(prompt=100, method=None, **columns):
    return load_recipe(
        {
            "model": "tiny",
            "table": {"document": "{title}"},
            "columns": columns or {"label": LABEL},
            "encoding": {"max_prompt_tokens": prompt, "max_answer_tokens": 40},
            "method": method or {},
        }
    )


def config(context):
    return LlamaConfig(max_position_embeddings=context)


@pytest.fixture
def refusal(tiny_tokenizer):
    """Return a function that returns the message of the check; "" without one."""

    def check(chosen, context):
        try:
            check_context(chosen, PromptEncoder(tiny_tokenizer, chosen.encoding), config(context))
        except RecipeError as error:
            return str(error)
        return ""

    return check


def test_a_prompt_and_its_label_may_fill_the_context(refusal):
    assert refusal(recipe(), 102) == ""  # the label and its end
    assert refusal(recipe(), 101) == (
        'encoding.max_prompt_tokens is 100, and an answer of "label" takes up to 2 tokens more, but tiny reads 101 '
        "tokens at most. Set encoding.max_prompt_tokens to 99 or less, or choose a model with a longer context."
    )


def test_the_longer_of_learned_and_generated_answers_counts(refusal):
    both = recipe(label=LABEL, finding=TEXT)
    assert refusal(both, 140) == ""
    assert 'an answer of "finding" takes up to 40 tokens more' in refusal(both, 139)
    long = recipe(finding={**TEXT, "max_new_tokens": 50})
    assert refusal(long, 150) == ""
    assert "Set encoding.max_prompt_tokens to 99 or less" in refusal(long, 149)


def test_a_prefix_takes_room(refusal):
    tuned = recipe(method={"kind": "ptuning_v2", "prefix_length": 20})
    assert refusal(tuned, 122) == ""
    assert "takes up to 2 tokens more, the prefix 20, but tiny reads 121 tokens at most" in refusal(tuned, 121)


def test_answers_that_leave_no_room_are_to_be_shortened(refusal):
    assert refusal(recipe(finding=TEXT), 50).endswith(
        "tiny reads 50 tokens at most. Shorten the answers (encoding.max_answer_tokens, and max_new_tokens of the "
        "column), or choose a model with a longer context."
    )


def test_a_model_without_a_context_has_room_for_everything(tiny_tokenizer):
    chosen = recipe(prompt=100_000)
    check_context(chosen, PromptEncoder(tiny_tokenizer, chosen.encoding), MambaConfig())
    assert encoder_within_context(tiny_tokenizer, chosen, MambaConfig(), 0).max_prompt_tokens == 100_000


class TestARun:
    def test_prompts_that_fit_are_encoded_as_the_recipe_says(self, tiny_tokenizer):
        assert encoder_within_context(tiny_tokenizer, recipe(), config(102), 0).max_prompt_tokens == 100

    def test_prompts_are_truncated_to_the_room_with_a_warning(self, tiny_tokenizer):
        with pytest.warns(PapertuneWarning) as caught:
            encoder = encoder_within_context(tiny_tokenizer, recipe(), config(101), 9)
        assert [str(each.message) for each in caught] == [
            'encoding.max_prompt_tokens of the run is 100, and an answer of "label" takes up to 2 tokens more, the '
            "prefix 9, but tiny reads 101 tokens at most: longer prompts are truncated to 90 tokens."
        ]
        assert len(encoder.encode(Prompt("", "heart " * 200, "Medical?")).ids) <= 90

    def test_no_room_for_any_prompt_is_an_error(self, tiny_tokenizer):
        with pytest.raises(ModelError) as caught:
            encoder_within_context(tiny_tokenizer, recipe(finding=TEXT), config(45), 0)
        assert str(caught.value) == (
            'tiny reads 45 tokens at most, and an answer of "finding" takes up to 30, so there is no room for a '
            "prompt. Choose shorter answers (max_new_tokens) or another model."
        )

    def test_a_longer_answer_of_a_conversation_needs_more_room(self, tiny_tokenizer):
        with pytest.warns(PapertuneWarning, match="truncated to 52 tokens"):
            encoder_within_context(tiny_tokenizer, recipe(), config(102), 0, answer_tokens=50)
