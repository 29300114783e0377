"""The base model without fine-tuning as a system: zero-shot, and few-shot with examples before the question."""

import gc
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from papertune.evaluation.predictions import score_predictions
from papertune.evaluation.systems.few_shot import FewShotReader, NearestExamples, with_prompt_tokens
from papertune.evaluation.systems.other_tools import package_versions
from papertune.evaluation.systems.outputs import NotMeasured, SystemOutput, rows_with_answers, training_rows
from papertune.events import Listener
from papertune.inference.predictor import Predictor
from papertune.models import (
    OwnLlama,
    choose_device,
    choose_dtype,
    context_tokens,
    find_base,
    load_model,
    load_own_llama,
    load_tokenizer,
    use_grouped_attention,
)
from papertune.pipelines.comparison.kept import KeptOutputs, Place, answer_rows
from papertune.pipelines.comparison.source_systems import source_system
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run_directory import library_versions
from papertune.tables import Table
from papertune.templates import template_columns

# The numbers of examples that are tried, and the number of training rows on which the best is chosen.
NUMBERS_OF_EXAMPLES = (2, 4, 8)
TUNING_ROWS = 32

# Context of a model whose configuration does not state it, in tokens.
_DEFAULT_CONTEXT = 2048


class BaseModelSystems:
    """The base model of a recipe as a system; it is loaded when the first output has to be made.

    Args:
        recipe: The columns.
        documents: The scored table without gold cells.
        kept: The finished outputs.
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
        self._loaded: tuple[Any, Any] | None = None
        self._has_own = choose_device(device) == "cpu" and recipe.base_bits is None

    def zero_shot(self, name: str) -> SystemOutput:
        """Predict with the prompts of the fine-tuned run."""
        recipe = self._recipe.only((name,))

        def make(place: Place) -> SystemOutput:
            model, tokenizer = self._model()
            reader = RowReader(self._documents, recipe)
            answers, rate = answer_rows(
                Predictor(model, tokenizer, recipe), reader, len(self._documents), recipe, place, self._listener
            )
            return SystemOutput(answers[name], rate, 0.0, 0)

        return self._kept.get(f"{name}: zero-shot", self._facts(recipe, self._documents), make)

    def source(self, source: str, name: str, train: Table) -> SystemOutput:
        """Predict a label column by what a source makes of the documents; see `source_system`.

        Raises:
            NotMeasured: If that is not possible.
        """
        recipe = self._recipe.only((name,))
        known = training_rows(train, recipe, name)
        reader = RowReader(self._documents, recipe)
        documents = [reader.document(row) for row in range(len(self._documents))]

        def make(_place: Place) -> SystemOutput:
            labels = recipe.questions[name].joined_labels
            return source_system(source, recipe, labels, known, documents, lambda: self._model(with_states=True))

        facts = {
            **self._facts(recipe, self._documents),
            "source": source,
            "rows": train.checksum(),
            **package_versions(),
        }
        return self._kept.get(f"{name}: {source}", facts, make)

    def few_shot(self, name: str, train: Table, examples: int | None = None) -> SystemOutput:
        """Predict with training examples before each question.

        Args:
            name: The column.
            train: The training rows.
            examples: Number of examples before a question; None: chosen on training rows too.

        Raises:
            NotMeasured: If no example fits into the model's context.
        """
        recipe = self._recipe.only((name,))
        known = train.take(list(rows_with_answers(train, recipe, name)))
        count, how = self._choose_number(recipe, name, known) if examples is None else (examples, "")
        output = self._with_examples(f"{name}: few-shot", recipe, name, known, self._documents, count)
        return replace(output, note=f"{output.note}; {how}" if how else output.note)

    def _choose_number(self, recipe: Recipe, name: str, known: Table) -> tuple[int, str]:
        """Return the number of examples with the best score on some training rows, and how it was chosen."""
        if len(known) < 2 * NUMBERS_OF_EXAMPLES[0]:
            return min(NUMBERS_OF_EXAMPLES[0], len(known)), ""
        stratify = name if recipe.columns[name].is_ranked_by_first_label and name in known.columns else None
        share = min(TUNING_ROWS / len(known), 0.5)
        rest, held_out = known.split(share, recipe.training.seed, stratify)
        numbers = [number for number in NUMBERS_OF_EXAMPLES if number <= len(rest)]
        gold = RowReader(held_out, recipe)
        documents = without_answers(held_out, recipe)
        scores: dict[int, float] = {}
        for number in numbers:
            title = f"{name}: few-shot, {number} examples, on {len(held_out)} held-out rows"
            output = self._with_examples(title, recipe, name, rest, documents, number)
            found = score_predictions({name: output.predictions}, gold, recipe, range(len(held_out)))
            scores[number] = found[name].main
        best = max(numbers, key=lambda number: (scores[number], -number))
        among = ", ".join(map(str, numbers))
        return best, f"chosen among {among} on {len(held_out)} held-out rows of {known.source}"

    def _with_examples(
        self, title: str, recipe: Recipe, name: str, train: Table, documents: Table, count: int
    ) -> SystemOutput:
        def make(place: Place) -> SystemOutput:
            model, tokenizer = self._model()
            encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
            max_tokens = _context(model) - _answer_tokens(recipe, encoder)
            examples = NearestExamples(train, recipe)
            reader = FewShotReader(documents, recipe, examples, count, tokenizer, max_tokens)
            asked = [(row, question) for row in range(len(documents)) for question in reader.asked(row)]
            counts = [reader.shown(row, question) for row, question in asked]
            if not any(counts):
                raise NotMeasured(f"no example fits into the model's context of {_context(model)} tokens")
            predictor = Predictor(model, tokenizer, with_prompt_tokens(recipe, max_tokens))
            answers, rate = answer_rows(predictor, reader, len(documents), recipe, place, self._listener)
            fewer = sum(shown < count for shown in counts)
            note = f"{count} examples before each question"
            if fewer:
                note += f", fewer before {fewer:,} of {len(counts):,} because of the model's context"
            prompt = tokenizer.decode(predictor.encoder.encode(reader.prompt(*asked[0])).ids)
            return SystemOutput(answers[name], rate, 0.0, 0, note, prompt)

        facts = {**self._facts(recipe, documents), "examples": train.checksum(), "count": count}
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

    def _model(self, *, with_states: bool = False) -> tuple[Any, Any]:
        """Load the model as a run does for prediction, so that their speeds can be compared, and its tokenizer.

        Only one model is in memory.

        Args:
            with_states: Load it with transformers, so that the states of its layers can be read.
        """
        own = self._has_own and not with_states
        if self._loaded is None or isinstance(self._loaded[0], OwnLlama) != own:
            self._loaded = None
            gc.collect()  # a model is part of reference cycles
            model = load_own_llama(self._base, "auto") if own else None
            self._has_own = self._has_own and (model is not None or with_states)
            self._loaded = self._load_with_states() if model is None else (model, load_tokenizer(self._base))
        return self._loaded

    def _load_with_states(self) -> tuple[Any, Any]:
        model, tokenizer = load_model(self._base, device=self._device, base_bits=self._recipe.base_bits)
        if model.device.type == "cpu":
            use_grouped_attention(model)
        return model, tokenizer


def without_answers(table: Table, recipe: Recipe) -> Table:
    """Return a table without gold cells: all that a system may see."""
    import polars as pl

    if table.is_instructions:
        blank = [pl.lit("").alias("output")] if "output" in table.columns else []
        return replace(table, frame=table.frame.with_columns(blank))
    own = [column.question_column for column in recipe.questions.values()]
    names = [recipe.table.id, *template_columns(recipe.table.document), *own]
    return replace(table, frame=table.frame.select([name for name in dict.fromkeys(names) if name in table.columns]))


def asked_facts(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a recipe that prompts depend on, ready for JSON."""
    return recipe.model_dump(mode="json", include={"layout", "chat", "table", "columns", "encoding"})


@cache
def libraries() -> Mapping[str, str | None]:
    """Return the versions that predictions of a model depend on."""
    versions = library_versions()
    return {name: versions.get(name) for name in ("papertune", "torch", "transformers", "tokenizers")}


def _context(model: Any) -> int:
    """Return a model's context in tokens."""
    return context_tokens(model.config) or _DEFAULT_CONTEXT


def _answer_tokens(recipe: Recipe, encoder: PromptEncoder) -> int:
    """Return the most tokens that an answer can add to its prompt."""
    return max(question.max_answer_tokens(encoder) for question in recipe.questions.values())
