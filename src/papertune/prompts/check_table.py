"""Check whether a table fits a recipe, and report all problems together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from papertune.errors import Sentence, listed, quoted
from papertune.kinds.findings import Findings, GoldCheck, Purpose, count_in_warning, shorten
from papertune.kinds.output_names import ROW, given_column
from papertune.metrics.phrases import is_mostly_cjk
from papertune.prompts.documents import clean_column, marks_found
from papertune.prompts.examples import RowReader, prompt_columns, reads_entries
from papertune.recipe import Recipe
from papertune.suggest import did_you_mean
from papertune.tables import Table
from papertune.tables.problems import Places
from papertune.templates import template_columns

if TYPE_CHECKING:
    from polars import Series

# Longer than any abstract: a whole paper, or several rows in one cell.
LONG_DOCUMENT_CHARS = 50_000
# As many rows show in which language a table is.
_LANGUAGE_ROWS = 50
# Instructions that are no question of the recipe are named one by one, up to this number.
MAX_TEXTS_SHOWN = 3


def check_table(table: Table, recipe: Recipe, purpose: Purpose = "train") -> Findings:
    """Check a table against a recipe, for training, prediction or scoring.

    Args:
        table: The table.
        recipe: The recipe.
        purpose: For "train" and "score" the table needs at least one of the recipe's columns. For "score" the cells of
            a label column may be empty.

    Returns:
        All problems and warnings.
    """
    findings = Findings()
    if reads_entries(table, recipe):
        _check_instructions(table, recipe, purpose, findings)
    else:
        _check_columns(table, recipe, purpose, findings)
        _check_ids(table, recipe, findings)
    _check_questions(table, recipe, findings)
    _check_documents(table, recipe, findings)
    if purpose == "train":
        _warn_of_language(table, recipe, findings)
    if purpose != "predict":
        reader = RowReader(table, recipe)
        for name, column in recipe.columns.items():
            labels = column.question_of_label(name)
            column.check_gold(GoldCheck(table, reader, name, purpose, labels, findings))
    return findings


def check_documents(table: Table, recipe: Recipe) -> Findings:
    """Check only that a table has the columns of the documents; warn of rows without any text."""
    findings = Findings()
    if not reads_entries(table, recipe):
        _check_needed(table, dict.fromkeys(template_columns(recipe.table.document), "table.document"), findings)
    if not findings.problems:
        reader = RowReader(table, recipe)
        empty = (row for row in range(len(table)) if reader.is_empty(row))
        name = "input" if reads_entries(table, recipe) else template_columns(recipe.table.document)[0]
        count_in_warning(findings, table, name, Sentence("{} without any text, left out", "no_text"), empty)
    return findings


def _check_columns(table: Table, recipe: Recipe, purpose: Purpose, findings: Findings) -> None:
    needed = {name: "table.document" for name in template_columns(recipe.table.document)}
    needed |= {
        each.question_column: f"columns.{n}.question" for n, each in recipe.questions.items() if each.question_column
    }
    if recipe.table.id is not None:
        needed[recipe.table.id] = "table.id"
    _check_needed(table, needed, findings)
    if purpose != "predict":
        missing = [name for name in recipe.columns if name not in table.columns]
        if len(missing) == len(recipe.columns):
            text = (
                f"{table.source} has none of the columns to {'learn' if purpose == 'train' else 'score'} "
                f"({listed(missing)}). It has: {listed(table.columns)}. Name the recipe's [columns] as the table "
                "does."
            )
            findings.problems.append(Sentence(text, "no_gold_columns", names=listed(missing)))
        else:
            how = "learned from this table" if purpose == "train" else "scored"
            findings.warnings += [
                Sentence(
                    f"{table.source} has no column {quoted(name)}; it is not {how}.{did_you_mean(name, table.columns)}",
                    "column_left_out",
                    name=name,
                )
                for name in missing
            ]


def _check_needed(table: Table, needed: Mapping[str, str], findings: Findings) -> None:
    """Check that a table has columns, given with the keys of the recipe that name them."""
    for name, key in needed.items():
        if name not in table.columns:
            hint = did_you_mean(name, table.columns) or f" It has: {listed(table.columns)}."
            text = f"{table.source} has no column {quoted(name)}, which {key} names.{hint}"
            findings.problems.append(Sentence(text, "missing_column", name=name, key=key))


def _check_instructions(table: Table, recipe: Recipe, purpose: Purpose, findings: Findings) -> None:
    if purpose != "predict" and "output" not in table.columns:
        nothing = "nothing to learn" if purpose == "train" else "nothing to score"
        kind = " They are pairs of answers, for the stages rm and dpo." if "chosen" in table.columns else ""
        text = f"{table.source}: its entries have no output, so there is {nothing}.{kind}"
        findings.problems.append(Sentence(text, "no_output"))
    if purpose == "train" and "kto_tag" in table.columns:
        text = (
            f"{table.source}: its entries have kto_tag, so some answers are bad and must not be learned. Learn from "
            "them with the stage kto, or remove that column and the bad answers."
        )
        findings.problems.append(Sentence(text, "judged_answers"))
    reader = RowReader(table, recipe)
    _warn_of_unused_keys(table, recipe, findings)
    _check_asked(table, recipe, reader, findings)
    silent: list[int] = []
    wrong_history: list[int] = []
    for row in range(len(table)):
        if not reader.document(row).strip() and reader.asks_own_question(row):
            silent.append(row)
        try:
            reader.history(row)
        except ValueError:
            wrong_history.append(row)
    if silent:
        text = (
            f"{table.where(silent[0], 'instruction')}: the entry has neither an instruction nor an input"
            f"{_counted(silent)}. Fill in or remove the entry."
        )
        _add_first(findings, table, silent, "instruction", Sentence(text, "empty_entry"))
    if wrong_history:
        text = (
            f"{table.where(wrong_history[0], 'history')}: not a list of [question, answer] pairs"
            f"{_counted(wrong_history)}. Correct or empty the cell."
        )
        _add_first(findings, table, wrong_history, "history", Sentence(text, "broken_history"))


def _add_first(findings: Findings, table: Table, rows: Sequence[int], column: str, text: Sentence) -> None:
    """Add a problem of several entries, at the first of them."""
    number = table.number(rows[0])
    said = Sentence(text, text.code, **text.params, number=number, column=column, count=len(rows))
    findings.add_problem(said, rows[0], column)


def _counted(rows: Sequence[int]) -> str:
    """Return how many entries share the problem of the first."""
    return "" if len(rows) == 1 else f" ({len(rows):,} entries, this is the first)"


def _check_asked(table: Table, recipe: Recipe, reader: RowReader, findings: Findings) -> None:
    """Check that the instructions are questions of the recipe."""
    unknown = [row for row in range(len(table)) if not reader.asked(row)]
    texts: dict[str, list[int]] = {}
    for row in unknown:
        texts.setdefault(table.frame["instruction"][row], []).append(row)
    if len(texts) > 1 and not any(reader.document(row).strip() for row in unknown):
        text = (
            f"{table.where(unknown[0], 'instruction')}: {len(unknown):,} entries have no input, and instructions that "
            "are not a question of the recipe (this is the first). If the document is in the instruction, move it "
            "to input; to learn any instructions, use the recipe instruct (-r instruct)."
        )
        _add_first(findings, table, unknown, "instruction", Sentence(text, "entries_without_input"))
        return
    questions = " | ".join(column.question for column in recipe.questions.values())
    remedy = "Set the question of its column to this text."
    if len(texts) > MAX_TEXTS_SHOWN:
        remedy = (
            f"Nor are {len(texts) - 1:,} other texts: write the question of a column there, or use the recipe instruct "
            "(-r instruct), which reads any instruction."
        )
        texts = {table.frame["instruction"][unknown[0]]: unknown}
    for asked, rows in texts.items():
        text = (
            f"{table.where(rows[0], 'instruction')}: {shorten(asked)!r} is not a question of the recipe "
            f"({questions}){_counted(rows)}. {remedy}"
        )
        _add_first(findings, table, rows, "instruction", Sentence(text, "unknown_question", value=asked))


def _warn_of_unused_keys(table: Table, recipe: Recipe, findings: Findings) -> None:
    """Warn of keys of an instruction file that are not read, as far as people wrote them."""
    known = {"output", "id", ROW, recipe.table.id, *table.derived, *prompt_columns(table, recipe)}
    known |= {*recipe.columns, *map(given_column, recipe.columns)}
    known |= {each.title for name, column in recipe.columns.items() for each in column.output_columns(name)}
    counts = []
    for name in table.columns:
        cells = table.frame[name]
        # What instruction and history were derived from is read.
        is_conversation = bool(table.derived) and cells.str.starts_with("[").all()
        if name not in known and not is_conversation and (count := int((cells != "").sum())):
            counts.append(f"{quoted(name)} ({count:,} of {len(table):,} entries)")
    if counts:
        text = f"{table.source}: not used of its entries: {', '.join(counts)}."
        findings.warnings.append(Sentence(text, "unused_keys", names=", ".join(counts)))


def _check_questions(table: Table, recipe: Recipe, findings: Findings) -> None:
    """Warn of column names in a question that are not filled in."""
    for name, column in recipe.columns.items():
        if name not in recipe.questions or column.question_column is not None:
            continue
        named = [other for other in table.columns if f"{{{other}}}" in column.question]
        findings.warnings += [
            Sentence(
                f'columns.{name}.question: "{{{other}}}" is not filled in from {table.source}. Only a '
                "question that is just a column's name in braces is.",
                "braces_in_question",
                column=name,
                name=other,
            )
            for other in named
        ]


def _check_ids(table: Table, recipe: Recipe, findings: Findings) -> None:
    if recipe.table.id is None or recipe.table.id not in table.columns:
        return
    cells = table.frame[recipe.table.id]
    first: dict[str, int] = {}  # repeated ids only, since all ids of a large table take much memory
    again = Places()
    for row, (value, repeated) in enumerate(zip(cells, cells.is_duplicated(), strict=True)):
        if not value.strip():
            empty = Sentence("the cell is empty. Give the row an id.", "empty_id")
            findings.problem(table, row, recipe.table.id, empty)
        elif value in first:
            again.add(f"{table.number(row):,}")
            if again.count == 1:
                position, again_at = len(findings.problems), row
                what = f"{table.where(row, recipe.table.id)}: the id {quoted(value)} is already at "
                findings.add_problem(what + table.where(first[value]), row, recipe.table.id)
        elif repeated:
            first[value] = row
    if again.count:
        remedy = "Make ids unique, or leave table.id out of the recipe."
        text = f"{findings.problems[position]}{again.others()}. {remedy}"
        number, column = table.number(again_at), recipe.table.id
        said = Sentence(text, "repeated_id", number=number, column=column, count=again.count, value=cells[again_at])
        findings.problems[position] = said


def _warn_of_language(table: Table, recipe: Recipe, findings: Findings) -> None:
    from papertune.models.known import KNOWN_MODELS  # with torch, which training needs anyway

    known = KNOWN_MODELS.get(recipe.model)
    names = ["input"] if reads_entries(table, recipe) else template_columns(recipe.table.document)
    cells = [cell for name in names if name in table.columns for cell in table.frame[name][:_LANGUAGE_ROWS]]
    if known is not None and known.is_english and is_mostly_cjk(cells) and any(map(str.strip, cells)):
        findings.warnings.append(
            f"{table.source}: most of the text is Chinese, Japanese or Korean, and the model {quoted(recipe.model)} "
            "knows only English. Name another one as model in the recipe."
        )


def _check_documents(table: Table, recipe: Recipe, findings: Findings) -> None:
    is_entries = reads_entries(table, recipe)
    reader = RowReader(table, recipe)
    names = ["input"] if is_entries else template_columns(recipe.table.document)
    cleaned: dict[str, Series] = {}
    for name in (name for name in names if name in table.columns):
        cells = table.frame[name]
        if recipe.table.clean and not is_entries:
            for what, rows in marks_found(cells):
                count_in_warning(findings, table, name, what, iter(rows))
            cells = clean_column(table, name)
        cleaned[name] = cells
        # An entry that asks nothing is a problem already.
        blank = (r for r, cell in enumerate(cells) if not cell.strip() and reader.asked(r))
        empty = (r for r in blank if not reader.asks_own_question(r))
        count_in_warning(findings, table, name, Sentence("{} empty", "empty_document_cells"), empty)
        text = f"{{}} longer than {LONG_DOCUMENT_CHARS:,} characters; only the beginning is read"
        long = Sentence(text, "long_documents", limit=LONG_DOCUMENT_CHARS)
        lengths = cells.str.len_chars()
        count_in_warning(findings, table, name, long, (r for r, n in enumerate(lengths) if n > LONG_DOCUMENT_CHARS))
    # An instruction file, or a table with questions, repeats a document for each question.
    has_questions = is_entries or any(column.question_column for column in recipe.questions.values())
    if names[0] in table.columns and not has_questions:
        repeated = cleaned[names[0]].is_duplicated() & (cleaned[names[0]] != "")
        same = Sentence("{} the same as in another row", "same_cells")
        count_in_warning(findings, table, names[0], same, (r for r, d in enumerate(repeated) if d))
