"""A notebook as a page: its words, its code and what the code has written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def notebook_page(file: Path) -> str:
    """Return a notebook as Markdown; plots are in it as data, tables as text."""
    cells = json.loads(file.read_text("utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _parts(cell)) + "\n"


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            yield f"![](data:image/png;base64,{''.join(data['image/png']).replace(chr(10), '')})"
        else:
            written = "".join(output.get("text", data.get("text/plain", "")))
            yield f"```text\n{written.rstrip()}\n```"
