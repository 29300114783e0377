"""A process that makes and checks recipes, so that large tables and models' tokenizers never hold up the server.

Warnings belong to a whole process, too: here there is nothing else that could warn.
"""

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

from papertune.errors import PapertuneError, PapertuneWarning
from papertune.kinds.findings import Finding, Purpose
from papertune.serve.errors import ServeError

# The longest check of a table of 20,000 rows takes a tenth of it.
LIMIT_S = 300.0
# The process ends if nothing is asked of it for so long.
IDLE_S = 300.0
# Examples of prompts that a check shows.
_MAX_EXAMPLES = 4

_Result = TypeVar("_Result")


class Worker:
    """Runs functions in one process, one after the other. It starts with the first one.

    Args:
        folder: The folder in which it works: relative paths in recipes are looked for there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._timer: threading.Timer | None = None
        self._asked = 0

    def run(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Return what a function of this module returns.

        Raises:
            PapertuneError: What it raises.
            ServeError: 400 if it takes too long, or ends the process, as full memory does.
        """
        with self._lock:
            self._stop_timer()
            self._asked += 1
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    1, mp_context=get_context("spawn"), initializer=_prepare, initargs=(str(self._folder),)
                )
            pool = self._pool
            future = pool.submit(function, *arguments)
        try:
            return future.result(LIMIT_S)
        except (TooLate, BrokenProcessPool) as error:
            self._end(pool)
            what = "took too long" if isinstance(error, TooLate) else "was ended, perhaps since the memory was full"
            raise ServeError(
                400, "too_large", f"the check {what}. Check a smaller table, or use papertune check.", "table"
            ) from None
        finally:
            with self._lock:
                self._asked -= 1
                if not self._asked and self._pool is pool:
                    self._timer = threading.Timer(IDLE_S, self._end, [pool])
                    self._timer.daemon = True
                    self._timer.start()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop_timer()
            pool = self._pool
        if pool is not None:
            self._end(pool)

    def _end(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                if self._asked and self._timer is not None:
                    return  # asked again at the moment when the time was over
                self._pool = None
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _prepare(folder: str) -> None:
    """Prepare the process: it works in a folder, and ends with the server also where that is killed."""
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server
    server = parent_process()
    assert server is not None

    def end_with_server() -> None:
        server.join()
        os._exit(1)

    threading.Thread(target=end_with_server, daemon=True).start()


def make_recipe(path: str, name: str, columns: list[tuple[str, str]]) -> dict[str, Any]:
    """Write a first recipe for a table, as `papertune init` does.

    Args:
        path: The table.
        name: What messages call it.
        columns: Names and kinds of the columns to learn; none: they are guessed.

    Returns:
        The recipe as TOML, and warnings.
    """
    from papertune.pipelines.init import recipe_for

    by_kind: dict[str, list[str]] = {}
    for column, kind in columns:
        by_kind.setdefault(kind, []).append(column)
    with _collected_warnings() as messages:
        toml = recipe_for(_read(path, name), **by_kind)
    return {"toml": toml, "warnings": [message.replace(path, name) for message in messages]}


def check(path: str, name: str, recipe: dict[str, Any], purpose: Purpose) -> dict[str, Any]:
    """Check a table against a recipe, as `papertune check` does.

    Args:
        path: The table.
        name: What messages call it.
        recipe: The recipe.
        purpose: What the table is for.

    Returns:
        Findings, facts and examples, as the route returns them.
    """
    from papertune.pipelines.check import check_tables

    findings: list[Finding] = []
    facts: list[str] = []
    examples: list[Any] = []
    rows = 0
    with _collected_warnings() as messages:
        try:
            table = _read(path, name)
            rows = len(table)
            result = check_tables([table], recipe, purpose=purpose, report=findings.append)
            facts, examples = result.lines, result.examples[:_MAX_EXAMPLES]
        except PapertuneError as error:
            if not any(each.level == "error" for each in findings):
                texts = error.problems or (str(error),)
                findings += [Finding("error", text.replace(path, name)) for text in texts]
    findings += [Finding("warning", text.replace(path, name)) for text in messages]
    findings.sort(key=lambda each: each.level != "error")
    errors = sum(each.level == "error" for each in findings)
    return {
        "findings": [_as_json(each) for each in [*findings, *(Finding("note", fact.strip()) for fact in facts)]],
        "summary": {
            "ok": not errors,
            "errors": errors,
            "warnings": len(findings) - errors,
            "rows": rows,
            "examples": [asdict(each) for each in examples],
        },
    }


def _read(path: str, name: str) -> Any:
    """Read a table, which messages then call by another name than that of its file."""
    from papertune.tables import read_table

    try:
        return replace(read_table(path), source=name)
    except PapertuneError as error:
        raise type(error)(str(error).replace(path, name)) from None


def _as_json(finding: Finding) -> dict[str, Any]:
    values = {"level": finding.level, "message": finding.text, "row": finding.row, "column": finding.column}
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Collect the texts of papertune's warnings, each once, in the list that is yielded."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PapertuneWarning)
        yield texts
    texts += dict.fromkeys(str(each.message) for each in caught)
