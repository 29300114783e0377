"""Few-shot prompting: solved examples of the training table stand before the question, as earlier rounds of the chat.

    user       document of an example, question       the training text that is less like the row's
    assistant  its answer
    user       document of an example, question       the nearest one, last
    assistant  its answer
    user       the row's document, question
    assistant  ...

For each row the training texts that are nearest to it are shown (Liu et al. 2022, arXiv:2101.06804), by the cosine of
their tf-idf. For labels they are taken in turns from the classes, so that the prompt does not favour one of them (Zhao
et al. 2021, arXiv:2102.09690, who also found that models lean to the answer they have seen last: it is that of the
nearest text).

The prompts go through the same encoder as all others. The text of papers is never a special token, and no prompt is
longer than the model's context: examples give way to the row's own document, the farthest one first.
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

# So many tokens of an example's document are shown; abstracts say early what they are about.
DOCUMENT_TOKENS = 200


class NearestExamples:
    """Finds the examples of a training table that are nearest to a text.

    Args:
        table: The training table, checked.
        recipe: The columns.
    """

    def __init__(self, table: Table, recipe: Recipe) -> None:
        self._recipe = recipe
        # For each question its examples by answer. All keywords are one group: hardly any two papers have the same.
        self._groups: dict[str, dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
        columns = recipe.questions
        texts: dict[int, str] = {}
        for example in training_examples(table, recipe):
            texts[example.row] = example.prompt.document
            group = columns[example.column].example_group(example.answer)
            self._groups[example.column][group].append(example)
        self._place = {row: place for place, row in enumerate(texts)}
        self._tfidf = fit_tfidf(list(texts.values()))
        self._last: tuple[str, NDArray[np.float64]] | None = None  # one document may be asked many questions in a row

    def nearest(self, document: str, name: str, count: int) -> list[Example]:
        """Give the examples for a text, the nearest first.

        Args:
            document: The text.
            name: The question that is asked about it.
            count: How many are wanted. There are fewer if the table has no more.
        """
        likeness = self._likeness(document)

        def by_likeness(examples: Sequence[Example]) -> list[Example]:
            return nlargest(count, examples, key=lambda example: likeness[self._place[example.row]])  # first of equals

        groups = [iter(by_likeness(examples)) for examples in self._groups[name].values()]
        chosen: list[Example] = []
        while groups and len(chosen) < count:
            # One of each class that has any left, the likeliest class first.
            heads = [(group, example) for group in groups if (example := next(group, None)) is not None]
            groups = [group for group, _ in heads]
            chosen += by_likeness([example for _, example in heads])
        return by_likeness(chosen[:count])

    def _likeness(self, document: str) -> NDArray[np.float64]:
        """Give the cosine of a text's tf-idf with that of each training text, shape (training texts,)."""
        if self._tfidf is None:
            return np.zeros(len(self._place))
        if self._last is None or self._last[0] != document:
            vectorizer, texts = self._tfidf
            likeness = (texts @ vectorizer.transform([document]).T).todense()
            self._last = document, np.asarray(likeness, dtype=np.float64).ravel()
        return self._last[1]


class FewShotReader(RowReader):
    """Reads the rows of a table with examples before each question.

    Args:
        table: The table that is filled in.
        recipe: The columns, the layout and the lengths.
        examples: Where the examples come from.
        count: How many are wanted before each question.
        tokenizer: The model's tokenizer.
        longest: Most tokens of a prompt, examples included.
    """

    def __init__(
        self, table: Table, recipe: Recipe, examples: NearestExamples, count: int, tokenizer: Any, longest: int
    ) -> None:
        super().__init__(table, recipe)
        self._few_shot_recipe = recipe
        self._examples = examples
        self._count = count
        self._tokenizer = tokenizer
        self._encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
        self._whole = PromptEncoder(tokenizer, with_prompt_tokens(recipe, longest).encoding, chat=recipe.chat)
        self._short: dict[str, PromptEncoder] = {}
        self._turns: dict[tuple[int, str], Turn] = {}  # of examples, by their row
        self._rounds: dict[tuple[int, str], tuple[Turn, ...]] = {}

    def prompt(self, row: int, name: str) -> Prompt:
        """Give the prompt of a row, as many of its examples before it as there is room for."""
        asked = super().prompt(row, name)
        # The row's document is as long as it is without examples.
        asked = replace(asked, document=asked.document[: self._encoder.encode(asked).kept_chars])
        if (row, name) not in self._rounds:
            nearest = self._examples.nearest(asked.document, name, self._count)
            self._rounds[row, name] = self._fitting(asked, [self._round(example, name) for example in nearest])
        return replace(asked, history=(*self._rounds[row, name], *asked.history))

    def shown(self, row: int, name: str) -> int:
        """Count the examples before the question of a row."""
        return len(self.prompt(row, name).history) - len(super().prompt(row, name).history)

    def _fitting(self, asked: Prompt, rounds: Sequence[Turn]) -> tuple[Turn, ...]:
        """Drop the farthest examples, which are the last, until the prompt fits; give the rest, the nearest last."""
        for kept in range(len(rounds), 0, -1):
            turns = tuple(reversed(rounds[:kept]))
            try:
                encoded = self._whole.encode(replace(asked, history=(*turns, *asked.history)))
            except RecipeError:  # not even without the document
                continue
            if not encoded.truncated:
                return turns
        return ()

    def _round(self, example: Example, name: str) -> Turn:
        """Give an example as a question and its answer."""
        if (example.row, name) not in self._turns:
            prompt = replace(example.prompt, history=())
            document = prompt.document[: self._short_encoder(name).encode(prompt).kept_chars]
            answer = self._few_shot_recipe.questions[name].one_answer(example.answer)
            self._turns[example.row, name] = f"{prompt.before}{document}{prompt.after}", answer
        return self._turns[example.row, name]

    def _short_encoder(self, name: str) -> PromptEncoder:
        """Give the encoder that cuts the documents of examples: their question and the chat template come on top."""
        if name not in self._short:
            recipe = self._few_shot_recipe
            bare = make_prompt(recipe.layout, "", recipe.questions[name].question)
            tokens = len(self._encoder.encode(bare).ids) + DOCUMENT_TOKENS
            self._short[name] = PromptEncoder(
                self._tokenizer, with_prompt_tokens(recipe, tokens).encoding, chat=recipe.chat
            )
        return self._short[name]


def with_prompt_tokens(recipe: Recipe, tokens: int) -> Recipe:
    """Give a recipe with another limit of a prompt's length."""
    encoding = recipe.encoding.model_copy(update={"max_prompt_tokens": tokens})
    return recipe.model_copy(update={"encoding": encoding})
