"""Prints the oldest versions that pyproject.toml allows, as constraints for pip.

python release/lower_bounds.py > oldest.txt
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
# A release of PyTorch is gigabytes, so the check keeps the one of constraints.txt.
KEPT = {"torch"}


def lower_bounds(requirements: list[str]) -> list[str]:
    """Return NAME==VERSION for the lower bound of each requirement.

    Raises:
        ValueError: If a requirement has no lower bound.
    """
    found = []
    for requirement in map(Requirement, requirements):
        versions = [each.version for each in requirement.specifier if each.operator in (">=", "==", "~=")]
        if not versions:
            raise ValueError(f"{requirement}: there is no lower bound")
        if requirement.name not in KEPT:
            found.append(f"{requirement.name}=={versions[0]}")
    return found


if __name__ == "__main__":
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    named = [each for extra in sys.argv[1:] for each in project["optional-dependencies"][extra]]
    print(*lower_bounds([*project["dependencies"], *named]), sep="\n")
