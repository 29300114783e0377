"""Where the tables for measuring are: the folder PAPERTUNE_DATA, by default ../shared/data."""

import os
import sys
from pathlib import Path


def data_file(name: str) -> Path:
    """Return a table for measuring, or stop and report what is missing."""
    folder = Path(os.environ.get("PAPERTUNE_DATA", "../shared/data"))
    path = folder / name
    if not path.is_file():
        sys.exit(f"{path} is not there. Set PAPERTUNE_DATA to the folder with the tables for measuring.")
    return path
