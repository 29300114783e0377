"""Check tables against a recipe and a tokenizer: problems, lengths, balance, and example prompts."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from papertune.errors import PapertuneWarning, Sentence, TableError, listed, said_as
from papertune.evaluation.checks.leaks import leak_warnings
from papertune.kinds.findings import Finding, Purpose
from papertune.models import find_base
from papertune.models.tokenizers.plain import load_context_config, load_prompt_tokenizer
from papertune.pipelines.training.chosen_columns import choose_columns_to_learn
from papertune.pipelines.training.optimizer_steps import too_few_steps
from papertune.prompts import PromptEncoder
from papertune.prompts.check_table import check_table
from papertune.prompts.context import check_context
from papertune.prompts.examples import Example, RowReader, examples_by_document, training_examples
from papertune.prompts.given_cells import open_table
from papertune.prompts.separators import with_clear_separators
from papertune.recipe import Recipe, load_recipe
from papertune.run_directory import asks_for_model
from papertune.tables import Table


@dataclass(frozen=True)
class ShownExample:
    """An example as the model sees it.

    Attributes:
        row: Index of the row, from 0.
        column: Name of the question.
        prompt: The prompt's text, special tokens included.
        answer: The answer to learn, as text; "" for prediction.
    """

    row: int
    column: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class CheckResult:
    """The result of a check without problems.

    Attributes:
        lines: Facts, a line each.
        examples: A few examples.
    """

    lines: list[str]
    examples: list[ShownExample]


def _warn(finding: Finding) -> None:
    if finding.level == "warning":
        warnings.warn(finding.text, PapertuneWarning, stacklevel=3)


def check_tables(
    tables: Sequence[Any],
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    purpose: Purpose = "train",
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    base: Path | None = None,
    report: Callable[[Finding], object] = _warn,
) -> CheckResult:
    """Check tables for training or prediction; no weights are loaded.

    Args:
        tables: The tables.
        recipe: The recipe.
        purpose: What the tables are for.
        overrides: Settings of the recipe, such as "training.epochs=3".
        only: Just these of the recipe's columns.
        base: Where the base model is now.
        report: Gets the warnings, and the problems of the tables before they are raised.

    Raises:
        RecipeError, TableError, ModelError: With all problems of the tables at once.
    """
    chosen = choose_columns_to_learn(load_recipe(recipe, overrides), only)
    is_stage = purpose == "train" and not chosen.stage.fits_sources
    if is_stage:
        chosen.stage.check_recipe(chosen)
    read = [open_table(table, chosen) for table in tables]
    if purpose == "train" and not is_stage:
        chosen, messages = with_clear_separators(chosen, read)
        for message in messages:
            report(Finding("warning", message))
    lines, findings, problems = _check_each(read, chosen, purpose, is_stage=is_stage)
    for finding in findings:
        report(finding)
    if problems:
        raise TableError.collect("the tables do not fit the recipe", problems)
    if is_stage:
        return CheckResult(lines, [])
    tokenizer, encoder = _check_model(chosen, base)
    shown: list[ShownExample] = []
    rows = 0
    for table in read:
        if purpose == "train":
            examples = list(training_examples(table, chosen, learn_history=chosen.training.learn_history))
            # The training splits a row with very many questions, so it may have a few more rows.
            shares = chosen.layout == "document-first"
            rows += sum(1 for _ in examples_by_document(examples)) if shares else len(examples)
        else:
            examples = _unanswered(table, chosen)
        lines += _lengths(table.source, examples, encoder)
        if purpose == "train":
            lines += _answer_facts(examples, chosen, encoder)
        shown += [_show(first, chosen, encoder, tokenizer) for first in _first_of_columns(examples, chosen)]
    if few := too_few_steps(chosen.training, rows):
        lines.append(few)
    return CheckResult(lines, shown)


def _check_each(
    tables: Sequence[Table], recipe: Recipe, purpose: Purpose, *, is_stage: bool
) -> tuple[list[str], list[Finding], list[str]]:
    """Check each table against the recipe; return facts, a line each, what is to be reported, and problems."""
    lines: list[str] = []
    found: list[Finding] = []
    problems: list[str] = []
    for table in tables:
        findings = recipe.stage.check_table(table, recipe) if is_stage else check_table(table, recipe, purpose)
        problems += findings.problems
        columns = listed(table.columns)
        text = f"{table.source}: {len(table):,} rows, columns {columns}"
        lines.append(Sentence(text, "rows", table=table.source, count=len(table), columns=columns))
        for name, counts in findings.label_counts.items():
            balance = ", ".join(f"{label or '(none of them)'} {count:,}" for label, count in counts.most_common())
            lines.append(Sentence(f"  {name}: {balance}", "label_counts", column=name, counts=balance))
        lines += [said_as(f"  {fact}", fact) for fact in findings.facts]
        found += findings.all()
        if not is_stage and not findings.problems:
            found += leak_warnings(table, recipe, purpose)
    return lines, found, problems


def _check_model(recipe: Recipe, base: Path | None) -> tuple[Any, PromptEncoder]:
    """Check a recipe against its model, and return the model's tokenizer and the encoder of prompts."""
    found = find_base(recipe.model, base)
    tokenizer = load_prompt_tokenizer(found)
    encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
    if asks_for_model(recipe):
        check_context(recipe, encoder, load_context_config(found))
    for column in recipe.questions.values():
        column.check_tokens(encoder)
    return tokenizer, encoder


