"""The lines of a recipe for each column to learn."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from papertune.errors import TableError, quoted
from papertune.kinds.keywords.cells import read_keywords
from papertune.kinds.number.cells import guess_unit
from papertune.kinds.number.column import NumberColumn
from papertune.kinds.separators import clear_separator, single_item
from papertune.pipelines.init.guess import in_a_line, name_in_text
from papertune.pipelines.init.label_cells import MAX_LABELS, LabelCounts, count_labels, count_parts
from papertune.pipelines.init.toml_text import comment, key, quote
from papertune.tables import Table
from papertune.templates import escaped

# Most tokens are longer, also in Chinese, whose characters have three bytes.
_BYTES_PER_TOKEN = 3
_MAX_ANSWER_TOKENS = 512
# Labels that are longer together are not repeated in the question: it takes tokens from the document.
_MAX_ASKED_CHARS = 300
_POSITIVE = ("1", "yes", "y", "true", "include", "included", "relevant", "positive", "是", "纳入")


def column_lines(table: Table, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the lines for the columns to learn, by kind.

    Raises:
        TableError: If a column does not have the cells of its kind.
    """
    writers: dict[str, Callable[[Table, str, bool], list[str]]] = {
        "label": _label_lines,
        "labels": _label_set_lines,
        "keywords": _keyword_lines,
        "text": _free_text_lines,
        "number": _number_lines,
    }
    lines: list[str] = []
    for kind, write in writers.items():
        for name in columns.get(kind, ()):
            # Questions must differ: one that says nothing of the column can only be asked once.
            lines += ["", f"[columns.{key(name)}]", *write(table, name, len(columns[kind]) > 1)]
    return lines


def label_notes(table: Table, names: Sequence[str]) -> list[str]:
    """Return what a user should know about the cells of label columns, a sentence each."""
    notes: list[str] = []
    for name in names:
        counts = count_labels(table, name)
        place = f"{table.source}, column {quoted(name)}"
        for label, others in counts.spellings.items():
            verb = "is" if len(others) == 1 else "are"
            notes.append(
                f"{place}: {in_a_line(others)} {verb} read as the label {in_a_line([label])}. If they are different "
                "labels, write them all into the recipe's labels."
            )
        if counts.unlabelled:
            blank = counts.unlabelled[""]
            empty = f"{blank:,} empty cell{'s' if blank > 1 else ''}" if blank else ""
            markers = [f"{rows:,} with {marker}" for marker, rows in counts.unlabelled.items() if marker]
            cells = ", ".join(filter(None, [empty, *markers]))
            notes.append(
                f"{place}: read as not labelled: {cells}. Such rows are not learned. If that is wrong, correct "
                "unlabelled in the recipe."
            )
    return notes


