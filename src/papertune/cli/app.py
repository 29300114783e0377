"""The program `papertune`: its commands, and how it handles errors, warnings and signals."""

import atexit
import gc
import os
import sys
import warnings
from typing import TextIO

import typer

from papertune.errors import PapertuneError, PapertuneWarning, TrainingStopped, said_as, visible
from papertune.event_file import Level, report_message, reported_events

# The variable with which a shell asks for completions; typer derives its name from the program's.
COMPLETION_VARIABLE = "_PAPERTUNE_COMPLETE"
# 128 + SIGINT, as in shells.
INTERRUPTED = 130

app = typer.Typer(
    name="papertune",
    help="Fine-tune a language model on a table of papers and fill in its columns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the program. A user error is one message and exit code 2; a bug keeps its traceback."""
    from papertune.cli import commands  # noqa: F401 - registers the commands

    if COMPLETION_VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined, unused-ignore]

        completion_init()  # `papertune completion` is in the place of typer's options, which would also call this
    # Otherwise Python would collect garbage among a million objects before it exits, which takes a second.
    atexit.register(gc.freeze)
    warnings.showwarning = _show_warning
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("always", PapertuneWarning)
    with reported_events():
        try:
            app()
        except PapertuneError as error:
            _print(said_as(str(error), error), "error")
            sys.exit(2)
        except TrainingStopped as stopped:
            _print(str(stopped))
            sys.exit(128 + stopped.signal)
        except SystemExit as ended:
            if ended.code == INTERRUPTED:  # typer's exit code for Ctrl-C
                _print("stopped; finished work is kept, and the same command continues")
            raise
        except BrokenPipeError:
            sys.stderr.close()  # the program that reads the output has ended
            sys.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print papertune's own warnings in one line; users cannot act on those of libraries."""
    if issubclass(category, PapertuneWarning):
        _print(said_as(str(message), message), "warning")


def _print(text: str, level: Level = "note") -> None:
    report_message(text, level)
    shown = text if level == "note" else f"{level}: {text}"
    # A name or cell in a message may hold characters that a terminal obeys.
    print("\n".join(map(visible, shown.split("\n"))), file=sys.stderr, flush=True)
