"""The errors and warnings of papertune.

PapertuneError               a mistake that the user can correct: one message, exit code 2
├── RecipeError              the recipe is wrong, or does not fit the model
├── TableError               a table cannot be read, or does not fit the recipe
├── ModelError               the base model is missing or does not support something
├── RunError                 a run directory is incomplete, too new, or belongs to another base model
├── OutputError              a file cannot be written, exists already, or is being written
├── ScreeningError           a screening is damaged, or an event does not fit it
└── MissingExtraError        an optional package is not installed

TrainingStopped              a signal ended a training; a checkpoint has been written

PapertuneWarning             something to know; the work goes on

Any other exception is a bug of papertune and keeps its traceback.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Self, TypeAlias

# A value in a message, as JSON can have it.
Param: TypeAlias = str | int | float
# One screen: further problems are only counted.
MAX_PROBLEMS_SHOWN = 20


class Sentence(str):
    """A text for people with a code and the values in it, of which a page makes a sentence in another language.

    Attributes:
        code: What is said, for programs; "": it has no code.
        params: The values by name.
    """

    code: str
    params: Mapping[str, Param]

    def __new__(cls, text: str, code: str = "", **params: Param) -> Self:
        """Make a text."""
        made = super().__new__(cls, text)
        made.code, made.params = code, params
        return made


def said_as(text: str, said: object) -> Sentence:
    """Return a text with code and values of another one, or of an error or warning."""
    code, params = coded(said)
    return Sentence(text, code, **params)


def reworded(said: object, change: Callable[[str], str]) -> Sentence:
    """Return a text, or that of an error or warning, after a change, which is made to the texts in its values too."""
    code, params = coded(said)
    return Sentence(change(str(said)), code, **changed_texts(params, change))


def changed_texts(params: Mapping[str, Param], change: Callable[[str], str]) -> dict[str, Param]:
    """Return values of a message, the texts among them after a change."""
    return {name: change(value) if isinstance(value, str) else value for name, value in params.items()}


def coded(text: object) -> tuple[str, Mapping[str, Param]]:
    """Return code and values of a text, or of an error or warning: of its text, else the code of its class.

    Without a code: ("", {}).
    """
    said = text.args[0] if isinstance(text, BaseException) and text.args else text
    if isinstance(said, Sentence) and said.code:
        return said.code, said.params
    return (text.code, {}) if isinstance(text, PapertuneError) else ("", {})


class PapertuneError(Exception):
    """A mistake that the user can correct; the message has what is wrong, where, and what to do.

    Attributes:
        is_shared: Whether all processes of a training raise it, so that only one has to report it.
        problems: The problems that it was collected from, all of them; empty if it is about one thing.
        code: What went wrong, for programs, where the message is no `Sentence` with a code of its own.
    """

    code: ClassVar[str] = "invalid"
    is_shared: bool = False
    problems: tuple[str, ...] = ()

    @classmethod
    def collect(cls, what: str, problems: Sequence[str]) -> "PapertuneError":
        """Make one error from many problems, each on its own line.

        Args:
            what: The sentence above the list.
            problems: What was found, in the order of the list.

        Returns:
            An error of this class; a single problem needs no list.
        """
        if len(problems) == 1:
            return cls(problems[0])
        shown = [f"  - {problem}" for problem in problems[:MAX_PROBLEMS_SHOWN]]
        if len(problems) > MAX_PROBLEMS_SHOWN:
            shown.append(f"  - and {len(problems) - MAX_PROBLEMS_SHOWN} more")
        text = "\n".join([f"{what} ({len(problems)} problems):", *shown])
        error = cls(Sentence(text, "several_problems", count=len(problems)))
        error.problems = tuple(problems)
        return error


class RecipeError(PapertuneError):
    """The recipe is wrong, or does not fit the model."""

    code = "invalid_recipe"


class TableError(PapertuneError):
    """A table cannot be read, or does not fit the recipe."""

    code = "invalid_table"


class ModelError(PapertuneError):
    """The base model is missing or does not support something."""

    code = "invalid_model"


class RunError(PapertuneError):
    """A run directory is incomplete, too new, or belongs to another base model."""

    code = "invalid_run"


class OutputError(PapertuneError):
    """A file cannot be written, exists already, or is being written by another process."""

    code = "not_written"


class ScreeningError(PapertuneError):
    """A screening is damaged, open elsewhere, or an event does not fit it."""

    code = "invalid_screening"


class MissingExtraError(PapertuneError):
    """An optional package is not installed; the message has the install command."""

    code = "not_installed"


class TrainingStopped(Exception):
    """SIGTERM or Ctrl-C ended a training; a checkpoint has been written.

    Attributes:
        signal: The signal's number.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class PapertuneWarning(UserWarning):
    """Something that the user should know; the work goes on."""


# Python calls these printable, but they show nothing: fillers of Hangul, a braille blank, variation selectors.
_SHOWS_NOTHING = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))))


def visible(text: str) -> str:
    r"""Write what cannot be seen as its escape, such as \u200b, and so on one line."""
    if text.isprintable() and _SHOWS_NOTHING.isdisjoint(text):
        return text
    hidden = (not char.isprintable() or char in _SHOWS_NOTHING for char in text)
    return "".join(ascii(char)[1:-1] if hides else char for char, hides in zip(text, hidden, strict=True))


def quoted(text: str) -> str:
    """Put a value into double quotes for a message: truncated, on one line, with visible invisible characters."""
    return f'"{visible(text if len(text) <= 60 else text[:57] + "...")}"'


def listed(names: Iterable[str]) -> str:
    """Write names for a message: separated by commas, on one line, with visible invisible characters."""
    return ", ".join(map(visible, names))
