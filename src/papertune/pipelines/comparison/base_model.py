"""Contestants that are the base model itself: asked as it is, and with solved examples before the question."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from papertune.evaluation.predictions import score_predictions
from papertune.evaluation.systems.contestants import Attempt, NotMeasured, rows_with_answers
from papertune.evaluation.systems.few_shot import FewShotReader, NearestExamples, with_prompt_tokens
from papertune.events import Listener
from papertune.inference.predictor import Predictor
from papertune.models import choose_device, choose_dtype, find_base, load_model, use_grouped_attention
from papertune.pipelines.comparison.kept import KeptOutputs, Place, answer_rows
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run_directory import library_versions
from papertune.tables import Table
from papertune.templates import template_columns

# How many examples may stand before a question, and on how many rows of the training table the number is chosen.
NUMBERS_OF_EXAMPLES = (2, 4, 8)
TUNING_ROWS = 32

# What a model without a stated context can be trusted with.
_DEFAULT_CONTEXT = 2048


class BaseModelSystems:
    """The base model of a recipe as a contestant; it is loaded when the first question has not been answered yet.

    Args:
        recipe: The columns.
        documents: The table that is filled in, without its answers.
        kept: Where finished answers are.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        base: Where the base model is now, if not where the recipe says.
        listener: Gets the progress after each batch.
    """

    def __init__(
        self,
        recipe: Recipe,
        documents: Table,
        kept: KeptOutputs,
        *,
        device: str | None,
        base: str | Path | None,
        listener: Listener,
    ) -> None:
        self._recipe = recipe
        self._documents = documents
        self._kept = kept
        self._device = device
        self._base = find_base(recipe.model, None if base is None else Path(base))
        self._listener = listener

    def zero_shot(self, name: str) -> Attempt:
        """Ask the model the recipe's question, as the fine-tuned run is asked it."""
        recipe = self._recipe.only((name,))

        def make(place: Place) -> Attempt:
            model, tokenizer = self._loaded
            reader = RowReader(self._documents, recipe)
            answers, rate = answer_rows(
                Predictor(model, tokenizer, recipe), reader, len(self._documents), recipe, place, self._listener
            )
            return Attempt(answers[name], rate, 0.0, 0)

        return self._kept.get(f"{name}: zero-shot", self._facts(recipe, self._documents), make)

    def few_shot(self, name: str, train: Table) -> Attempt:
        """Ask it with examples of the training table before the question; their number is chosen there too.

        Raises:
            NotMeasured: If not one example fits into the model's context.
        """
        recipe = self._recipe.only((name,))
        known = train.take(list(rows_with_answers(train, recipe, name)))
        count, how = self._choose_number(recipe, name, known)
        attempt = self._with_examples(f"{name}: few-shot", recipe, name, known, self._documents, count)
        return replace(attempt, note=f"{attempt.note}; {how}" if how else attempt.note)

    def _choose_number(self, recipe: Recipe, name: str, known: Table) -> tuple[int, str]:
        """Give the number of examples that does best on some rows of the training table, and how it was chosen."""
        if len(known) < 2 * NUMBERS_OF_EXAMPLES[0]:
            return min(NUMBERS_OF_EXAMPLES[0], len(known)), ""
        stratify = name if recipe.columns[name].is_ranked_by_first_label and name in known.columns else None
        share = min(TUNING_ROWS / len(known), 0.5)
        rest, held_out = known.split(share, recipe.training.seed, stratify)
        numbers = [number for number in NUMBERS_OF_EXAMPLES if number <= len(rest)]
        truth = RowReader(held_out, recipe)
        shown = without_answers(held_out, recipe)
        scores: dict[int, float] = {}
        for number in numbers:
            title = f"{name}: few-shot, {number} examples, on {len(held_out)} held-out rows"
            attempt = self._with_examples(title, recipe, name, rest, shown, number)
            found = score_predictions({name: attempt.predictions}, truth, recipe, range(len(held_out)))
            scores[number] = found[name].main
        best = max(numbers, key=lambda number: (scores[number], -number))
        among = ", ".join(map(str, numbers))
        return best, f"chosen among {among} on {len(held_out)} held-out rows of {known.source}"

    def _with_examples(
        self, title: str, recipe: Recipe, name: str, learnt: Table, documents: Table, count: int
    ) -> Attempt:
        def make(place: Place) -> Attempt:
            model, tokenizer = self._loaded
            encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
            longest = context_tokens(model) - _answer_tokens(recipe, encoder)
            examples = NearestExamples(learnt, recipe)
            reader = FewShotReader(documents, recipe, examples, count, tokenizer, longest)
            asked = [(row, question) for row in range(len(documents)) for question in reader.asked(row)]
            counts = [reader.shown(row, question) for row, question in asked]
            if not any(counts):
                raise NotMeasured(f"not one example fits into the model's context of {context_tokens(model)} tokens")
            predictor = Predictor(model, tokenizer, with_prompt_tokens(recipe, longest))
            answers, rate = answer_rows(predictor, reader, len(documents), recipe, place, self._listener)
            fewer = sum(shown < count for shown in counts)
            note = f"{count} examples before each question"
            if fewer:
                note += f", fewer before {fewer:,} of {len(counts):,}, where the context is full"
            prompt = tokenizer.decode(predictor.encoder.encode(reader.prompt(*asked[0])).ids)
            return Attempt(answers[name], rate, 0.0, 0, note, prompt)

        facts = {**self._facts(recipe, documents), "examples": learnt.checksum(), "count": count}
        return self._kept.get(title, facts, make)

    def _facts(self, recipe: Recipe, documents: Table) -> dict[str, Any]:
        dtype = str(choose_dtype("auto", choose_device(self._device)))
        return {
            **asked_facts(recipe),
            "documents": documents.checksum(),
            "base": self._base.checksum or self._base.location,
            "bits": recipe.base_bits,
            "dtype": dtype,
            **libraries(),
        }

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        model, tokenizer = load_model(self._base, device=self._device, base_bits=self._recipe.base_bits)
        if model.device.type == "cpu":
            use_grouped_attention(model)  # as a run does, so that their speeds can be compared
        return model, tokenizer


def without_answers(table: Table, recipe: Recipe) -> Table:
    """Give the rows of a table without any column that the recipe asks for: all that a contestant may see."""
    import polars as pl

    if table.is_instructions:
        blank = [pl.lit("").alias("output")] if "output" in table.columns else []
        return replace(table, frame=table.frame.with_columns(blank))
    names = [recipe.table.id, *template_columns(recipe.table.document)]
    return replace(table, frame=table.frame.select([name for name in dict.fromkeys(names) if name in table.columns]))


def context_tokens(model: Any) -> int:
    """Give the longest text that a model was made for, in tokens."""
    return int(getattr(model.config, "max_position_embeddings", None) or _DEFAULT_CONTEXT)


def asked_facts(recipe: Recipe) -> dict[str, Any]:
    """Give what a recipe says about how its columns are asked, ready for JSON."""
    return recipe.model_dump(mode="json", include={"layout", "chat", "table", "columns", "encoding"})


@cache
def libraries() -> Mapping[str, str | None]:
    """Give the versions that what a model says depends on."""
    versions = library_versions()
    return {name: versions.get(name) for name in ("papertune", "torch", "transformers", "tokenizers")}


def _answer_tokens(recipe: Recipe, encoder: PromptEncoder) -> int:
    """Return the most tokens that an answer can add to its prompt."""
    return max(question.max_answer_tokens(encoder) for question in recipe.questions.values())
