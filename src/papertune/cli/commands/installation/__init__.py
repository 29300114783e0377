"""Commands about what is installed: recipes, models, packages and devices, completion."""

from papertune.cli.commands.installation import builtin, completion, doctor

__all__ = ["builtin", "completion", "doctor"]
