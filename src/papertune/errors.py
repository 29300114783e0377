"""The errors and warnings of papertune.

PapertuneError               a mistake that its user can mend: one message, exit code 2
├── RecipeError              the recipe is wrong, or does not fit the model
├── TableError               a table cannot be read, or does not fit the recipe
├── ModelError               the base model is missing or cannot do what is asked
├── RunError                 a run directory is incomplete, too new, or of another base model
├── OutputError              a file cannot be written, exists already, or is being written
└── MissingExtraError        an optional package is not installed

TrainingStopped              a signal ended a training; its checkpoint is written

PapertuneWarning             something to know; the work goes on

Everything else that is raised is a bug of ours and keeps its traceback.
"""

from collections.abc import Sequence

# A screen full: more problems than this are counted, not printed.
MOST_PROBLEMS_SHOWN = 20


class PapertuneError(Exception):
    """A mistake that its user can mend; the message says what, where and what to do.

    Attributes:
        is_shared: Whether all processes of a training raise it, so that one of them is enough to tell it.
    """

    is_shared: bool = False

    @classmethod
    def collect(cls, what: str, problems: Sequence[str]) -> "PapertuneError":
        """Make one error of many problems, each on its own line.

        Args:
            what: The sentence above the list.
            problems: What was found, in the order to show it.

        Returns:
            An error of this class; a single problem needs no list.
        """
        if len(problems) == 1:
            return cls(problems[0])
        shown = [f"  - {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN]]
        if len(problems) > MOST_PROBLEMS_SHOWN:
            shown.append(f"  - and {len(problems) - MOST_PROBLEMS_SHOWN} more")
        return cls("\n".join([f"{what} ({len(problems)} problems):", *shown]))


class RecipeError(PapertuneError):
    """The recipe is wrong, or does not fit the model."""


class TableError(PapertuneError):
    """A table cannot be read, or does not fit the recipe."""


class ModelError(PapertuneError):
    """The base model is missing or cannot do what is asked."""


class RunError(PapertuneError):
    """A run directory is incomplete, too new, or belongs to another base model."""


class OutputError(PapertuneError):
    """A file cannot be written, exists already, or is being written by another process."""


class MissingExtraError(PapertuneError):
    """An optional package is not installed; the message has the install command."""


class TrainingStopped(Exception):
    """SIGTERM or Ctrl-C ended a training; a checkpoint has been written.

    Attributes:
        signal: The signal's number.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class PapertuneWarning(UserWarning):
    """Something the user should know; the work goes on."""


def quoted(text: str) -> str:
    """Put text into double quotes for a message: shortened, one line, control characters visible."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return '"' + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in short) + '"'
