"""From examples to encoded training rows and their losses."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from papertune.decoding.label_scoring import LabelTrie
from papertune.errors import RecipeError
from papertune.kinds import AskedSpec
from papertune.prompts import PromptEncoder, shared_prefix
from papertune.prompts.examples import Example, examples_by_document
from papertune.training.batch import VOCABULARY, Question, TrainingRow

# Maximum tokens of questions and answers after one document. The attention mask of a row grows with the square of its
# tokens: with hundreds of labels it would take gigabytes, so the document is then repeated.
MAX_QUESTION_TOKENS = 1024


@dataclass(frozen=True)
class EncodedExamples:
    """The encoded examples of a training.

    Attributes:
        rows: The rows, in the order of the examples; with the document first, examples of one table row share a row.
        tries: The label sets that a loss runs over.
        truncated: Number of truncated documents.
        left_out: Number of parts of answers that were too long, by column; columns without any are missing.
    """

    rows: list[TrainingRow]
    tries: list[LabelTrie]
    truncated: int
    left_out: dict[str, int]


def encode_examples(
    examples: Sequence[Example], columns: Mapping[str, AskedSpec], encoder: PromptEncoder
) -> EncodedExamples:
    """Encode examples for training.

    Args:
        examples: The examples.
        columns: The recipe's questions.
        encoder: Encodes prompts and answers.

    Raises:
        RecipeError: If labels have the same tokens in this model, or a question or all keywords of a column are too
            long.
    """
    gold: dict[str, list[str]] = {name: [] for name in columns}
    for example in examples:
        gold[example.column].append(example.answer)
    tries: list[LabelTrie] = []
    label_sets: dict[str, int] = {}
    label_indices: dict[str, dict[str, int]] = {}
    weights: dict[str, dict[str, float]] = {}
    for name, column in columns.items():
        column.check_tokens(encoder)
        weights[name] = column.answer_weights(gold[name])
        if (labels := column.loss_labels) is not None:
            label_indices[name] = {label: index for index, label in enumerate(labels)}
            built = LabelTrie.build(encoder.label_ids(labels), encoder.end_id)
            if built not in tries:  # the labels of a labels column all have the same yes and no
                tries.append(built)
            label_sets[name] = tries.index(built)
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
            trie: LabelTrie | None = None
            if label_set == VOCABULARY:
                answers = column.encode_answers(example.answer, encoder)
                left_out[name] += column.count_left_out(example.answer, answers, encoder)
            else:
                answers = [[label_indices[name][example.answer]]]
                trie = tries[label_set] if tries[label_set].tokens else None
            if answers:
                learned.add(name)
                weight = weights[name].get(example.answer, 1.0)
                asked.append((prompt.ids, Question(answers, label_set, weight, share=example.share, trie=trie)))
        rows += _rows(asked)
    for name, column in columns.items():
        if left_out[name] and name not in learned:
            raise RecipeError(f"{column.left_out_in_words(name, left_out[name])} No answer is left; raise the limit.")
    return EncodedExamples(rows, tries, truncated, dict(+left_out))


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
