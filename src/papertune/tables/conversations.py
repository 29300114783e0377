"""Reads conversations, as ShareGPT and OpenAI write them, as rows with instruction, output, history and system.

    {"conversations": [{"from": "system", "value": S}, {"from": "human", "value": A}, {"from": "gpt", "value": B},
                       {"from": "human", "value": C}, {"from": "gpt", "value": D}]}
    ->  system S, history [[A, B]], instruction C, input "", output D

A conversation that ends with a question has no output. An output that the table has already counts instead: `predict`
writes its answers there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from papertune.errors import quoted
from papertune.tables.cells import JSON_MISSING, JSON_TEXT, text_frame
from papertune.tables.problems import Problems
from papertune.tables.table import Table

Role = Literal["user", "assistant", "system"]


@dataclass(frozen=True)
class Tags:
    """How a file writes its conversations.

    Attributes:
        messages: The column with the list of messages.
        role: The key of a message's role.
        content: The key of a message's text.
        roles: What the roles are called.
        system: The column with a system message; None: there is none.
    """

    messages: str
    role: str
    content: str
    roles: Mapping[str, Role]
    system: str | None = "system"


# In files without an entry in a register several names are in use.
_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
BARE = (
    Tags("conversations", "from", "value", _ROLES),
    Tags("messages", "role", "content", _ROLES),
    Tags("conversations", "role", "content", _ROLES),
    Tags("messages", "from", "value", _ROLES),
)


def find_tags(table: Table) -> Tags | None:
    """Return how a table writes its conversations, judged by the first one; None if it has none."""
    if "instruction" in table.columns:
        return None
    for tags in BARE:
        if tags.messages in table.columns:
            first = next((cell for cell in table.frame[tags.messages] if cell), "")
            try:
                messages = json.loads(first) if first.startswith("[") else None
            except (ValueError, RecursionError):
                continue
            if messages and isinstance(messages[0], dict) and {tags.role, tags.content} <= messages[0].keys():
                return tags
    return None


def read_conversations(table: Table, tags: Tags) -> Table:
    """Add the columns instruction, input, history, system and, unless it is there, output to a table.

    Args:
        table: Has the columns that the tags name.
        tags: How the conversations are written.

    Raises:
        TableError: With every conversation that is not one.
    """
    problems = Problems(
        f"{table.source}: conversations cannot be read",
        "A conversation is a list of messages, first from the user and then in turns, with a system message before "
        "them or not. Correct or remove the entry.",
    )
    conversations = []
    for row, cell in enumerate(table.frame[tags.messages]):
        found: _Conversation | str = _parse(cell, tags)
        if isinstance(found, str):
            problems.add(f"{table.where(row, tags.messages)}: {found}")
            found = _Conversation("", [""])
        conversations.append(found)
    problems.raise_if_any()
    systems = table.column(tags.system) if tags.system in table.columns else [""] * len(table)
    columns = {
        "instruction": [each.turns[-1 if len(each.turns) % 2 else -2] for each in conversations],
        "input": [""] * len(table),
        "history": [_history(each.turns) for each in conversations],
        "system": [each.system or system for each, system in zip(conversations, systems, strict=True)],
    }
    answered = [len(each.turns) % 2 == 0 for each in conversations]
    forms = dict(table.forms)
    if any(answered) and "output" not in table.columns:
        columns["output"] = [
            each.turns[-1] if is_answered else "" for each, is_answered in zip(conversations, answered, strict=True)
        ]
        forms["output"] = bytes(JSON_TEXT if is_answered else JSON_MISSING for is_answered in answered)
    derived = [name for name in columns if name != "system" or name not in table.columns]
    frame = table.frame.with_columns(text_frame(columns).get_columns())
    return replace(table, frame=frame, forms=forms, derived=derived)


def message_text(cell: str, tags: Tags) -> str:
    """Return the text of one message of the assistant, which a cell holds as JSON, as in files with two answers.

    Raises:
        ValueError: If it is something else; the message is a clause without full stop.
    """
    try:
        message = json.loads(cell)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not {tags.role, tags.content} <= message.keys():
        raise ValueError(f"this is not a message with {quoted(tags.role)} and {quoted(tags.content)}")
    name, text = str(message[tags.role]), message[tags.content]
    if tags.roles.get(name) != "assistant":
        raise ValueError(f"the message is from {quoted(name)}, where an answer of the assistant belongs")
    if not isinstance(text, str):
        raise ValueError(f"the message has a {quoted(tags.content)} that is not text")
    return text


@dataclass(frozen=True)
class _Conversation:
    """A system message and turns, first of the user, then of the assistant, and so on."""

    system: str
    turns: list[str]


def _parse(cell: str, tags: Tags) -> _Conversation | str:
    """Return the conversation of a cell, or what is wrong with it."""
    try:
        messages = json.loads(cell)
    except (ValueError, RecursionError):
        return "this is not a list of messages"
    if not isinstance(messages, list):
        return "this is not a list of messages"
    system = ""
    turns: list[str] = []
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not {tags.role, tags.content} <= message.keys():
            return f"message {number} is not an object with {quoted(tags.role)} and {quoted(tags.content)}"
        name, text = str(message[tags.role]), message[tags.content]
        role = tags.roles.get(name)
        if role is None:
            return f"message {number} is from {quoted(name)}; the roles that can be read are {', '.join(tags.roles)}"
        if not isinstance(text, str):
            return f"message {number} has a {quoted(tags.content)} that is not text"
        if role == "system":
            if number > 1:
                return f"message {number} is a system message; only the first can be one"
            system = text
            continue
        expected = "assistant" if len(turns) % 2 else "user"
        if role != expected:
            return f"message {number} is from the {role} ({quoted(name)}), where the {expected} has its turn"
        turns.append(text)
    return _Conversation(system, turns) if turns else "nobody says anything"


def _history(turns: list[str]) -> str:
    """Return the rounds before the last question, as JSON; "" if there are none."""
    before = turns[: (len(turns) - 1) // 2 * 2]
    rounds = [before[start : start + 2] for start in range(0, len(before), 2)]
    return json.dumps(rounds, ensure_ascii=False) if rounds else ""
