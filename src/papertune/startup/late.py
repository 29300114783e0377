"""Names of a package that are imported when they are first used."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from papertune.startup.garbage import collection_paused


def late_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the function that a package needs as its `__getattr__` (PEP 562) to import names late.

    Args:
        package: Name of the package.
        modules: For each name, the module that defines it under the same name.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with collection_paused():
            value = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)  # so that it is asked once
        return value

    return get
