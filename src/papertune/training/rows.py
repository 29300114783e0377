"""From examples to encoded training rows, and which loss each one has."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from papertune.errors import RecipeError
from papertune.kinds import AskedSpec
from papertune.prompts import PromptEncoder, shared_prefix
from papertune.prompts.examples import Example, examples_by_document
from papertune.training.batch import VOCABULARY, Question, TrainingRow

# Tokens of questions and answers behind one document. The mask of a row has a place for each pair of its tokens; a
# column of hundreds of labels would take gigabytes, so it passes its document several times.
MAX_QUESTION_TOKENS = 1024


@dataclass(frozen=True)
class EncodedExamples:
    """What training needs of the examples.

    Attributes:
        rows: In the examples' order; examples of one row of the table share one where its document stands first.
        label_tokens: The label sets that a loss runs over, each as the token ids of its labels.
        truncated: How many documents were too long for the prompt.
        left_out: How many parts of answers were too long, by column; columns without any are left out.
    """

    rows: list[TrainingRow]
    label_tokens: list[list[int]]
    truncated: int
    left_out: dict[str, int]


def encode_examples(
    examples: Sequence[Example], columns: Mapping[str, AskedSpec], encoder: PromptEncoder
) -> EncodedExamples:
    """Encode examples for training.

    Args:
        examples: The examples.
        columns: The recipe's questions.
        encoder: Of prompts and answers.

    Raises:
        RecipeError: If labels cannot be told apart in this model, a question is too long, or all keywords of a column
            are.
    """
    gold: dict[str, list[str]] = {name: [] for name in columns}
    for example in examples:
        gold[example.column].append(example.answer)
    label_tokens: list[list[int]] = []
    label_sets: dict[str, int] = {}
    weights: dict[str, dict[str, float]] = {}
    for name, column in columns.items():
        column.check_tokens(encoder)
        weights[name] = column.answer_weights(gold[name])
        if (tokens := column.label_tokens(encoder)) is not None:
            if tokens not in label_tokens:  # the labels of a labels column all have the same yes and no
                label_tokens.append(tokens)
            label_sets[name] = label_tokens.index(tokens)
    rows: list[TrainingRow] = []
    truncated = 0
    left_out: Counter[str] = Counter()
    learned: set[str] = set()
    for together in examples_by_document(examples):
        asked: list[tuple[list[int], Question]] = []
        for example in together:
            name, column = example.column, columns[example.column]
            prompt = encoder.encode(example.prompt)
            truncated += prompt.truncated
            label_set = label_sets.get(name, VOCABULARY)
            if label_set == VOCABULARY:
                answers = column.encode_answers(example.answer, encoder)
                left_out[name] += column.count_left_out(example.answer, answers, encoder)
            else:
                answers = [[column.label_index(example.answer)]]
            if answers:
                learned.add(name)
                weight = weights[name].get(example.answer, 1.0)
                asked.append((prompt.ids, Question(answers, label_set, weight, share=example.share)))
        rows += _rows(asked)
    for name, column in columns.items():
        if left_out[name] and name not in learned:
            raise RecipeError(column.nothing_learned(name))
    return EncodedExamples(rows, label_tokens, truncated, dict(+left_out))


def _rows(asked: Sequence[tuple[list[int], Question]]) -> list[TrainingRow]:
    """Let the questions about one document share its pass, where most of the prompt is shared."""
    prompts = [ids for ids, _ in asked]
    shared = shared_prefix(prompts) if len(asked) > 1 else 0
    if len(asked) < 2 or 2 * shared < max(map(len, prompts)):
        return [TrainingRow(ids, [question]) for ids, question in asked]
    rows: list[TrainingRow] = []
    tokens = 0
    for ids, question in asked:
        behind = replace(question, ids=ids[shared:])
        tokens += behind.tokens
        if not rows or tokens > MAX_QUESTION_TOKENS:
            rows.append(TrainingRow(prompts[0][:shared], []))
            tokens = behind.tokens
        rows[-1].questions.append(behind)
    return rows
