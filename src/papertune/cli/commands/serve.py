"""papertune serve."""

from pathlib import Path
from typing import Annotated

import typer

from papertune.cli.app import app


@app.command()
def serve(
    work: Annotated[Path, typer.Option("--work", help="The work folder; it is made if it is missing.")] = Path(
        "papertune-work"
    ),
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any free one.")] = 8765,
) -> None:
    """Open a page in the browser's reach: tables, training, filling, screening; and an API."""
    from papertune.serve.server import serve

    serve(work, host, port, None, lambda address: typer.echo(address))
