"""How far readers agree: Cohen's kappa of each pair, and the records on which they do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from papertune.screening.state import State


@dataclass(frozen=True)
class Agreement:
    """Two readers on the records that both included or excluded.

    Attributes:
        readers: The two readers.
        both_include: Records that both include.
        only_first: Records that only the first includes.
        only_second: Records that only the second includes.
        both_exclude: Records that both exclude.
        kappa: Cohen's kappa (Cohen 1960, doi:10.1177/001316446002000104); None if it is not defined: no such record, or
            both gave the same answer each time.
    """

    readers: tuple[str, str]
    both_include: int
    only_first: int
    only_second: int
    both_exclude: int
    kappa: float | None

    @property
    def records(self) -> int:
        """Number of records that both included or excluded."""
        return self.both_include + self.only_first + self.only_second + self.both_exclude


def cohen_kappa(both_include: int, only_first: int, only_second: int, both_exclude: int) -> float | None:
    """Return Cohen's kappa of a table of two answers by two readers; None if it is not defined.

    kappa = (p_o - p_e) / (1 - p_e), with the observed agreement p_o and the one expected by chance p_e.
    """
    total = both_include + only_first + only_second + both_exclude
    if not total:
        return None
    first, second = both_include + only_first, both_include + only_second
    # Times total squared, in whole numbers: exact.
    expected = first * second + (total - first) * (total - second)
    if expected == total**2:
        return None
    return ((both_include + both_exclude) * total - expected) / (total**2 - expected)


def agreements(state: State, readers: Sequence[str]) -> list[Agreement]:
    """Return the agreement of each pair of readers; unsure decisions are left out."""
    counts = {pair: [0, 0, 0, 0] for pair in combinations(readers, 2)}
    for record in list(state.outcomes):
        verdicts = {reader: verdict for reader, verdict in state.verdicts(record).items() if verdict != "unsure"}
        for pair in combinations([reader for reader in readers if reader in verdicts], 2):
            first, second = (verdicts[reader] == "exclude" for reader in pair)
            counts[pair][2 * first + second] += 1
    return [
        Agreement(pair, both, first, second, neither, cohen_kappa(both, first, second, neither))
        for pair, (both, first, second, neither) in counts.items()
    ]


def conflicts(state: State) -> list[int]:
    """Return the numbers of the records that one reader includes and another excludes, and nobody has settled."""
    return sorted(record for record, outcome in state.outcomes.copy().items() if outcome == "conflict")
