"""A first recipe for a table."""

import tomllib
import warnings
from collections.abc import Collection, Mapping, Sequence

from papertune.errors import PapertuneWarning, TableError, quoted
from papertune.kinds.label.cells import read_label
from papertune.pipelines.init import aliases
from papertune.pipelines.init.columns import answer_tokens, column_lines, label_notes
from papertune.pipelines.init.guess import (
    document_columns,
    find_column,
    guess_columns,
    id_column,
    in_a_line,
    name_in_text,
)
from papertune.pipelines.init.label_cells import count_labels
from papertune.pipelines.init.toml_text import comment, quote
from papertune.pipelines.training.optimizer_steps import (
    LAST_LAYERS,
    SMALL_TABLE,
    label_settings_for,
    optimizer_steps,
    settings_for,
)
from papertune.recipe import EncodingSpec, TrainingSpec, load_recipe
from papertune.tables import Table
from papertune.templates import escaped, placeholder

# From this number of rows on, this share of them: about a hundred, of which a weight can be fitted.
_DEV_FRACTIONS = ((1000, 0.1), (300, 0.15))


def recipe_for(
    table: Table,
    label: Sequence[str] = (),
    keywords: Sequence[str] = (),
    labels: Sequence[str] = (),
    text: Sequence[str] = (),
    number: Sequence[str] = (),
    document: Sequence[str] = (),
) -> str:
    """Write a commented recipe for a table.

    Warns if no abstract is found, if labels are written in several ways, and if rows are not labelled.

    Args:
        table: The table.
        label: Columns that hold one label. If no column is named at all, those with labels and keywords are guessed.
        keywords: Columns that hold keywords.
        labels: Columns that hold none, one or several labels.
        text: Columns that hold free text.
        number: Columns that hold a number.
        document: Columns that the model reads; if none is named, title and abstract are looked for.

    Returns:
        TOML that `load_recipe` accepts.

    Raises:
        TableError: If a column is missing or named twice, nothing can be guessed, or a label column has too many
            labels.
        RecipeError: If no recipe can have these columns, for example since one is called `row`.
    """
    named = {"label": label, "labels": labels, "keywords": keywords, "text": text, "number": number}
    if table.is_instructions and not any(named.values()):
        raise TableError(
            f"{table.source} is an instruction file. It needs no recipe of its own: train with -r instruct."
        )
    columns, shown = _find_columns(table, named, document)
    if not any(columns.values()):
        columns["label"], columns["labels"], columns["keywords"] = guess_columns(table)
    learned = [name for names in columns.values() for name in names]
    tokens = max((answer_tokens(table, name) for name in columns["text"]), default=0)
    rows = _rows_to_learn(table, columns)
    only_labels = not any((columns["keywords"], columns["text"], columns["number"]))
    lines = [
        *_head_lines(table, learned, shown),
        *column_lines(table, columns),
        *_learning_lines(rows, tokens, only_labels=only_labels),
        *(_dev_lines(rows) if columns["label"] or columns["labels"] else []),
    ]
    recipe = "\n".join([*lines, ""])
    load_recipe(tomllib.loads(recipe))
    for note in label_notes(table, columns["label"]):
        warnings.warn(note, PapertuneWarning, stacklevel=2)
    return recipe


