"""Which of several programs fills in which files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from papertune.errors import TableError, quoted


@dataclass(frozen=True)
class Shard:
    """One of several programs that share files: each file belongs to exactly one of them.

    Attributes:
        number: The number of this one, from 1.
        count: How many there are.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise TableError(
                f"shard {self.number}/{self.count} does not exist: they are numbered from 1 to {self.count}. For "
                f'example "1/{max(self.count, 1)}".'
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read a shard as it is written on the command line, such as "3/8".

        Raises:
            TableError: If it is none.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
        if found is None:
            raise TableError(f'--shard {quoted(text)} is not NUMBER/COUNT. For example "3/8", the third of eight.')
        return cls(int(found[1]), int(found[2]))

    def share(self, parts: Sequence[Path]) -> list[Path]:
        """Return the files of this shard; the order in which they are given does not matter.

        Args:
            parts: All files; no two have the same name.
        """
        return sorted(parts, key=lambda part: part.name)[self.number - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
