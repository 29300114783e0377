"""papertune serve."""

import os
from pathlib import Path
from typing import Annotated

import typer

from papertune.cli.app import app

_EXTRA = {"fastapi", "starlette", "uvicorn"}


@app.command()
def serve(
    run: Annotated[Path | None, typer.Argument(help="The run that the page opens with.", show_default=False)] = None,
    work: Annotated[
        Path, typer.Option("--work", metavar="DIR", help="The work folder; it is made if it is missing.")
    ] = Path("papertune-work"),
    host: Annotated[
        str, typer.Option(help="Address to listen at; another than this machine's own needs --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            help="What opens the page and the API; default: a new one, or PAPERTUNE_TOKEN.", show_default=False
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a page and an API: tables, training, filling, chat, screening. Ctrl-C ends it; jobs go on."""
    from papertune.errors import MissingExtraError

    try:
        from papertune.serve.server import serve as serve_folder
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtraError(
            'papertune serve needs packages that are not installed: pip install "papertune[serve]"'
        ) from None

    def tell(address: str) -> None:
        typer.echo(f"{work}: open {address}\nCtrl-C ends the server; jobs go on.")
        if open_page:
            typer.launch(address)

    chosen = token or os.environ.get("PAPERTUNE_TOKEN") or None
    try:
        serve_folder(work, run, host, port, chosen, tell)
    except KeyboardInterrupt:
        typer.echo("ended; nothing is lost, and the same command goes on.")
