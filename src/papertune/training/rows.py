"""From examples to encoded training rows, and which loss each one has."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from papertune.errors import RecipeError
from papertune.kinds import AskedColumn, LabelColumn, RankedKeywordsColumn
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.label.cells import balanced_weights
from papertune.prompts import PromptEncoder, shared_prefix
from papertune.prompts.examples import Example, examples_by_document
from papertune.training.batch import VOCABULARY, Question, TrainingRow

# Tokens of questions and answers behind one document. The mask of a row has a place for each pair of its tokens; a
# column of hundreds of labels would take gigabytes, so it passes its document several times.
MOST_QUESTION_TOKENS = 1024


@dataclass(frozen=True)
class EncodedExamples:
    """What training needs of the examples.

    Attributes:
        rows: In the examples' order; examples of one row of the table share one where its document stands first.
        label_tokens: The label sets that a loss runs over, each as the token ids of its labels.
        shortened: How many documents were too long for the prompt.
        left_out: How many ranked keywords were too long, by column; columns without any are left out.
    """

    rows: list[TrainingRow]
    label_tokens: list[list[int]]
    shortened: int
    left_out: dict[str, int]


def encode_examples(
    examples: Sequence[Example], columns: Mapping[str, AskedColumn], encoder: PromptEncoder
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
    label_tokens: list[list[int]] = []
    label_sets: dict[str, int] = {}
    weights: dict[str, dict[str, float]] = {}
    given: dict[str, list[str]] = {name: [] for name in columns}
    for example in examples:
        given[example.column].append(example.answer)
    for name, column in columns.items():
        if isinstance(column, LabelColumn):
            if encoder.scores_label_set(column):
                tokens = [ids[0] for ids in encoder.label_ids(column.labels)]
                if tokens not in label_tokens:  # the labels of a labels column all have the same yes and no
                    label_tokens.append(tokens)
                label_sets[name] = label_tokens.index(tokens)
            weights[name] = _weights(column, given[name])
    rows: list[TrainingRow] = []
    shortened = 0
    left_out: Counter[str] = Counter()
    learnt: set[str] = set()
    for together in examples_by_document(examples):
        asked: list[tuple[list[int], Question]] = []
        for example in together:
            column = columns[example.column]
            prompt = encoder.encode(example.prompt)
            shortened += prompt.shortened
            label_set, weight = label_sets.get(example.column, VOCABULARY), 1.0
            if isinstance(column, LabelColumn):
                weight = weights[example.column][example.answer]
            if isinstance(column, LabelColumn) and label_set != VOCABULARY:
                answers = [[column.labels.index(example.answer)]]
            else:
                answers = encoder.encode_answers(example.answer, column)
            if isinstance(column, RankedKeywordsColumn):
                left_out[example.column] += len(split_keywords(example.answer)) - len(answers)
            if answers:
                learnt.add(example.column)
                asked.append((prompt.ids, Question(answers, label_set, weight, share=example.share)))
        rows += _rows(asked)
    for name, column in columns.items():
        if isinstance(column, RankedKeywordsColumn) and left_out[name] and name not in learnt:
            raise RecipeError(
                f"columns.{name}.max_keyword_tokens is {column.max_keyword_tokens}, but every keyword of the tables "
                "has more tokens in this model. Raise it."
            )
    return EncodedExamples(rows, label_tokens, shortened, dict(+left_out))


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
        if not rows or tokens > MOST_QUESTION_TOKENS:
            rows.append(TrainingRow(prompts[0][:shared], []))
            tokens = behind.tokens
        rows[-1].questions.append(behind)
    return rows


def _weights(column: LabelColumn, given: Iterable[str]) -> dict[str, float]:
    if column.weights is None:
        return dict.fromkeys(column.labels, 1.0)
    if column.weights == "balanced":
        return balanced_weights(given, column.labels)
    return column.weights
