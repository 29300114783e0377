"""Executes the tutorial notebook, and keeps its outputs in both languages.

    python examples/run_tutorial.py            # a full run, about ten minutes

tutorial.ipynb is the source of the code: tutorial.zh-CN.ipynb has its own words, and gets the same code cells and the
same outputs.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
ENGLISH, CHINESE = FOLDER / "tutorial.ipynb", FOLDER / "tutorial.zh-CN.ipynb"
# Longer than any step on two cores; ChatGLM2 on a GPU takes hours.
STEP_TIMEOUT_S = 4 * 3600


def execute(notebook: Any, folder: Path, parameters: Mapping[str, Any] | None = None) -> None:
    """Execute a notebook in place.

    Args:
        notebook: The notebook.
        folder: Its working directory.
        parameters: Values for the names that its cell with the tag "parameters" sets.

    Raises:
        CellExecutionError: If a cell fails.
        KeyError: If the notebook sets no such name.
    """
    (cell,) = (each for each in notebook.cells if "parameters" in each.metadata.get("tags", ()))
    written = cell.source
    for name, value in (parameters or {}).items():
        if not re.search(rf"^{name} = ", cell.source, re.MULTILINE):
            raise KeyError(name)
        cell.source += f"\n{name} = {value!r}"
    client = NotebookClient(
        notebook, timeout=STEP_TIMEOUT_S, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    try:
        client.execute()
    finally:
        cell.source = written


def clean(notebook: Any, folder: Path) -> None:
    """Remove what only this machine and this moment have: paths, and the earlier states of progress bars."""
    for cell in code_cells(notebook):
        kept: list[Any] = []
        for output in cell.outputs:
            if kept and output.output_type == "stream" and output.name == kept[-1].get("name"):
                kept[-1].text += output.text  # a bar goes on in a stream of its own after each pause
            else:
                kept.append(output)
        for output in kept:
            if output.output_type == "stream":
                output.text = without_paths(without_warnings(last_states(output.text)), folder)
        cell.outputs = [each for each in kept if each.output_type != "stream" or each.text.strip()]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def last_states(text: str) -> str:
    """Return what a terminal shows in the end of a text with carriage returns."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))


def without_warnings(text: str) -> str:
    """Return a text without the warnings of installed packages, each with the line of code that it quotes."""
    return re.sub(r"^.*/site-packages/.*Warning: .*\n  .*\n", "", text, flags=re.MULTILINE)


def without_paths(text: str, folder: Path) -> str:
    """Return a text in which paths below a folder are relative to it."""
    return text.replace(f"{folder.resolve()}/", "")


def code_cells(notebook: Any) -> list[Any]:
    """Return the cells with code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def copy_code(source: Any, target: Any) -> None:
    """Copy the code and outputs of a notebook into another one, whose cells are of the same kinds in the same order.

    Raises:
        ValueError: If they are not.
    """
    if [cell.cell_type for cell in source.cells] != [cell.cell_type for cell in target.cells]:
        raise ValueError("the two notebooks do not have the same kinds of cells; add or remove the cell in both")
    for cell, other in zip(source.cells, target.cells, strict=True):
        if cell.cell_type == "code":
            other.update({key: cell[key] for key in ("source", "outputs", "execution_count", "metadata")})
    target.metadata = source.metadata


def main() -> None:
    """Execute the English notebook, and write both."""
    english, chinese = (nbformat.read(path, as_version=4) for path in (ENGLISH, CHINESE))
    copy_code(english, chinese)  # different cells are found before a long run, not after it
    execute(english, FOLDER)
    clean(english, FOLDER)
    copy_code(english, chinese)
    for notebook, path in ((english, ENGLISH), (chinese, CHINESE)):
        nbformat.validate(notebook)
        path.write_text(nbformat.writes(notebook) + "\n", "utf-8")
        sys.stdout.write(f"{path.name} written\n")


if __name__ == "__main__":
    main()
