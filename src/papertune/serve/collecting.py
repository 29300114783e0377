"""Warnings of one thread as texts: the `warnings` module is global to the process."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from papertune.errors import PapertuneWarning, said_as
from papertune.warning_filters import changed_filters

_collected = threading.local()  # `texts`: the lists of this thread, the innermost last


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect papertune's warnings of this thread; all others go where they went before.

    Yields:
        The texts; it grows until the end.
    """
    texts: list[str] = []
    outer = getattr(_collected, "texts", [])
    with changed_filters():
        warnings.simplefilter("always", PapertuneWarning)
        if not isinstance(warnings.showwarning, _Collecting):
            warnings.showwarning = _Collecting(warnings.showwarning)
        _collected.texts = [*outer, texts]
        try:
            yield texts
        finally:
            _collected.texts = outer


class _Collecting:
    """Stands for `warnings.showwarning`.

    Args:
        show: What shows the warnings that no thread collects.
    """

    def __init__(self, show: Callable[..., object]) -> None:
        self._show = show

    def __call__(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        """Keep a warning, or show it."""
        texts = getattr(_collected, "texts", [])
        if texts and issubclass(category, PapertuneWarning):
            texts[-1].append(said_as(str(message), message))
        else:
            self._show(message, category, *where, **more)
