"""One command in several processes, as a launcher starts it."""

import os
import socket
import time
from functools import partial
from typing import Any

from processes import LIMIT_S, Command, Patch


class Launch:
    """One `papertune` command in several processes.

    Args:
        arguments: Arguments of the command line.
        count: Number of processes.
        patches: Functions that every process calls first.
        of_one: More of these functions for single processes, by index.

    Attributes:
        commands: The processes.
        printed: The output of each process, after all have ended.
    """

    def __init__(
        self, arguments: list[Any], *patches: Patch, count: int = 2, of_one: dict[int, list[Patch]] | None = None
    ) -> None:
        port = free_port()
        self.printed: list[str] = []
        self.commands = [
            Command(arguments, partial(become, index, count, port), *patches, *(of_one or {}).get(index, []))
            for index in range(count)
        ]

    def end(self, limit_s: float = LIMIT_S) -> list[int]:
        """Wait for all processes; return their exit codes.

        Raises:
            Hung: If one has not ended in time, for example because another died before they had joined; all are then
                killed.
        """
        deadline = time.monotonic() + limit_s
        try:
            codes = [command.end(deadline - time.monotonic()) for command in self.commands]
        finally:
            for command in self.commands:
                command.kill()
        self.printed = [command.printed for command in self.commands]
        return codes


def become(index: int, count: int, port: int) -> None:
    """Set the variables with which torchrun makes a process one of several."""
    os.environ |= {
        "RANK": str(index),
        "LOCAL_RANK": str(index),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
