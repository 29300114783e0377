"""From examples to encoded training rows and their losses."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.errors import RecipeError
from papertune.kinds import AskedSpec
from papertune.prompts import PromptEncoder, shared_prefix
from papertune.prompts.examples import Example, examples_by_document
from papertune.training.answers.batch import VOCABULARY, Question, TrainingRow
from papertune.training.answers.label_sets import LabelSet, chance_loss

# Maximum tokens of questions and answers after one document. The attention mask of a row grows with the square of its
# tokens: with hundreds of labels it would take gigabytes, so the document is then repeated.
MAX_QUESTION_TOKENS = 1024


@dataclass(frozen=True)
class EncodedExamples:
    """The encoded examples of a training.

    Attributes:
        rows: The rows, in the order of the examples; with the document first, examples of one table row share a row.
        label_sets: The label sets that a loss runs over.
        truncated: Number of truncated documents.
        left_out: Number of parts of answers that were too long, by column; columns without any are missing.
    """

    rows: list[TrainingRow]
    label_sets: list[LabelSet]
    truncated: int
    left_out: dict[str, int]


def encode_examples(
    examples: Sequence[Example],
    columns: Mapping[str, AskedSpec],
    encoder: PromptEncoder,
    owners: Mapping[str, str] | None = None,
) -> EncodedExamples:
    """Encode examples for training.

    Args:
        examples: The examples.
        columns: The recipe's questions.
        encoder: Encodes prompts and answers.
        owners: The recipe's column of each question; None: the question itself.

    Raises:
        RecipeError: If labels have the same tokens in this model, or a question or all keywords of a column are too
            long.
    """
    gold: dict[str, list[str]] = {name: [] for name in columns}
    for example in examples:
        gold[example.column].append(example.answer)
    weights: dict[str, dict[str, float]] = {}
    for name, column in columns.items():
        column.check_tokens(encoder)
        weights[name] = column.answer_weights(gold[name])
    label_sets, set_of_question = _label_sets(examples, columns, encoder, owners or {}, weights)
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
            label_set = set_of_question.get(name, VOCABULARY)
            trie: LabelTrie | None = None
            if label_set == VOCABULARY:
                answers = column.encode_answers(example.answer, encoder)
                left_out[name] += column.count_left_out(example.answer, answers, encoder)
            else:
                answers = [[(column.loss_labels or ()).index(example.answer)]]
                whole = label_sets[label_set].trie
                trie = whole if whole.tokens else None
            if answers:
                learned.add(name)
                weight = weights[name].get(example.answer, 1.0)
                asked.append((prompt.ids, Question(answers, label_set, weight, share=example.share, trie=trie)))
        rows += _rows(asked)
    for name, column in columns.items():
        if left_out[name] and name not in learned:
            raise RecipeError(f"{column.left_out_in_words(name, left_out[name])} No answer is left; raise the limit.")
    return EncodedExamples(rows, label_sets, truncated, dict(+left_out))


def _label_sets(
    examples: Sequence[Example],
    columns: Mapping[str, AskedSpec],
    encoder: PromptEncoder,
    owners: Mapping[str, str],
    weights: Mapping[str, Mapping[str, float]],
) -> tuple[list[LabelSet], dict[str, int]]:
    """Return the label sets, and the index of the label set of each question that has one."""
    sums: dict[str, dict[str, float]] = {name: {} for name in columns}
    for example in examples:
        of_answer, weight = sums[example.column], weights[example.column].get(example.answer, 1.0)
        of_answer[example.answer] = of_answer.get(example.answer, 0.0) + weight * example.share
    questions: dict[tuple[str, LabelTrie], list[str]] = {}
    for name, column in columns.items():
        if column.loss_labels is not None:
            trie = LabelTrie.of_choices(encoder.label_ids(column.loss_labels), encoder.end_id)
            questions.setdefault((owners.get(name, name), trie), []).append(name)
    found: list[LabelSet] = []
    set_of_question: dict[str, int] = {}
    for (owner, trie), names in questions.items():
        set_of_question |= dict.fromkeys(names, len(found))
        found.append(LabelSet(owner, trie, chance_loss([list(sums[name].values()) for name in names])))
    return found, set_of_question


def _rows(asked: Sequence[tuple[list[int], Question]]) -> list[TrainingRow]:
    """Make rows in which the questions about one document share its pass, if most of the prompt is shared."""
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
