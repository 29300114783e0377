"""Preferences: a pair of answers of which one is better, or one answer that is good or bad."""

from dataclasses import dataclass, fields
from typing import Literal

from papertune.prompts.examples import Prompt, Turn, make_own_prompt, make_prompt
from papertune.recipe import Recipe

Source = Literal["human", "synthetic", "file"]
SOURCES: tuple[Source, ...] = ("human", "synthetic", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What was asked about a document.

    Attributes:
        column: Name of the question in `Recipe.questions`.
        instruction: The question.
        input: The document.
        paper: The id of the row, or its number; "" if it is not known.
        system: The system message; "" for none.
        history: Earlier rounds of the conversation, (question, answer) each.
        source: "human": a person judged; "synthetic": made by a program; "file": a file that does not say.
    """

    column: str
    instruction: str
    input: str
    paper: str = ""
    system: str = ""
    history: tuple[Turn, ...] = ()
    source: Source = "file"

    def prompt(self, recipe: Recipe) -> Prompt:
        """Return the prompt, the same as `RowReader.prompt` makes of the row."""
        column = recipe.questions[self.column]
        if column.question_column is not None:
            return make_own_prompt(recipe.layout, self.input, self.instruction, self.history, self.system)
        return make_prompt(recipe.layout, self.input, column.question, self.history, self.system)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Entry):
    """Two answers of which one is better.

    Attributes:
        chosen: The better answer, as text to learn.
        rejected: The other one.
        tier: How a synthetic `rejected` was made; "" for others.
    """

    chosen: str
    rejected: str
    tier: str = ""

    def judged(self) -> list["Thumb"]:
        """Return both answers by themselves: a good one and a bad one."""
        asked = {each.name: getattr(self, each.name) for each in fields(Entry)}
        return [Thumb(**asked, answer=self.chosen, good=True), Thumb(**asked, answer=self.rejected, good=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumb(Entry):
    """An answer that was judged by itself.

    Attributes:
        answer: The answer, as text to learn.
        good: Whether it is good.
    """

    answer: str
    good: bool
