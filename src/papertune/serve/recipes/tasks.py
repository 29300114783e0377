"""What the process of `worker.py` does.

It imports only what it needs, so that it starts fast.
"""

import os
import signal
import threading
import warnings
from dataclasses import asdict, replace
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any

from papertune.errors import PapertuneError, coded, reworded, said_as
from papertune.serve.collecting import collected_warnings

if TYPE_CHECKING:
    from papertune.kinds.findings import Finding, Purpose

# Examples of prompts that a check shows.
_MAX_EXAMPLES = 4


def prepare_process(folder: str) -> None:
    """Prepare the process: it works in a folder, and ends with the server also where that is killed."""
    os.chdir(folder)
    warnings.simplefilter("ignore")  # of other packages; those of papertune are collected
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server
    server = parent_process()
    assert server is not None

    def end_with_server() -> None:
        server.join()
        os._exit(1)

    threading.Thread(target=end_with_server, daemon=True).start()


def make_recipe(path: str, name: str, columns: list[tuple[str, str]], document: list[str]) -> dict[str, Any]:
    """Write a first recipe for a table, as `papertune init` does.

    Args:
        path: The table.
        name: What messages call it.
        columns: Names and kinds of the columns to learn; none: they are guessed.
        document: Columns that the model reads; none: they are guessed.

    Returns:
        The recipe as TOML, and warnings.
    """
    from papertune.pipelines.init import recipe_for

    by_kind: dict[str, list[str]] = {}
    for column, kind in columns:
        by_kind.setdefault(kind, []).append(column)
    with collected_warnings() as messages:
        toml = recipe_for(_read(path, name), document=document, **by_kind)
    return {"toml": toml, "warnings": [text.replace(path, name) for text in dict.fromkeys(messages)]}


def check(path: str, name: str, recipe: dict[str, Any], purpose: "Purpose") -> dict[str, Any]:
    """Check a table against a recipe, as `papertune check` does.

    Args:
        path: The table.
        name: What messages call it.
        recipe: The recipe.
        purpose: What the table is for.

    Returns:
        Findings, facts and examples, as the route returns them.
    """
    from papertune.kinds.findings import Finding
    from papertune.pipelines.check import check_tables

    findings: list[Finding] = []
    facts: list[str] = []
    examples: list[Any] = []
    rows = 0

    def named(said: object) -> str:
        return reworded(said, lambda text: text.replace(path, name))

    with collected_warnings() as messages:
        try:
            table = _read(path, name)
            rows = len(table)
            result = check_tables([table], recipe, purpose=purpose, report=findings.append)
            facts, examples = result.lines, result.examples[:_MAX_EXAMPLES]
        except PapertuneError as error:
            if not any(each.level == "error" for each in findings):
                findings += [Finding("error", named(said)) for said in error.problems or (error,)]
    findings += [Finding("warning", named(text)) for text in dict.fromkeys(messages)]
    findings.sort(key=lambda each: each.level != "error")
    errors = sum(each.level == "error" for each in findings)
    notes = [Finding("note", said_as(fact.strip(), fact)) for fact in facts]
    return {
        "findings": [_as_json(each) for each in [*findings, *notes]],
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
        raise type(error)(reworded(error, lambda text: text.replace(path, name))) from None


def _as_json(finding: "Finding") -> dict[str, Any]:
    values = {"level": finding.level, "message": finding.text, "row": finding.row, "column": finding.column}
    code, params = coded(finding.text)
    said = {"code": code, "params": dict(params)} if code else {}
    return {name: value for name, value in values.items() if value is not None} | said
