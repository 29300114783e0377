"""A first recipe for a table."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from decimal import Decimal

from papertune.errors import TableError
from papertune.kinds.keywords.cells import read_keywords
from papertune.kinds.number.cells import guess_unit
from papertune.kinds.number.column import NumberColumn
from papertune.kinds.separators import clear_separator, column_items, single_item
from papertune.pipelines.optimizer_steps import (
    LAST_LAYERS,
    SMALL_TABLE,
    label_settings_for,
    optimizer_steps,
    settings_for,
)
from papertune.recipe import EncodingSpec, TrainingSpec
from papertune.suggest import did_you_mean
from papertune.tables import Table

# A column with more different cells, or parts of cells, is not a label column.
MAX_LABELS = 50
# Labels occur in at least this number of rows on average; keywords do not.
_MIN_ROWS_PER_LABEL = 3
# From this number of rows on, this share of them: about a hundred, of which a weight can be fitted.
_DEV_FRACTIONS = ((1000, 0.1), (300, 0.15))
# Most tokens are longer, also in Chinese, whose characters have three bytes.
_BYTES_PER_TOKEN = 3
_MAX_ANSWER_TOKENS = 512
_ID_NAMES = ("uuid", "id", "pmid", "doi", "key", "accession")
_TEXT_NAMES = ("title", "abstract", "summary", "text", "标题", "题目", "摘要")
_LABEL_NAMES = ("label", "labels", "class", "category", "included", "include", "target", "类别", "标签")
_POSITIVE = ("1", "yes", "true", "include", "included", "relevant", "positive", "是")
_LABELS_NAMES = ("topics", "topic", "categories", "tags", "subjects", "主题", "学科")
_KEYWORD_NAMES = ("keywords", "keyword", "keyphrases", "author keywords", "关键词", "关键字")


def recipe_for(
    table: Table,
    label: Sequence[str] = (),
    keywords: Sequence[str] = (),
    labels: Sequence[str] = (),
    text: Sequence[str] = (),
    number: Sequence[str] = (),
) -> str:
    """Write a commented recipe for a table.

    Args:
        table: The table.
        label: Columns that hold one label. If no column is named at all, those with labels and keywords are guessed.
        keywords: Columns that hold keywords.
        labels: Columns that hold none, one or several labels.
        text: Columns that hold free text.
        number: Columns that hold a number.

    Returns:
        TOML.

    Raises:
        TableError: If a column is missing, nothing can be guessed, or a label column has too many labels.
    """
    for name in [*label, *labels, *keywords, *text, *number]:
        if name not in table.columns:
            hint = did_you_mean(name, table.columns) or f" It has: {', '.join(table.columns)}."
            raise TableError(f'{table.source} has no column "{name}".{hint}')
    if not any((label, labels, keywords, text, number)):
        if table.is_instructions:
            raise TableError(
                f"{table.source} is an instruction file. It needs no recipe of its own: train with -r instruct."
            )
        label, labels, keywords = _guess_columns(table)
    lines = _head_lines(table, {*label, *labels, *keywords, *text, *number})
    for names, write in (
        (label, _label_lines),
        (labels, _label_set_lines),
        (keywords, _keyword_lines),
        (text, _free_text_lines),
        (number, _number_lines),
    ):
        for name in names:
            lines += ["", *write(table, name)]
    answer_tokens = max((_answer_tokens(table, name) for name in text), default=0)
    rows = _rows_to_learn(table, [*label, *keywords, *text], [*labels, *number])
    lines += _learning_lines(rows, answer_tokens, only_labels=not any((keywords, text, number)))
    lines += _dev_lines(rows) if label or labels else []
    return "\n".join([*lines, ""])


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


def _head_lines(table: Table, learned: Collection[str]) -> list[str]:
    """Return the lines for the model and the document.

    Raises:
        TableError: If no column looks like text.
    """
    ids = (name for name in _named(table, _ID_NAMES) if name not in learned and _is_unique(table, name))
    identity = next(ids, None)
    shown = [name for name in _text_columns(table, learned) if name != identity]
    if not shown:
        raise TableError(f"{table.source}: no column looks like text. Write the recipe's table.document by hand.")
    document = "\n".join(f"{name}: {{{name}}}" for name in shown)
    others = [name for name in table.columns if name not in {*learned, *shown, identity}]
    return [
        f"# Recipe for {table.source}, written by `papertune init`. Check it with `papertune check`.",
        'model = "smollm2-135m"   # English, small, no GPU needed; or a model folder, a .gguf file, a hub id',
        "",
        "[table]",
        f"id = {_quote(identity)}" if identity else '# id = "..."   # no column has a different cell in every row',
        "# What the model reads of a row; truncated if it is too long."
        + (f" Left out: {', '.join(others)}." if others else ""),
        f"document = {_quote(document)}",
    ]


def _number_lines(table: Table, name: str) -> list[str]:
    question = f"What is the {name} of this paper? Answer with a number, or: not stated."
    cells = [cell for cell in table.frame[name] if cell.strip()]
    unit = guess_unit(cells)
    whole, any_number = (
        _numbers(cells, NumberColumn(kind="number", question=question, integer=integer, unit=unit))
        for integer in (True, False)
    )
    numbers = whole if len(whole) >= len(any_number) else any_number
    if not numbers:
        raise TableError(f'{table.source}, column "{name}": no cell holds a number. Choose another column, or --text.')
    unread = len(cells) - len(numbers)
    remark = f"; {unread:,} not read, see papertune check" if unread else ""
    minimum = "minimum = 0" if min(numbers) >= 0 else f"# minimum = {min(numbers):f}"
    return [
        f"[columns.{_key(name)}]",
        'kind = "number"',
        f"question = {_quote(question)}",
        f"{minimum}            # the table has {min(numbers):f} to {max(numbers):f}{remark}",
        *(["integer = true"] if numbers is whole else []),
        f"unit = {_quote(unit)}" if unit else '# unit = "patients"     # text beside the number in a cell',
    ]


def _numbers(cells: Sequence[str], column: NumberColumn) -> list[Decimal]:
    """Return the numbers of the cells that a column reads."""
    resolved = column.resolve_cells(cells)
    read = (column.read_answer(resolved.get(cell, cell)) for cell in cells)
    return [Decimal(number) for number in read if number is not None and number != column.empty]


def _guess_columns(table: Table) -> tuple[list[str], list[str], list[str]]:
    """Return the columns that look like one label, several labels and keywords.

    Raises:
        TableError: If there are none.
    """
    labels = [name for name in _named(table, (*_LABEL_NAMES, *_LABELS_NAMES)) if _looks_like_several(table, name)]
    one = [name for name in _named(table, _LABEL_NAMES) if name not in labels]
    label = [name for name in one if 2 <= len(_labels(table, name)) <= MAX_LABELS]
    keywords = _named(table, _KEYWORD_NAMES)
    if not label and not labels and not keywords:
        raise TableError(
            f"{table.source}: no column looks like labels or keywords ({', '.join(table.columns)}). "
            "Name one with --label, --labels, --keywords, --text or --number."
        )
    return label, labels, keywords


def _rows_to_learn(table: Table, named: Sequence[str], with_empty: Sequence[str]) -> int:
    """Count the rows with a gold answer; an empty cell of a labels or number column is one."""
    if with_empty:
        return len(table)
    columns = [table.column(name) for name in named]
    return sum(1 for cells in zip(*columns, strict=True) if any(cell.strip() for cell in cells))


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


def _label_lines(table: Table, name: str) -> list[str]:
    counts = _labels(table, name)
    if not 2 <= len(counts) <= MAX_LABELS:
        raise TableError(
            f'{table.source}, column "{name}": {len(counts)} different cells; a label column has 2 to {MAX_LABELS}. '
            "Choose another column."
        )
    shown = ", ".join(_quote(value) for value in _first_of_two_first(counts))
    balance = ", ".join(f"{value} in {count:,} rows" for value, count in counts.most_common(5))
    return [
        f"[columns.{_key(name)}]",
        'kind = "label"',
        f"question = {_quote(f'What is the {name} of this paper? Answer with one of: ' + ', '.join(counts) + '.')}",
        f"labels = [{shown}]   # {balance}",
        "# abstain_for_accuracy = 0.98   # abstain below the confidence for it; needs --dev or --dev-fraction",
    ]


def _first_of_two_first(counts: Counter[str]) -> list[str]:
    """Return the labels, the most frequent first; of two the one that is looked for: by its word, or the rarer one."""
    if len(counts) != 2:
        return list(counts)
    return sorted(counts, key=lambda label: (label.casefold() not in _POSITIVE, counts[label]))


def _label_set_lines(table: Table, name: str) -> list[str]:
    counts = _parts(table, name)
    if not 1 <= len(counts) <= MAX_LABELS:
        raise TableError(
            f'{table.source}, column "{name}": {len(counts)} different labels; a labels column has 1 to {MAX_LABELS}. '
            "Choose another column, or --keywords."
        )
    empty = sum(1 for cell in table.frame[name] if not single_item(cell).strip())
    balance = [f"{value} in {count:,} rows" for value, count in counts.most_common(5)]
    return [
        f"[columns.{_key(name)}]",
        'kind = "labels"          # none, one or several of the labels; an empty cell means none',
        'question = "Is this paper about {label}? Answer yes or no."',
        f"labels = [{', '.join(map(_quote, counts))}]   # {', '.join([*balance, f'none in {empty:,} rows'])}",
        '# thresholds = "f1"      # with --dev or --dev-fraction: the best for each label, not 0.5',
    ]


def _keyword_lines(table: Table, name: str) -> list[str]:
    separator = clear_separator(table.frame[name])
    counts = [count for cell in table.frame[name] if (count := len(read_keywords(cell, separator)))]
    mean = sum(counts) / max(1, len(counts))  # of the rows with keywords; the others are not learned
    count = max(1, round(mean))
    return [
        f"[columns.{_key(name)}]",
        'kind = "ranked_keywords"',
        'question = "Name one keyword of this paper."',
        f"count = {count}                # maximum of written keywords; the table has {mean:.1f} a row",
        *([f"beams = {2 * count}"] if count > 8 else []),
        *([f"input_separator = {_quote(separator)}   # most cells have it"] if separator else []),
    ]


def _free_text_lines(table: Table, name: str) -> list[str]:
    cells = [cell.strip() for cell in table.frame[name]]
    longest = max(map(len, cells), default=0)
    empty = cells.count("")
    hint = f'# empty = "not stated"   # the answer to learn for the {empty:,} empty cells; now they are not learned'
    return [
        f"[columns.{_key(name)}]",
        'kind = "text"',
        f"question = {_quote(f'What is the {name} of this paper?')}",
        f"max_new_tokens = {_answer_tokens(table, name)}      # the longest cell has {longest:,} characters",
        *([hint] if empty else []),
        '# decoding = "beams"     # a search for the best answer: slower, sometimes better',
    ]


def _answer_tokens(table: Table, name: str) -> int:
    """Return a limit for answers in tokens, in steps of 16, from the longest cell."""
    longest = max((len(cell.strip().encode()) for cell in table.frame[name]), default=0)
    return min(max(16, -(-longest // _BYTES_PER_TOKEN // 16) * 16), _MAX_ANSWER_TOKENS)


def _encoding_lines(answer_tokens: int) -> list[str]:
    if answer_tokens < EncodingSpec().max_answer_tokens:
        return []
    return ["", "[encoding]", f"max_answer_tokens = {answer_tokens + 1}   # a longer answer is learned without its end"]


def _labels(table: Table, name: str) -> Counter[str]:
    counts = Counter(label for cell in table.frame[name] if (label := single_item(cell).strip()))
    return Counter(dict(counts.most_common()))


def _parts(table: Table, name: str) -> Counter[str]:
    """Count the labels of cells with several."""
    parts = Counter(part for items in column_items(table.column(name)) for part in {*map(str.strip, items)} if part)
    return Counter(dict(sorted(parts.items(), key=lambda item: (-item[1], item[0]))))


def _looks_like_several(table: Table, name: str) -> bool:
    counts = _parts(table, name)
    several = sum(counts.values()) > sum(1 for cell in table.frame[name] if cell.strip())
    return several and len(counts) <= MAX_LABELS and sum(counts.values()) >= _MIN_ROWS_PER_LABEL * len(counts)


def _named(table: Table, names: Sequence[str]) -> list[str]:
    return [column for name in names for column in table.columns if column.strip().casefold() == name]


def _text_columns(table: Table, learned: Collection[str]) -> list[str]:
    named = [name for name in _named(table, _TEXT_NAMES) if name not in learned]
    if named:
        return named
    lengths = {name: table.frame[name].str.len_chars().mean() or 0 for name in table.columns if name not in learned}
    return [name for name, length in lengths.items() if isinstance(length, int | float) and length >= 30]


def _is_unique(table: Table, name: str) -> bool:
    return table.frame[name].n_unique() == len(table) and not (table.frame[name].str.strip_chars() == "").any()


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML string


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else _quote(name)
