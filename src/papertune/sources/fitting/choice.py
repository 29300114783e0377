"""Which sources a label question needs, decided by the log-loss of rows that they have not seen.

The one-standard-error rule decides for the cheaper join (Breiman et al. 1984, Classification and Regression Trees,
section 3.4.3): a source is used only if it lowers the log-loss by more than the standard error of the difference. So a
column is never worse than its words alone, except by what chance does. The loss of each row is that of weights fitted
without it: a join of more sources fits any rows better, few rows most of all.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.label.record import Join
from papertune.sources.classifier import folds
from papertune.sources.fitting.weights import Weights, fit_weights, join, log_losses

# Nats; the optimizer leaves differences of this size between weights that mean the same.
_NEGLIGIBLE = 1e-4

Name = TypeVar("Name")
LogProbabilities = NDArray[np.float64]


def choose_sources(held_out: Mapping[str, LogProbabilities], gold: NDArray[np.int64], costs: Mapping[str, int]) -> Join:
    """Join sources that were cross-fitted on training rows.

    Args:
        held_out: By source the held-out log-probabilities, float64, shape (rows, labels).
        gold: Index of the gold label, int64, shape (rows,).
        costs: The cost of each source, see `Source.cost`.
    """
    fitted: dict[tuple[str, ...], tuple[Weights, NDArray[np.float64]]] = {}
    losses: dict[tuple[str, ...], NDArray[np.float64]] = {}
    free = {name for name in held_out if not costs[name]}  # always in the join: few rows may not show their worth
    for size in range(1, len(held_out) + 1):
        for names in combinations(held_out, size):
            if not free <= {*names}:
                continue
            sources = [held_out[name] for name in names]
            weights = fit_weights(sources, gold)
            fitted[names] = weights, log_losses(weights.joined(sources), gold)
            losses[names] = _cross_fitted(sources, gold)
    by_cost = sorted(losses, key=lambda names: (sum(costs[name] for name in names), losses[names].mean()))
    chosen = first_as_good({names: losses[names] for names in by_cost})
    weights, loss = fitted[chosen]
    of_sources = dict.fromkeys(held_out, 0.0) | dict(zip(chosen, weights.of_sources, strict=True))
    alone = {name: float(_alone(held_out[name], gold).mean()) for name in held_out}
    return Join(of_sources, list(weights.offsets), "held-out rows", len(gold), alone | {"joined": float(loss.mean())})


def _cross_fitted(sources: Sequence[LogProbabilities], gold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log-loss of each row by weights that were fitted without it."""
    losses = np.zeros(len(gold))
    for rest, rows in folds(gold):
        weights = fit_weights([source[rest] for source in sources], gold[rest])
        losses[rows] = log_losses(weights.joined([source[rows] for source in sources]), gold[rows])
    return losses


def _alone(source: LogProbabilities, gold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log-loss of each row by one source, its scale and the labels' shares corrected."""
    return log_losses(fit_weights([source], gold).joined([source]), gold)


def first_as_good(losses: Mapping[Name, NDArray[np.float64]]) -> Name:
    """Return the first name whose mean loss is at most one standard error above the lowest.

    Args:
        losses: The loss of each row, shape (rows,), by name.
    """
    best = min(losses, key=lambda name: float(losses[name].mean()))
    for name, loss in losses.items():
        difference = loss - losses[best]
        if difference.mean() <= standard_error(difference) + _NEGLIGIBLE:
            return name
    return best


def standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of a mean; infinite for fewer than two values."""
    return float("inf") if len(values) < 2 else float(values.std(ddof=1) / np.sqrt(len(values)))


def add_model(
    plain: Join,
    sources: Mapping[str, LogProbabilities],
    model: LogProbabilities,
    gold: NDArray[np.int64],
    evidence: Literal["dev rows", "first epoch"],
) -> Join:
    """Add the fine-tuned model to a join, or leave it out.

    Args:
        plain: The join of the other sources, from `choose_sources`.
        sources: By source the log-probabilities of the evidence, float64, shape (rows, labels).
        model: The model's.
        gold: Index of the gold label, int64, shape (rows,).
        evidence: What the rows are.
    """
    names = list(plain.weights)
    without = join([sources[name] for name in names], list(plain.weights.values()), plain.offsets)
    pair, single, plain_again = (fit_weights(each, gold) for each in ([without, model], [model], [without]))
    joined = {
        # Fitted to these rows like the others, or the model would be given credit for that.
        "without model": plain_again.joined([without]),
        "model": single.joined([model]),
        "joined": pair.joined([without, model]),
    }
    losses = {name: log_losses(found, gold) for name, found in joined.items()}
    fair = {
        "without model": _cross_fitted([without], gold),
        "model": _cross_fitted([model], gold),
        "joined": _cross_fitted([without, model], gold),
    }
    chosen = "without model"
    if first_as_good(fair) != "without model":
        # Two views of a paper err less than one on papers unlike these rows, so the model must earn being alone.
        chosen = first_as_good({name: fair[name] for name in ("joined", "model")})
    of_plain, of_model, offsets = 1.0, 0.0, np.asarray(plain.offsets)
    if chosen == "joined":
        (of_plain, of_model), added = pair.of_sources, np.asarray(pair.offsets)
        offsets = of_plain * offsets + added
    elif chosen == "model":
        of_plain, of_model, offsets = 0.0, single.of_sources[0], np.asarray(single.offsets)
    weights = {name: of_plain * weight for name, weight in plain.weights.items()} | {"model": of_model}
    alone = {name: float(_alone(sources[name], gold).mean()) for name in names}
    measured = {name: float(loss.mean()) for name, loss in losses.items() if name != "joined"}
    final = float(losses[chosen].mean())
    return Join(weights, offsets.tolist(), evidence, len(gold), {**alone, **measured, "joined": final})
