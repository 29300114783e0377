"""The program `papertune`: its commands, and what it does with mistakes, warnings and signals."""

import atexit
import gc
import sys
import warnings
from typing import TextIO

import typer

from papertune.errors import PapertuneError, PapertuneWarning, TrainingStopped

# 128 + SIGINT, as shells have it.
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
    """Run the program; a mistake of its user is one message and exit code 2, a bug keeps its traceback."""
    from papertune.cli import commands  # noqa: F401 - its functions join the app

    # Or Python would look for garbage among a million objects once more before it ends, which takes a second.
    atexit.register(gc.freeze)
    warnings.showwarning = _show_warning
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("always", PapertuneWarning)
    try:
        app()
    except PapertuneError as error:
        _say(f"error: {error}")
        sys.exit(2)
    except TrainingStopped as stopped:
        _say(str(stopped))
        sys.exit(128 + stopped.signal)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # what typer makes of Ctrl-C
            _say("stopped; what is finished is kept, and the same command goes on")
        raise
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nobody is left to tell
        sys.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print our warnings as a line for people; those of libraries tell our users nothing they could act on."""
    if issubclass(category, PapertuneWarning):
        _say(f"warning: {message}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
