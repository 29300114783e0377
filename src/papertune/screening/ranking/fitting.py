"""Fits rankings in a process of its own: hundreds of milliseconds of computation after each decision, without a pause.

In the process that stores decisions they would hold the interpreter's lock again and again while the next one waits.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from papertune.errors import ScreeningError
from papertune.screening.ranking.apart import Stopped, yield_to_readers
from papertune.screening.ranking.features import Features
from papertune.screening.ranking.prepared import load_prepared
from papertune.screening.ranking.ranker import Ranking, rank

# Of what an answer consists after its first line: scores, order, places of weights and the weights.
_KINDS = ("<f8", "<i8", "<i8", "<f8")
_ITEM_BYTES = 8


class Fitter:
    """A process that ranks the records of prepared features as `rank` does. It ends with this one.

    Args:
        folder: What `prepare_apart` has left.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_closed = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "papertune.screening.ranking.fitting", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def rank(self, features: Features, relevant: Mapping[int, bool], seed: int) -> Ranking:
        """Rank records; the arguments are those of `rank`, `features` being those of the folder.

        Raises:
            Stopped: If it was closed meanwhile.
            ScreeningError: If the process fails.
        """
        request = json.dumps({"relevant": list(relevant.items()), "seed": seed})
        try:
            return self._ask(request.encode() + b"\n", features)
        except (OSError, ValueError) as error:  # the pipe has ended
            if self._is_closed:
                raise Stopped from None
            self._process.kill()
            self._process.wait()
            raise ScreeningError(
                "the ranking could not be computed: its process has ended. Make room in memory, then decide about "
                "another record."
            ) from error

    def _ask(self, request: bytes, features: Features) -> Ranking:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request)
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ScreeningError(f"the ranking could not be computed: {answer['error']}.")
        arrays = [
            np.frombuffer(self._process.stdout.read(length * _ITEM_BYTES), dtype=kind)
            for kind, length in zip(_KINDS, answer["lengths"], strict=True)
        ]
        scores, order, places, values = arrays
        if sum(map(len, arrays)) != sum(answer["lengths"]):
            raise ValueError("the answer is cut off")
        weights = None
        if answer["has_weights"]:
            weights = np.zeros(features.matrix.shape[1])
            weights[places] = values
        return Ranking(scores, order, answer["basis"], weights, features)

    def close(self) -> None:
        """End the process."""
        self._is_closed = True
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was not sent
                    continue


def main(folder: Path, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more: the process that sends them has ended then, even if it was killed."""
    features = load_prepared(folder).features
    for line in requests:
        request = json.loads(line)
        try:
            ranking = rank(features, dict(request["relevant"]), request["seed"])
        except Exception as error:
            answers.write(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        else:
            _write(ranking, answers)
        answers.flush()


def _write(ranking: Ranking, answers: IO[bytes]) -> None:
    """Write a ranking: of the weights only those that are not 0, which are few."""
    weights = np.zeros(0) if ranking.weights is None else ranking.weights
    places = np.flatnonzero(weights)
    arrays = (ranking.scores, ranking.order, places, weights[places])
    header = {
        "basis": ranking.basis,
        "has_weights": ranking.weights is not None,
        "lengths": [len(array) for array in arrays],
    }
    answers.write(json.dumps(header).encode() + b"\n")
    for array, kind in zip(arrays, _KINDS, strict=True):
        answers.write(array.astype(kind).tobytes())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the process that asks
    yield_to_readers()
    main(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
