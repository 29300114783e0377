"""ANSWERS.md: how to ask an export so that its answers are the run's."""

from collections.abc import Sequence

from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.exports.base_model import base_title
from papertune.exports.format import Exported, ExportFormat
from papertune.exports.sample import label_tries, node_ids
from papertune.kinds import AskedSpec
from papertune.kinds.label.join_words import answered_by
from papertune.prompts.examples import make_prompt

CHECK_FILE = "check.json"


def answers_page(exported: Exported, export: ExportFormat) -> str:
    """Return the page, Markdown."""
    recipe = exported.run.recipe
    tries = label_tries(exported)
    example = next((sorted({token for path in trie.paths for _, token in path[:1]}) for trie in tries.values()), [])
    parts = [
        f"# Asking {exported.name}",
        f"""This folder is made from a run of papertune for {export.title}. {_weights(exported)}
It answers as the run's model does if prompts have the same tokens. It has nothing else of the run: what papertune does
before and after the model is described here.""",
        "## Serve it",
        export.serving(exported, example),
        "## The prompt",
        _prompt(exported),
    ]
    for name, column in recipe.questions.items():
        parts += [f"## {name}", _question(exported, name, column, tries.get(name))]
    parts += _decisions(exported)
    parts += ["## Check the export", _check(exported)]
    return "\n\n".join(parts) + "\n"


def _weights(exported: Exported) -> str:
    base = base_title(exported.run)
    if exported.adapter:
        return f"It holds the adapter for {base}."
    how = "with the adapter added" if exported.run.directory.adapter.is_dir() else "trained further"
    return f"Its weights are those of {base}, {how}, in {exported.weights}."


def _prompt(exported: Exported) -> str:
    before_ids, before, after = exported.encoder.frame()
    recipe = exported.run.recipe
    shown = make_prompt(recipe.layout, "DOCUMENT", "QUESTION")
    begin = f"The token ids begin with {before_ids}, which are not in the text. " if before_ids else ""
    return f"""The text is, with nothing before or after it:

{_block(f"{before}{shown.before}{shown.document}{shown.after}{after}")}

DOCUMENT is the row in this template:

{_block(recipe.table.document)}

{_CLEANED if recipe.table.clean else ""}{begin}Special tokens stand in the template only; the document and the question
are plain text, also where they look like a special token. A document is truncated until the prompt has at most
{exported.encoder.max_prompt_tokens:,} tokens. Do not let the server add a begin token, another template or a system
message."""


_CLEANED = "papertune takes marks of other programs (tags, entities, broken lines) out of the cells first.\n"


def _question(exported: Exported, name: str, column: AskedSpec, trie: LabelTrie | None) -> str:
    asked = (
        _block(column.question)
        if column.question_column is None
        else f"The question stands in the table's column {column.question_column}."
    )
    if trie is not None:
        return f"QUESTION is:\n\n{asked}\n\n{_labels(trie, column.joined_labels)}"
    return f"""QUESTION is:

{asked}

The answer is written: temperature 0 (always the most probable token), no repetition penalty, at most
{column.max_answer_tokens(exported.encoder)} tokens, until token {exported.encoder.end_id}. This is a column of kind
{column.kind}: papertune may choose among several answers and tidies what was written, so single cells can differ from
those of `papertune predict`."""


def _labels(trie: LabelTrie, labels: Sequence[str]) -> str:
    """Return which tokens are read, and how they become probabilities."""
    rows = ["| label | token ids |", "| --- | --- |"]
    for label, path in zip(labels, trie.paths, strict=True):
        steps = (f"{token} after {node_ids(trie, node)}" if node >= 0 else str(token) for node, token in path)
        rows.append(f"| {_cell(label)} | {', then '.join(steps) or 'none: certain'} |")
    table = "\n".join(rows)
    if not trie.tokens:
        return f"""Nothing has to be written: the tokens of the labels are compared directly after the prompt.

{table}

The probability of a label is the share of its token: exp(its log-probability), divided by the sum of that over these
tokens. Other tokens do not count, and may well be more probable."""
    begin = """Nothing has to be written: these tokens are compared directly after the prompt, or after the prompt
and the token ids in brackets."""
    if trie.choices:
        return f"""{begin}

{table}

A token's share is exp(its log-probability), divided by the sum of that over the tokens of this table in the same place.
The probability of a label is the product of its shares."""
    return f"""{begin}

{table}

The score of a label is the sum of the log-probabilities, over the whole vocabulary, of its tokens. Its probability is
exp(score), divided by the sum of that over the labels."""


def _decisions(exported: Exported) -> list[str]:
    """Return what the run does with probabilities and an export does not."""
    run = exported.run
    lines: list[str] = []
    for name, join in run.joins.items():
        lines.append(
            f"- {name}: the run answers with {answered_by(join)}; this folder has the fine-tuned model alone, so its "
            "labels and probabilities differ from the run's."
        )
    for name, decision in run.decisions.items():
        joined = "after the join, " if run.joins.keys() & run.recipe.questions_of(name).keys() else ""
        lines += [f"- {name}: {joined}{each}" for each in run.recipe.columns[name].decision_in_words(decision)]
    if not lines:
        return []
    head = "The run goes on from the probabilities above. Where the same is wanted here, it has to be computed."
    return ["## After the model", "\n".join([head, "", *lines])]


def _check(exported: Exported) -> str:
    return f"""{CHECK_FILE} has prompts as token ids. For each, `probabilities` has the probability of each label before
calibration, computed by the run's model in float32; ask the server for the same and compare. `next` has natural
log-probabilities over the whole vocabulary, after the prompt and the ids of `after_ids`. A prompt whose `prompt_text`
is null has no text with the same tokens.

float16 changes a probability by about 0.001, bfloat16 and 8 bits by a few hundredths. A difference of 0.1 in most
prompts means other tokens, a sampling setting, or other weights.{_adapter_note(exported)}"""


def _adapter_note(exported: Exported) -> str:
    return " The numbers are those of the adapter on the base model that it was trained on." if exported.adapter else ""


def _block(text: str) -> str:
    """Return text as a block of Markdown that shows each character."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
