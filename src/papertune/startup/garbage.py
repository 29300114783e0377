"""Sparing Python's garbage collector the objects of loaded modules and models."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the garbage collector in a block or, as a decorator, in a function.

    Loading thousands of modules and a model creates a million objects that stay. The collector would scan them again
    and again, which takes a fifth of the loading time and frees a hundred objects.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def objects_set_aside() -> Iterator[None]:
    """Hide all objects that exist by now from the garbage collector, inside this context.

    A training begins with a full collection, which takes half a second for the objects of imports. Nothing happens if
    objects are hidden already: showing them again would show those of others.
    """
    is_outermost = not gc.get_freeze_count()
    if is_outermost:
        gc.freeze()
    try:
        yield
    finally:
        if is_outermost:
            gc.unfreeze()
