"""Reads what may be damaged, and checks what holds for any file: a table or a message, in little time and memory."""

import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import settings

from papertune.errors import PapertuneError, PapertuneWarning
from papertune.tables import Table, read_table

# 200 examples in the suite, 10,000 in `make fuzz`.
FUZZED = settings(max_examples=max(200, settings.default.max_examples))
# Of valid files, which differ less.
FUZZED_LESS = settings(max_examples=max(80, settings.default.max_examples))

# Of the CPU, since other tests run beside it.
MAX_SECONDS = 10
# Beside ten times the file: what libraries take for themselves.
FLOOR_BYTES = 100_000_000


@dataclass(frozen=True)
class Outcome:
    """What came of a file.

    Attributes:
        value: What was read; None with a message.
        message: The message of the error; "" without one.
        warnings: The text of each warning.
    """

    value: Any
    message: str
    warnings: list[str]

    @property
    def table(self) -> Table | None:
        return self.value


def outcome(read: Callable[[], Any], size: int = 0) -> Outcome:
    """Call a reader; any exception but a `PapertuneError` is a fault, and so is a foreign warning."""
    value, message = None, ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = read()
        except PapertuneError as error:
            message = str(error)
            assert message, "an error without a message"
    assert time.process_time() - begun < MAX_SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    assert grown <= 10 * size + FLOOR_BYTES, f"{grown:,} bytes for a file of {size:,}"
    assert all(issubclass(each.category, PapertuneWarning) for each in caught), [str(each.message) for each in caught]
    return Outcome(value, message, [str(each.message) for each in caught])


def outcome_of_file(path: Path, data: bytes) -> Outcome:
    """Write a file, and read it as a table."""
    path.unlink(missing_ok=True)  # to shorten a file that was just written waits for the disk
    path.write_bytes(data)
    found = outcome(lambda: read_table(path), len(data))
    if found.message:
        assert path.name in found.message, found.message
    return found
