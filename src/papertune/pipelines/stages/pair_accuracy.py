"""How often a reward model prefers the better answer of a pair, beside simple ways to choose."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from papertune.errors import PapertuneWarning, RunError
from papertune.events import SILENT, Listener
from papertune.files import write_atomically
from papertune.inference.rewards.reward_model import RewardModel
from papertune.metrics.intervals import Interval, mean_interval, share_interval
from papertune.metrics.paired import PairedDifference, mean_difference
from papertune.pipelines.comparison.report_parts import check_report_place
from papertune.preferences import Pair, read_pairs
from papertune.prompts import PromptEncoder
from papertune.recipe import Recipe
from papertune.run import Run, load_run
from papertune.run_directory import RunDirectory
from papertune.tables import read_table

REWARD = "reward model"
ALL = "all"


@dataclass(frozen=True)
class PairShare:
    """How often a way to choose chooses the better answer.

    Attributes:
        pairs: Number of pairs.
        share: Share of the pairs; a pair that it cannot decide counts half.
        interval: Its 95 percent interval.
    """

    pairs: int
    share: float
    interval: Interval


@dataclass(frozen=True)
class PairReport:
    """The scores of a reward model on pairs.

    Attributes:
        run: The reward run.
        pairs: The file with the pairs.
        sources: Number of pairs of each source: "human", "synthetic" or "file".
        shares: By tier, "all" first, and by way to choose, the reward model first.
        best_baseline: The simple way with the highest share of all pairs.
        paired: The reward model minus that one, on the same pairs.
    """

    run: str
    pairs: str
    sources: dict[str, int]
    shares: dict[str, dict[str, PairShare]]
    best_baseline: str
    paired: PairedDifference

    def in_words(self) -> str:
        """Return a table, and what it shows."""
        ways = list(self.shares[ALL])
        width = max(map(len, [*self.shares, "tier"]))
        lines = [f"{'tier':<{width}}  pairs  " + "  ".join(f"{way:>18}" for way in ways)]
        for tier, shares in self.shares.items():
            cells = [f"{s.share:.3f} {s.interval.low:.2f}-{s.interval.high:.2f}" for s in shares.values()]
            count = next(iter(shares.values())).pairs
            lines.append(f"{tier:<{width}}  {count:>5}  " + "  ".join(f"{cell:>18}" for cell in cells))
        made = ", ".join(f"{count:,} {source}" for source, count in self.sources.items())
        lines.append(f"pairs: {made}. A share is that of the pairs whose better answer was chosen, with its interval.")
        difference = f"{self.paired.difference:+.3f} ({self.paired.low:+.3f} to {self.paired.high:+.3f})"
        verdict = "no better than" if self.paired.difference <= 0 or self.paired.may_be_noise else "better than"
        lines.append(f"The reward model is {verdict} {self.best_baseline}: {difference}.")
        return "\n".join(lines)


def evaluate_pairs(
    run: Run, pairs: Any, report: str | Path, *, overwrite: bool = False, listener: Listener = SILENT
) -> PairReport:
    """Score a reward run on pairs that it has not learned, and write report.json.

    Args:
        run: A run of stage rm.
        pairs: A file with pairs of answers, or a table.
        report: The folder to write.
        overwrite: Replace an existing report.
        listener: Gets messages.

    Raises:
        RunError: If the run is of another stage.
        TableError: If the pairs cannot be read.
        OutputError: If a report exists, or the folder cannot be written.
    """
    folder = Path(report)
    check_report_place(folder, overwrite=overwrite)
    rewards = RewardModel(run)
    table = read_table(pairs)
    found = read_pairs(table, run.recipe)
    if table.checksum() in {note.checksum for note in run.manifest.tables}:
        warnings.warn(
            f"{table.source} is what {run.directory.path} has learned, so its shares say nothing about other pairs.",
            PapertuneWarning,
            stacklevel=2,
        )
    listener.message(f"scoring {len(found):,} pairs")
    margins = {REWARD: _reward_margins(rewards, found), **_simple_margins(found, run.recipe)}
    margins |= _policy_margins(run, found, listener)
    right = {way: np.array([(each > 0) + 0.5 * (each == 0) for each in values]) for way, values in margins.items()}
    shares = _shares_by_tier(found, right)
    simple = [way for way in right if way != REWARD]
    best = max(simple, key=lambda way: shares[ALL][way].share)
    result = PairReport(
        run=str(run.directory.path),
        pairs=table.source,
        sources={
            source: sum(pair.source == source for pair in found) for source in dict.fromkeys(p.source for p in found)
        },
        shares=shares,
        best_baseline=best,
        paired=mean_difference(right[REWARD], right[best]),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "report.json", json.dumps(asdict(result), indent=2, ensure_ascii=False) + "\n")
    return result


def _shares_by_tier(pairs: Sequence[Pair], right: Mapping[str, Any]) -> dict[str, dict[str, PairShare]]:
    """Return the shares by tier, all pairs first; a single tier is all pairs."""
    tiers = [ALL, *dict.fromkeys(pair.tier or "no tier" for pair in pairs)]
    shares: dict[str, dict[str, PairShare]] = {}
    for tier in tiers if len(tiers) > 2 else [ALL]:
        chosen = np.array([tier in (ALL, pair.tier or "no tier") for pair in pairs])
        shares[tier] = {way: _share(values[chosen]) for way, values in right.items()}
    return shares


def _share(right: Any) -> PairShare:
    hits = float(right.sum())
    interval = share_interval(int(hits), len(right)) if hits.is_integer() else mean_interval(right)
    return PairShare(len(right), hits / len(right), interval)


def _reward_margins(rewards: RewardModel, pairs: Sequence[Pair]) -> list[float]:
    """Return the reward of each better answer minus that of the other one."""
    margins = [0.0] * len(pairs)
    recipe = rewards.run.recipe
    for name in recipe.questions:
        places = [place for place, pair in enumerate(pairs) if pair.column == name]
        prompts = [pairs[place].prompt(recipe) for place in places]
        answers = [[pairs[place].chosen, pairs[place].rejected] for place in places]
        for place, (chosen, rejected) in zip(places, rewards.rewards(name, prompts, answers), strict=True):
            margins[place] = chosen - rejected
    return margins


def _simple_margins(pairs: Sequence[Pair], recipe: Recipe) -> dict[str, list[float]]:
    """Return the margins of choosing the longer answer, and the one of which more stands in the document."""

    def present(pair: Pair, answer: str) -> float:
        return recipe.questions[pair.column].present_share(answer, pair.input)

    ways: Mapping[str, Callable[[Pair, str], float]] = {
        "longer": lambda _, answer: float(len(answer)),
        "in the document": present,
    }
    return {
        way: [score(pair, pair.chosen) - score(pair, pair.rejected) for pair in pairs] for way, score in ways.items()
    }


def _policy_margins(run: Run, pairs: Sequence[Pair], listener: Listener) -> dict[str, list[float]]:
    """Return the margins of the log-probability by the run that the reward model started from; {} if that is gone."""
    parent = run.manifest.parents[-1]
    try:
        policy = load_run(parent.path, device=run.device, base=run.base_place)
    except RunError as error:
        listener.message(f"the log-probability is left out: {error}")
        return {}
    if RunDirectory(Path(parent.path)).weights_checksum() != parent.checksum:
        listener.message(f"the log-probability is left out: {parent.path} is another run now")
        return {}
    from papertune.training.feedback import answer_log_probs, encode_pairs

    model, tokenizer = policy.load()
    encoded, _ = encode_pairs(pairs, run.recipe, PromptEncoder(tokenizer, run.recipe.encoding, chat=run.recipe.chat))
    sequences = [(pair.prompt, answer) for pair in encoded for answer in (pair.chosen, pair.rejected)]
    sums = answer_log_probs(model, sequences).tolist()
    means = [each / len(answer) for each, (_, answer) in zip(sums, sequences, strict=True)]
    return {
        way: [chosen - rejected for chosen, rejected in zip(values[::2], values[1::2], strict=True)]
        for way, values in (("log-probability", sums), ("per token", means))
    }