def answer_tokens(table: Table, name: str) -> int:
    """Return a limit for answers in tokens, in steps of 16, from the longest cell."""
    longest = max((len(cell.strip().encode()) for cell in table.frame[name]), default=0)
    return min(max(16, -(-longest // _BYTES_PER_TOKEN // 16) * 16), _MAX_ANSWER_TOKENS)


def _label_lines(table: Table, name: str, is_one_of_several: bool) -> list[str]:
    counts = count_labels(table, name)
    if not 2 <= len(counts.rows) <= MAX_LABELS:
        raise TableError(
            f"{table.source}, column {quoted(name)}: {len(counts.rows)} different cells; a label column has 2 to "
            f"{MAX_LABELS}. Choose another column."
        )
    asked = ", ".join(counts.rows)
    ending = f"with one of: {asked}." if len(asked) <= _MAX_ASKED_CHARS else "with its label."
    unlabelled = ", ".join(map(quote, counts.unlabelled))
    remark = ", ".join(f"{text or 'empty'} in {rows:,} rows" for text, rows in counts.unlabelled.items())
    return [
        'kind = "label"',
        f"question = {quote(f'What is the {name_in_text(name)} of this paper? Answer {ending}')}",
        f"labels = [{', '.join(map(quote, _first_of_two_first(counts.rows)))}]   # {comment(_balance(counts))}",
        *([f"unlabelled = [{unlabelled}]   # not learned: {comment(remark)}"] if unlabelled else []),
        "# abstain_for_accuracy = 0.98   # abstain below the confidence for it; needs --dev or --dev-fraction",
    ]


def _balance(counts: LabelCounts) -> str:
    """Return the rows of the most frequent labels, with their other spellings."""
    parts = []
    for label, rows in counts.rows.most_common(5):
        others = counts.spellings.get(label)
        parts.append(f"{label} in {rows:,} rows" + (f" (also {in_a_line(others)})" if others else ""))
    return ", ".join(parts)


def _first_of_two_first(counts: Counter[str]) -> list[str]:
    """Return the labels, the most frequent first; of two the one that is looked for: by its word, or the rarer one."""
    if len(counts) != 2:
        return list(counts)
    return sorted(counts, key=lambda label: (label.casefold() not in _POSITIVE, counts[label]))


def _label_set_lines(table: Table, name: str, is_one_of_several: bool) -> list[str]:
    counts = count_parts(table, name)
    if not 1 <= len(counts.rows) <= MAX_LABELS:
        raise TableError(
            f"{table.source}, column {quoted(name)}: {len(counts.rows)} different labels; a labels column has 1 to "
            f"{MAX_LABELS}. Choose another column, or --keywords."
        )
    empty = sum(1 for cell in table.frame[name] if not single_item(cell).strip())
    about = (
        f"Does the {escaped(name_in_text(name))} of this paper include" if is_one_of_several else "Is this paper about"
    )
    return [
        'kind = "labels"          # none, one or several of the labels; an empty cell means none',
        f"question = {quote(about + ' {label}? Answer yes or no.')}",
        f"labels = [{', '.join(map(quote, counts.rows))}]   # {comment(_balance(counts))}, none in {empty:,} rows",
        *_separator_lines(table, name),
        '# thresholds = "f1"      # with --dev or --dev-fraction: the best for each label, not 0.5',
    ]


def _keyword_lines(table: Table, name: str, is_one_of_several: bool) -> list[str]:
    separator = clear_separator(table.frame[name])
    counts = [count for cell in table.frame[name] if (count := len(read_keywords(cell, separator)))]
    mean = sum(counts) / max(1, len(counts))  # of the rows with keywords; the others are not learned
    count = max(1, round(mean))
    asked = f"one of the {name_in_text(name)}" if is_one_of_several else "one keyword"
    return [
        'kind = "ranked_keywords"',
        f"question = {quote(f'Name {asked} of this paper.')}",
        f"count = {count}                # maximum of written keywords; the table has {mean:.1f} a row",
        *([f"beams = {2 * count}"] if count > 8 else []),
        *_separator_lines(table, name),
        '# sources = ["words", "encoder", "model"]   # with a sentence encoder: better keywords, more slowly',
    ]


def _separator_lines(table: Table, name: str) -> list[str]:
    """Return the line for the sign that clearly separates the items of a column's cells, other than semicolons."""
    separator = clear_separator(table.frame[name])
    return [f"input_separator = {quote(separator)}   # most cells have it"] if separator else []


def _free_text_lines(table: Table, name: str, is_one_of_several: bool) -> list[str]:
    cells = [cell.strip() for cell in table.frame[name]]
    longest = max(map(len, cells), default=0)
    empty = cells.count("")
    hint = f'# empty = "not stated"   # the answer to learn for the {empty:,} empty cells; now they are not learned'
    return [
        'kind = "text"',
        f"question = {quote(f'What is the {name_in_text(name)} of this paper?')}",
        f"max_new_tokens = {answer_tokens(table, name)}      # the longest cell has {longest:,} characters",
        *([hint] if empty else []),
        '# decoding = "beams"     # a search for the best answer: slower, sometimes better',
    ]


def _number_lines(table: Table, name: str, is_one_of_several: bool) -> list[str]:
    question = f"What is the {name_in_text(name)} of this paper? Answer with a number, or: not stated."
    cells = [cell for cell in table.frame[name] if cell.strip()]
    unit = guess_unit(cells)
    whole, any_number = (
        _numbers(cells, NumberColumn(kind="number", question=question, integer=integer, unit=unit))
        for integer in (True, False)
    )
    numbers = whole if len(whole) >= len(any_number) else any_number
    if not numbers:
        raise TableError(
            f"{table.source}, column {quoted(name)}: no cell holds a number. Choose another column, or --text."
        )
    unread = len(cells) - len(numbers)
    remark = f"; {unread:,} not read, see papertune check" if unread else ""
    minimum = "minimum = 0" if min(numbers) >= 0 else f"# minimum = {min(numbers):f}"
    return [
        'kind = "number"',
        f"question = {quote(question)}",
        f"{minimum}            # the table has {min(numbers):f} to {max(numbers):f}{remark}",
        *(["integer = true"] if numbers is whole else []),
        f"unit = {quote(unit)}" if unit else '# unit = "patients"     # text beside the number in a cell',
    ]


def _numbers(cells: Sequence[str], column: NumberColumn) -> list[Decimal]:
    """Return the numbers of the cells that a column reads."""
    resolved = column.resolve_cells(cells)
    read = (column.read_answer(resolved.get(cell, cell)) for cell in cells)
    return [Decimal(number) for number in read if number is not None and number != column.empty]
