"""Simulated screenings of a table whose labels are known: how soon are the relevant records found?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papertune.errors import ScreeningError
from papertune.evaluation.systems.elas_u4 import tfidf
from papertune.events import SILENT, Listener
from papertune.metrics.selective import ROUNDING
from papertune.screening.ranking.features import Features, embed, make_features
from papertune.screening.ranking.ranker import rank
from papertune.screening.simulation.machine import fit_dual

ELAS, OWN = "ELAS u4", "papertune"
# Records that are read between two fits, as a share of those that are read; at least one.
GROWTH = 0.02
# Up to this number of records all products of two records are computed once, which needs their square times 8 bytes.
_MAX_PRODUCTS = 5000
_RECALL, _EARLY = 0.95, 0.1


@dataclass(frozen=True)
class Measures:
    """How a simulated screening went; the two records with which it began do not count.

    Attributes:
        wss: Work saved over sampling at a recall of 95 percent: 0.95 - share of records read until then (Cohen et al.
            2006).
        early_recall: Recall after 10 percent of the records.
        mean_recall: Mean of the recall over all numbers of records read.
        atd: Average time to discovery: mean over the relevant records of the share of records read until it is found
            (Ferdinands et al. 2023, doi:10.1186/s13643-023-02257-7).
    """

    wss: float
    early_recall: float
    mean_recall: float
    atd: float


def simulate(features: Features, relevant: NDArray[np.bool_], seed: int, growth: float = GROWTH) -> NDArray[np.int64]:
    """Simulate a screening that begins with one relevant and one irrelevant record and ends when all are found.

    Args:
        features: The features of all records.
        relevant: Whether each is relevant, shape (records,), at least two of them and one that is not.
        seed: Draws the two records.
        growth: See `GROWTH`; 0: the ranking is fitted after each record.

    Returns:
        After how many records each relevant one was found, from 1, ascending, shape (relevant - 1,).
    """
    draw = np.random.default_rng(seed)
    read = [int(draw.choice(np.flatnonzero(relevant == value))) for value in (True, False)]
    unread = np.ones(len(relevant), dtype=bool)
    unread[read] = False
    next_order = _orders(features, relevant)
    while unread[relevant].any():
        order = next_order(read)
        chosen = order[unread[order]][: max(1, int(growth * len(read)))]
        unread[chosen] = False
        read += chosen.tolist()
    return np.flatnonzero(relevant[read[2:]]) + 1


def _orders(features: Features, relevant: NDArray[np.bool_]) -> Callable[[list[int]], NDArray[np.int64]]:
    """Return a function from the records read so far to the order of all records."""
    if len(features) > _MAX_PRODUCTS:
        return lambda read: rank(features, {record: bool(relevant[record]) for record in read}).order
    products = (features.matrix @ features.matrix.T).toarray() + 1
    last = np.zeros(0)

    def order(read: list[int]) -> NDArray[np.int64]:
        nonlocal last
        known = np.array(read)
        start = np.append(last, np.zeros(len(read) - len(last)))
        last = fit_dual(products[np.ix_(known, known)], relevant[known], start)
        scores: NDArray[np.float64] = last @ products[known]
        return np.argsort(-scores, kind="stable")

    return order


def measure(found: NDArray[np.int64], records: int) -> Measures:
    """Measure a simulated screening.

    Args:
        found: What `simulate` returns.
        records: Records that could be read: all but the two.
    """
    needed = int(np.ceil(_RECALL * len(found) - ROUNDING))
    return Measures(
        wss=_RECALL - int(found[needed - 1]) / records,
        early_recall=float((found <= _EARLY * records + ROUNDING).mean()),
        mean_recall=float(np.mean(records - found + 1) / records),
        atd=float(np.mean(found) / records),
    )


def systems(documents: Sequence[str], encoder: str, listener: Listener) -> dict[str, Callable[[], Features]]:
    """Return the systems that are compared, by name: what computes their features.

    Args:
        documents: Title and abstract of each record.
        encoder: See `Settings`.
        listener: Gets the progress of the sentence encoder.
    """

    def elas() -> Features:
        matrix = tfidf(documents)
        if matrix is None:
            raise ScreeningError("the documents have no words to rank by. Check the columns with title and abstract.")
        return Features(matrix, [])

    def own() -> Features:
        return make_features(documents, vectors=embed(documents, encoder, None, listener))

    return {OWN: own, ELAS: elas}


@dataclass(frozen=True)
class Simulations:
    """Simulated screenings of one table.

    Attributes:
        records: Number of records.
        relevant: Number of relevant ones.
        found: What `simulate` returns, by system, one for each seed.
    """

    records: int
    relevant: int
    found: Mapping[str, Sequence[NDArray[np.int64]]]

    def measures(self, system: str) -> list[Measures]:
        """Return the measures of a system, one for each seed."""
        return [measure(found, self.records - 2) for found in self.found[system]]

    def summary(self, system: str) -> dict[str, tuple[float, float | None]]:
        """Return mean and standard error over the seeds of each measure; no error with one seed."""
        return {
            name: mean_and_error([getattr(each, name) for each in self.measures(system)])
            for name in Measures.__dataclass_fields__
        }

    def curve(self, system: str) -> NDArray[np.float64]:
        """Return the mean recall after 0, 1, 2, ... records read, shape (records - 1,)."""
        steps = np.arange(self.records - 1)
        curves = [np.searchsorted(found, steps, "right") / len(found) for found in self.found[system]]
        return np.asarray(np.mean(curves, axis=0), dtype=np.float64)


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean of values and its standard error; no error for one value."""
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return float(np.mean(values)), error


def run_simulations(
    documents: Sequence[str],
    relevant: NDArray[np.bool_],
    seeds: int,
    *,
    first_seed: int = 0,
    encoder: str = "auto",
    growth: float = GROWTH,
    listener: Listener = SILENT,
) -> Simulations:
    """Simulate screenings with papertune's ranking and with that of ELAS u4, from the same records.

    Args:
        documents: Title and abstract of each record.
        relevant: Whether each is relevant, shape (records,).
        seeds: Number of screenings of each system.
        first_seed: The first of the seeds.
        encoder: See `Settings`.
        growth: See `GROWTH`.
        listener: Gets a message after each screening.

    Raises:
        ScreeningError: If there are fewer than two relevant records, or no other one.
    """
    if relevant.sum() < 2 or relevant.all():
        raise ScreeningError(
            f"{int(relevant.sum()):,} of {len(relevant):,} records are relevant; a simulation needs at least two that "
            "are and one that is not. Check the label column and the value that means include."
        )
    found: dict[str, list[NDArray[np.int64]]] = {}
    for name, make in systems(documents, encoder, listener).items():
        features = make()
        found[name] = []
        for seed in range(first_seed, first_seed + seeds):
            found[name].append(simulate(features, relevant, seed, growth))
            each = measure(found[name][-1], len(relevant) - 2)
            listener.message(f"{name}, seed {seed}: WSS@95 {each.wss:.3f}, ATD {each.atd:.3f}")
    return Simulations(len(relevant), int(relevant.sum()), found)