def _unanswered(table: Table, recipe: Recipe) -> list[Example]:
    """Return the prompts of a table to fill in."""
    reader = RowReader(table, recipe)
    asked = [(row, name) for row in range(len(table)) for name in reader.asked(row)]
    return [Example(row, name, reader.prompt(row, name), "") for row, name in asked]


def _lengths(source: str, examples: Sequence[Example], encoder: PromptEncoder) -> list[str]:
    encoded = [encoder.encode(example.prompt) for example in examples]
    if not encoded:
        return [Sentence(f"{source}: nothing to learn", "nothing_to_learn")]
    lengths = [len(prompt.ids) for prompt in encoded]
    truncated = sum(prompt.truncated for prompt in encoded)
    counted = f"{truncated:,} documents will be truncated" if truncated else "no document will be truncated"
    text = (
        f"{source}: {len(encoded):,} prompts of {min(lengths)} to {max(lengths)} tokens, mean {mean(lengths):.0f}; "
        f"the limit is {encoder.max_prompt_tokens}: {counted}"
    )
    fact = Sentence(
        text,
        "prompt_lengths",
        count=len(encoded),
        shortest=min(lengths),
        longest=max(lengths),
        mean=round(mean(lengths)),
        limit=encoder.max_prompt_tokens,
        truncated=truncated,
    )
    return [fact]


def _answer_facts(examples: Sequence[Example], recipe: Recipe, encoder: PromptEncoder) -> list[str]:
    answers: dict[str, list[str]] = {}
    for example in examples:
        answers.setdefault(example.column, []).append(example.answer)
    return [
        said_as(f"  {fact}", fact)
        for name, texts in answers.items()
        for fact in recipe.questions[name].answer_facts(name, texts, encoder)
    ]


def _first_of_columns(examples: Sequence[Example], recipe: Recipe) -> Iterator[Example]:
    for name in recipe.columns:
        asked_for = recipe.questions_of(name)
        yield from islice((example for example in examples if example.column in asked_for), 1)


def _show(example: Example, recipe: Recipe, encoder: PromptEncoder, tokenizer: Any) -> ShownExample:
    prompt = tokenizer.decode(encoder.encode(example.prompt).ids)
    column = recipe.questions[example.column]
    if not example.answer:
        answer = ""
    elif column.loss_labels is not None:
        answer = example.answer
    else:
        answer = " | ".join(tokenizer.decode(ids) for ids in column.encode_answers(example.answer, encoder))
    return ShownExample(example.row, example.column, prompt, answer)
