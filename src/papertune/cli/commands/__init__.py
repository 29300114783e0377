"""All commands. Each imports heavy modules only when it runs, so that `papertune --help` is fast."""

from papertune.cli.app import app
from papertune.cli.commands import (
    chat,
    check,
    compare,
    evaluate,
    init,
    installation,
    instructions,
    predict,
    prefer,
    screen,
    serve,
    train,
)

__all__ = [
    "chat",
    "check",
    "compare",
    "evaluate",
    "init",
    "installation",
    "instructions",
    "predict",
    "prefer",
    "screen",
    "serve",
    "train",
]

# The order of the help page: the order in which users need the commands.
_ORDER = (
    "init", "check", "train", "predict", "evaluate", "compare", "calibrate", "chat", "serve", "instructions", "prefer",
    "adopt", "merge", "export", "recipes", "models", "doctor", "completion",
)  # fmt: skip
app.registered_commands.sort(key=lambda command: _ORDER.index(command.callback.__name__ if command.callback else ""))
