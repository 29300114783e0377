"""The command line: each command parses, calls the Python API and prints."""

from papertune.cli.app import main

__all__ = ["main"]
