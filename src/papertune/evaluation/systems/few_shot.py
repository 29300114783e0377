"""Few-shot prompting: training examples with their answers stand before the question, as earlier rounds of the chat.

    user       document of an example, question       a less similar training text
    assistant  its answer
    user       document of an example, question       the most similar training text, last
    assistant  its answer
    user       the row's document, question
    assistant  ...

The examples of a row are the training texts most similar to it (Liu et al. 2022, arXiv:2101.06804), by the cosine of
their tf-idf. Examples of a label column are taken from each label in turn, so that the prompt favours none. Models tend
to repeat the last answer of a prompt (Zhao et al. 2021, arXiv:2102.09690), so it is that of the most similar text.

The prompts go through the same encoder as all others: the text of papers never becomes a special token, and no prompt
is longer than the model's context. If there is no room for all examples, the least similar ones are dropped.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from heapq import nlargest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.errors import RecipeError
from papertune.evaluation.systems.baselines import fit_tfidf
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Example, Prompt, RowReader, Turn, make_prompt, training_examples
from papertune.recipe import Recipe
from papertune.tables import Table

# Maximum tokens of an example's document; an abstract states its topic early.
DOCUMENT_TOKENS = 200


class NearestExamples:
    """Finds the training examples that are most similar to a text.

    Args:
        table: The training table, checked.
        recipe: The columns.
    """

    def __init__(self, table: Table, recipe: Recipe) -> None:
        self._recipe = recipe
        # By question and answer. Examples of keywords are one group, since two papers rarely have the same keywords.
        self._groups: dict[str, dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
        columns = recipe.questions
        texts: dict[int, str] = {}
        for example in training_examples(table, recipe):
            texts[example.row] = example.prompt.document
            group = columns[example.column].example_group(example.answer)
            self._groups[example.column][group].append(example)
        self._place = {row: place for place, row in enumerate(texts)}
        self._tfidf = fit_tfidf(list(texts.values()))
        self._last: tuple[str, NDArray[np.float64]] | None = None  # a document may have many questions, one by one

    def nearest(self, document: str, name: str, count: int) -> list[Example]:
        """Return the examples for a text, the most similar first.

        Args:
            document: The text.
            name: The question about it.
            count: Number of examples; fewer are returned if the table has no more.
        """
        similarity = self._similarity(document)

        def by_similarity(examples: Sequence[Example]) -> list[Example]:
            # In table order if equally similar.
            return nlargest(count, examples, key=lambda example: similarity[self._place[example.row]])

        groups = [iter(by_similarity(examples)) for examples in self._groups[name].values()]
        chosen: list[Example] = []
        while groups and len(chosen) < count:
            # The next example of each label that has any left.
            heads = [(group, example) for group in groups if (example := next(group, None)) is not None]
            groups = [group for group, _ in heads]
            chosen += by_similarity([example for _, example in heads])
        return by_similarity(chosen[:count])

    def _similarity(self, document: str) -> NDArray[np.float64]:
        """Return the cosine of a text's tf-idf with that of each training text, shape (training texts,)."""
        if self._tfidf is None:
            return np.zeros(len(self._place))
        if self._last is None or self._last[0] != document:
            vectorizer, texts = self._tfidf
            cosines = (texts @ vectorizer.transform([document]).T).todense()
            self._last = document, np.asarray(cosines, dtype=np.float64).ravel()
        return self._last[1]


class FewShotReader(RowReader):
    """Reads the rows of a table with examples before each question.

    Args:
        table: The table that is filled in.
        recipe: The columns, the layout and the lengths.
        examples: Finds the examples.
        count: Number of examples before each question.
        tokenizer: The model's tokenizer.
        max_tokens: Maximum tokens of a prompt, examples included.
    """

    def __init__(
        self, table: Table, recipe: Recipe, examples: NearestExamples, count: int, tokenizer: Any, max_tokens: int
    ) -> None:
        super().__init__(table, recipe)
        self._few_shot_recipe = recipe
        self._examples = examples
        self._count = count
        self._tokenizer = tokenizer
        self._encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
        self._whole = PromptEncoder(tokenizer, with_prompt_tokens(recipe, max_tokens).encoding, chat=recipe.chat)
        self._short: dict[str, PromptEncoder] = {}
        self._turns: dict[tuple[int, str], Turn] = {}  # of examples, by their row
        self._rounds: dict[tuple[int, str], tuple[Turn, ...]] = {}

    def prompt(self, row: int, name: str) -> Prompt:
        """Return the prompt of a row after as many examples as there is room for."""
        asked = super().prompt(row, name)
        # The document is truncated as in a prompt without examples.
        asked = replace(asked, document=asked.document[: self._encoder.encode(asked).kept_chars])
        if (row, name) not in self._rounds:
            nearest = self._examples.nearest(asked.document, name, self._count)
            self._rounds[row, name] = self._fitting(asked, [self._round(example, name) for example in nearest])
        return replace(asked, history=(*self._rounds[row, name], *asked.history))

    def shown(self, row: int, name: str) -> int:
        """Return the number of examples before the question of a row."""
        return len(self.prompt(row, name).history) - len(super().prompt(row, name).history)

    def _fitting(self, asked: Prompt, rounds: Sequence[Turn]) -> tuple[Turn, ...]:
        """Drop the last and least similar examples until the prompt fits; return the others, the most similar last."""
        for kept in range(len(rounds), 0, -1):
            turns = tuple(reversed(rounds[:kept]))
            try:
                encoded = self._whole.encode(replace(asked, history=(*turns, *asked.history)))
            except RecipeError:  # too long even without the document
                continue
            if not encoded.truncated:
                return turns
        return ()

    def _round(self, example: Example, name: str) -> Turn:
        """Return an example as a question and its answer."""
        if (example.row, name) not in self._turns:
            prompt = replace(example.prompt, history=())
            document = prompt.document[: self._short_encoder(name).encode(prompt).kept_chars]
            answer = self._few_shot_recipe.questions[name].one_answer(example.answer)
            self._turns[example.row, name] = f"{prompt.before}{document}{prompt.after}", answer
        return self._turns[example.row, name]

    def _short_encoder(self, name: str) -> PromptEncoder:
        """Return the encoder that truncates examples to `DOCUMENT_TOKENS` besides the question and chat template."""
        if name not in self._short:
            recipe = self._few_shot_recipe
            bare = make_prompt(recipe.layout, "", recipe.questions[name].question)
            tokens = len(self._encoder.encode(bare).ids) + DOCUMENT_TOKENS
            self._short[name] = PromptEncoder(
                self._tokenizer, with_prompt_tokens(recipe, tokens).encoding, chat=recipe.chat
            )
        return self._short[name]


def with_prompt_tokens(recipe: Recipe, tokens: int) -> Recipe:
    """Return a recipe with another maximum prompt length."""
    encoding = recipe.encoding.model_copy(update={"max_prompt_tokens": tokens})
    return recipe.model_copy(update={"encoding": encoding})
