"""Prints docs/commands.md: all commands with their arguments and options, read from the program itself.

python -m papertune.cli.reference > docs/commands.md
"""

import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

PROGRAM = "papertune"

_HEAD = """# Commands

Generated from the program by `make docs`; `papertune COMMAND --help` shows the same.

Results go to standard output, progress and warnings to standard error. A warning is a line that starts with
`warning:`; the exit code stays 0. An error that you can correct is one message that starts with `error:`, with exit
code 2. Ctrl-C and SIGTERM end a command with exit codes 130 and 143; finished work is kept.
"""

# Placeholders for values, by type, if the option has none.
_PLACEHOLDERS: dict[Any, str] = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}


def command_reference() -> str:
    """Return the page in Markdown; it depends only on the commands."""
    from papertune.cli import commands  # noqa: F401 - registers the commands
    from papertune.cli.app import app

    group: Any = typer.main.get_command(app)
    commands_by_name = all_commands(group)
    sections = [_section(name, command) for name, command in commands_by_name.items()]
    contents = "".join(
        f"- [`{name}`](#{name.replace(' ', '-')}): {_sentence(command.help)}\n"
        for name, command in commands_by_name.items()
    )
    return "\n".join([_HEAD, contents, *sections])


def all_commands(group: Any) -> dict[str, Any]:
    """Return all commands by name; those of a group of commands have its name before theirs."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found.update({f"{name} {inner}": each for inner, each in all_commands(command).items()})
        else:
            found[name] = command
    return found


def _section(name: str, command: Any) -> str:
    types = get_type_hints(command.callback, include_extras=True)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    usage = [PROGRAM, name, *map(_argument, arguments)]
    usage += [f"{option.opts[0]} {_value(option, types)}" for option in options if option.required]
    usage += ["[OPTIONS]"] if any(not option.required for option in options) else []
    lines = [f"## {name}", "", f"    {' '.join(usage)}", "", _sentence(command.help), ""]
    if arguments:
        lines += ["| argument | meaning |", "| --- | --- |"]
        lines += [f"| `{_argument(argument)}` | {_meaning(argument, types)} |" for argument in arguments]
        lines += [""]
    if options:
        lines += ["| option | meaning |", "| --- | --- |"]
        lines += [f"| {_spellings(option, types)} | {_meaning(option, types)} |" for option in options]
        lines += [""]
    return "\n".join(lines)


def _argument(argument: Any) -> str:
    shown = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return shown if argument.required else f"[{shown}]"


def _spellings(option: Any, types: dict[str, Any]) -> str:
    value = _value(option, types)
    return ", ".join(f"`{' '.join(filter(None, (spelling, value)))}`" for spelling in option.opts)


def _value(option: Any, types: dict[str, Any]) -> str:
    """Return the placeholder for an option's value; a flag has none."""
    if option.is_flag:
        return ""
    return str(option.metavar or _PLACEHOLDERS.get(_plain_type(types[option.name]), "WORD"))


def _meaning(parameter: Any, types: dict[str, Any]) -> str:
    sentences = [_sentence(parameter.help)]
    low, high = (_limit(types[parameter.name], end) for end in ("min", "max"))
    if low is not None:
        sentences.append(f"From {low:g} to {high:g}." if high is not None else f"At least {low:g}.")
    words = get_args(_plain_type(types[parameter.name]))
    if words:
        sentences.append(f"One of {', '.join(f'`{word}`' for word in words)}.")
    if parameter.required and parameter.param_type_name == "option":
        sentences.append("Required.")
    elif parameter.default not in (None, "", False, 0, [], ()) and not parameter.required:
        sentences.append(f"Default: `{parameter.default}`.")
    return " ".join(sentences).replace("|", "\\|")


def _sentence(text: str | None) -> str:
    words = " ".join((text or "").split())
    return words if not words or words.endswith((".", "?", "!")) else f"{words}."


def _plain_type(annotation: Any) -> Any:
    """Return a parameter's type without Annotated, list and None."""
    inner = [each for each in get_args(annotation) if each is not type(None)]
    return annotation if get_origin(annotation) is Literal or not inner else _plain_type(inner[0])


def _limit(annotation: Any, end: str) -> float | None:
    """Return a limit of an Annotated number ("min" or "max"), or None."""
    return next((getattr(extra, end, None) for extra in getattr(annotation, "__metadata__", ())), None)


if __name__ == "__main__":
    sys.stdout.write(command_reference())
