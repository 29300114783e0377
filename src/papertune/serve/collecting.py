"""Warnings of one thread as texts: the `warnings` module is global to the process."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from papertune.errors import PapertuneWarning, said_as


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect papertune's warnings of this thread; all others go where they went before.

    Only one thread may do so: filters are global, and two threads would restore each other's.

    Yields:
        The texts; it grows until the end.
    """
    texts: list[str] = []
    thread = threading.get_ident()
    with warnings.catch_warnings():
        warnings.simplefilter("always", PapertuneWarning)
        show = warnings.showwarning

        def collect(message, category, filename, lineno, file=None, line=None):  # type: ignore[no-untyped-def]
            if threading.get_ident() == thread and issubclass(category, PapertuneWarning):
                texts.append(said_as(str(message), message))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = collect
        yield texts