def _find_columns(
    table: Table, named: Mapping[str, Sequence[str]], document: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the columns that a user names, as the table has them: those to learn by kind, and those to read.

    Raises:
        TableError: If there is no such column, or one is named twice.
    """
    known = {"label": aliases.LABEL, "labels": aliases.LABELS, "keywords": aliases.KEYWORDS}
    columns = {kind: [find_column(table, each, known.get(kind, ())) for each in names] for kind, names in named.items()}
    shown = [find_column(table, each, (*aliases.TITLE, *aliases.ABSTRACT)) for each in document]
    every = [*(name for names in columns.values() for name in names), *shown]
    if twice := [name for name in every if every.count(name) > 1]:
        raise TableError(f"The column {quoted(twice[0])} is named twice. Name it once: to learn it, or to read it.")
    return columns, shown


def _dev_lines(rows: int) -> list[str]:
    """Return the line for dev rows, by which the model is weighed against the other sources of a label column."""
    fraction = next((share for fewest, share in _DEV_FRACTIONS if rows >= fewest), None)
    if fraction is None:
        return []
    return [f"dev_fraction = {fraction}      # these rows weigh the model against words, and are not learned by it"]


def _learning_lines(rows: int, answer_tokens: int, *, only_labels: bool) -> list[str]:
    """Return the lines for the method, the lengths and the training."""
    # A label is chosen, other answers are written: only these need all layers.
    is_small = only_labels and rows < SMALL_TABLE
    last = f"layers = {LAST_LAYERS}              # only the last ones; on a CPU the others run once for all epochs"
    return [
        "",
        "[method]",
        'kind = "lora"            # lora, ptuning_v2, full or freeze',
        "rank = 8",
        *([last] if is_small else []),
        *_encoding_lines(answer_tokens),
        "",
        "[training]",
        *(_few_label_lines(rows) if is_small else _training_lines(rows)),
    ]


def _head_lines(table: Table, learned: Collection[str], shown: Sequence[str]) -> list[str]:
    """Return the lines for the model and the document.

    Args:
        table: The table.
        learned: The columns to learn.
        shown: The columns of the document; if there are none, they are looked for.

    Raises:
        TableError: If no column looks like text.
    """
    identity = id_column(table, {*learned, *shown})
    shown = shown or document_columns(table, {*learned, *([] if identity is None else [identity])})
    document = "\n".join(f"{escaped(name_in_text(name))}: {placeholder(name)}" for name in shown)
    others = [name for name in table.columns if name not in {*learned, *shown, identity}]
    return [
        f"# Recipe for {comment(table.source)}, written by `papertune init`. Check it with `papertune check`.",
        'model = "smollm2-135m"   # English, small, no GPU needed; or a model folder, a .gguf file, a hub id',
        "",
        "[table]",
        f"id = {quote(identity)}" if identity else '# id = "..."   # no column has a different cell in every row',
        "# What the model reads of a row; truncated if it is too long."
        + (f" Left out: {comment(in_a_line(others))}." if others else ""),
        f"document = {quote(document)}",
    ]


def _rows_to_learn(table: Table, columns: Mapping[str, Sequence[str]]) -> int:
    """Count the rows with a gold answer; an empty cell of a labels or number column is one."""
    if columns["labels"] or columns["number"]:
        return len(table)
    answered = [[bool(cell.strip()) for cell in table.frame[name]] for name in [*columns["keywords"], *columns["text"]]]
    for name in columns["label"]:
        unlabelled = list(count_labels(table, name).unlabelled)
        answered.append([read_label(cell, unlabelled) is None for cell in table.frame[name]])
    return sum(map(any, zip(*answered, strict=True)))


def _training_lines(rows: int) -> list[str]:
    batch, epochs = settings_for(rows)
    usual = TrainingSpec()
    lines = [f"epochs = {epochs}", "learning_rate = 1e-3"]
    if batch >= usual.micro_batch_size:
        return lines
    steps = optimizer_steps(TrainingSpec(micro_batch_size=batch, epochs=epochs), rows)
    return [
        f"# {rows:,} rows are few: batches are small, so that there are {steps:,} optimizer steps. For a larger table",
        f"# take batches of {usual.micro_batch_size} and 1 epoch.",
        f"micro_batch_size = {batch}",
        *lines,
    ]


def _few_label_lines(rows: int) -> list[str]:
    batch, epochs = label_settings_for(rows)
    steps = optimizer_steps(TrainingSpec(micro_batch_size=batch, epochs=epochs), rows)
    return [
        f"# {rows:,} rows are few: they are learned {epochs} times, in {steps:,} optimizer steps. For a table of",
        f"# {SMALL_TABLE:,} rows or more take all layers and 1 epoch.",
        *([] if batch == TrainingSpec().micro_batch_size else [f"micro_batch_size = {batch}"]),
        f"epochs = {epochs}",
        "learning_rate = 1e-3",
    ]


def _encoding_lines(answer_tokens: int) -> list[str]:
    if answer_tokens < EncodingSpec().max_answer_tokens:
        return []
    return ["", "[encoding]", f"max_answer_tokens = {answer_tokens + 1}   # a longer answer is learned without its end"]
