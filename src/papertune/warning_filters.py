"""Changes of the filters of warnings, which are global, by several threads at the same time.

Two threads with `warnings.catch_warnings` restore each other's filters. Here the first one keeps what was there, and
the last one restores it.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_users = 0
_before = ExitStack()


@contextmanager
def changed_filters() -> Iterator[None]:
    """Let this thread add filters; all that are added go when no thread is in such a block any more."""
    global _users
    with _lock:
        if _users == 0:
            _before.enter_context(warnings.catch_warnings())
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _before.close()
