"""The command line: each command parses its arguments, calls the Python API and prints the result."""

from papertune.cli.app import main

__all__ = ["main"]
