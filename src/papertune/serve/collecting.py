"""Warnings of one thread as texts: the `warnings` module is global to the process."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from papertune.errors import PapertuneWarning, said_as

_lock = threading.Lock()  # guards what follows
_collecting: dict[int, list[list[str]]] = {}  # of each thread that collects, the innermost last
_outside = ExitStack()


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect papertune's warnings of this thread; all others go where they went before.

    Filters are global: the first of several threads sets them, and the last one restores them.

    Yields:
        The texts; it grows until the end.
    """
    texts: list[str] = []
    thread = threading.get_ident()
    with _lock:
        if not _collecting:
            _outside.enter_context(_all_collected())
        _collecting.setdefault(thread, []).append(texts)
    try:
        yield texts
    finally:
        with _lock:
            _collecting[thread].pop()
            if not _collecting[thread]:
                del _collecting[thread]
            if not _collecting:
                _outside.close()


@contextmanager
def _all_collected() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always", PapertuneWarning)
        show = warnings.showwarning

        def collect(message, category, filename, lineno, file=None, line=None):  # type: ignore[no-untyped-def]
            mine = _collecting.get(threading.get_ident())
            if mine and issubclass(category, PapertuneWarning):
                mine[-1].append(said_as(str(message), message))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = collect
        yield
