"""Any text as TOML: values, keys and comments."""

import json
import re

from papertune.errors import visible

_MAX_COMMENT_CHARS = 400


def quote(text: str) -> str:
    """Return text as a TOML value: a JSON string, in which U+007F is escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key(name: str) -> str:
    """Return a name as a TOML key, in quotes if it needs them."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quote(name)


def comment(text: str) -> str:
    """Return text for a comment: in one line, with invisible characters as escapes, cut off after 400 characters."""
    line = visible(text)
    return line if len(line) <= _MAX_COMMENT_CHARS else line[: _MAX_COMMENT_CHARS - 3] + "..."
