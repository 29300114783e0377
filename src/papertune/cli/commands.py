"""The commands; each one's heavy imports wait until it runs, so that `papertune --help` is quick."""

from papertune.cli import builtin, chat, check, compare, evaluate, init, instructions, merge, predict, train
from papertune.cli.app import app

__all__ = ["builtin", "chat", "check", "compare", "evaluate", "init", "instructions", "merge", "predict", "train"]

# The help page lists them in the order in which a person needs them.
_ORDER = (
    "init", "check", "train", "predict", "evaluate", "compare", "chat", "instructions", "adopt", "merge", "recipes",
    "models",
)  # fmt: skip
app.registered_commands.sort(key=lambda command: _ORDER.index(command.callback.__name__ if command.callback else ""))
