"""Python's garbage collector, out of the way while much is loaded."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Keep the garbage collector from running while this is open; it also decorates functions.

    Thousands of modules and a model make a million objects that stay, and the collector walks through all of them again
    and again: a fifth of the time until a model is there, for a hundred objects that it finds.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
