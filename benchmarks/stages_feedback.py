"""What the stages that learn from feedback gain and cost: keywords, with papers that no two steps share.

All start from one run that has learned keywords. A reward model learns synthetic pairs and is judged by those of other
papers; dpo learns what the run wrote beside what the authors wrote; rloo and grpo learn from F1 against the authors'
keywords. The same papers, which nothing has learned, score all of them.
"""

import argparse
import itertools
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import papertune
from papertune.cli.progress import TerminalListener
from papertune.kinds.keywords.cells import split_keywords
from papertune.metrics.intervals import mean_interval
from papertune.metrics.keyword_scores import f1_at_5_by_paper, f1_at_m
from papertune.metrics.paired import mean_difference
from papertune.pipelines.prefer import prefer
from papertune.pipelines.stages.pair_accuracy import evaluate_pairs
from papertune.tables import Table, read_table

from data import data_file  # isort: skip - beside this file

Measure = Callable[[Path, argparse.Namespace], dict[str, Any]]
SEED = 2
RECIPE: dict[str, Any] = {
    "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
    "columns": {
        "Keywords": {
            "kind": "keywords",
            "question": "List the keywords of this paper, separated by semicolons.",
            "max_new_tokens": 48,
        }
    },
    "encoding": {"max_prompt_tokens": 320, "max_answer_tokens": 64},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes of these stages."""
    group = parser.add_argument_group("stages that learn from feedback")
    group.add_argument("--start", type=Path, help="a run with the column Keywords to start from; default: train one")
    group.add_argument("--start-rows", type=int, default=320, help="papers that the start learns")
    group.add_argument("--pairs", type=int, default=120, help="papers of which rm learns a pair each")
    group.add_argument("--judge-pairs", type=int, default=64, help="papers of which a pair each judges it")
    group.add_argument("--corrections", type=int, default=48, help="papers whose corrections dpo and kto learn")
    group.add_argument("--prompts", type=int, default=24, help="papers whose rewards rloo and grpo learn")
    group.add_argument("--steps", type=int, default=6, help="optimizer steps of rloo and grpo")
    group.add_argument("--generations", type=int, default=4, help="answers of rloo and grpo to a prompt")
    group.add_argument("--reward-seeds", type=int, default=1, help="trainings with rloo, and with grpo")
    group.add_argument("--dev-papers", type=int, default=16, help="papers whose score ends rloo and grpo")
    group.add_argument("--score-rows", type=int, default=64, help="papers that score the runs")


class Papers:
    """The papers of each step; no two steps share one.

    Args:
        arguments: How many each step has.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        train, dev = (_shuffled(read_table(str(data_file(f"keywords_{part}.csv")))) for part in ("train", "dev"))
        ends = np.cumsum([0, arguments.start_rows, arguments.pairs, arguments.corrections, arguments.prompts])
        self.start, self.pairs, self.corrections, self.prompts = (
            train.take(list(range(begin, end))) for begin, end in itertools.pairwise(ends)
        )
        ends = np.cumsum([0, arguments.judge_pairs, arguments.judge_pairs, arguments.dev_papers, arguments.score_rows])
        self.judge, self.judge_corrections, self.dev, self.score = (
            dev.take(list(range(begin, min(end, len(dev))))) for begin, end in itertools.pairwise(ends)
        )


def _shuffled(table: Table) -> Table:
    order = np.random.default_rng(SEED).permutation(len(table))
    return table.take(order.tolist())


def train(folder: Path, rows: Any, arguments: argparse.Namespace, stage: str, **options: Any) -> Any:
    """Train a run, or finish or open the one that the folder has."""
    settings: dict[str, Any] = {"micro_batch_size": 4, "warmup_steps": 2, "logging_steps": 1}
    settings |= options.pop("training", {})
    method = {"start_from": str(options.pop("start"))} if "start" in options else {}
    kind = {"kind": stage, **options.pop("stage_settings", {})}
    recipe = {"model": arguments.model, **RECIPE, "method": method, "training": settings, "stage": kind}
    with TerminalListener(folder.name) as listener:
        return papertune.train(
            rows,
            recipe,
            folder,
            overrides=arguments.overrides,
            device=arguments.device,
            resume=True,
            listener=listener,
            **options,
        )


def start_of(folder: Path, arguments: argparse.Namespace) -> Path:
    """Return the run that all stages start from; it is trained first if none is named."""
    if arguments.start is not None:
        return arguments.start
    place = folder.parent / "keywords-start"
    if not (place / "run.json").is_file():
        train(place, Papers(arguments).start, arguments, "sft")
    return place


def greedy_file(folder: Path, rows: Table) -> Path:
    """Return where the start's own answers for these papers are kept, for all stages."""
    return folder.parent / f"greedy-{rows.checksum()[:12]}.csv"


def f1_of(run: Any, rows: Table, file: Path) -> dict[str, np.ndarray]:
    """Return F1@M and F1@5 of each paper, predicted once and kept in a file."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with TerminalListener(file.stem) as listener:
            run.predict_file(rows, file, listener=listener)
    filled, gold = (
        [split_keywords(cell) for cell in table.column("Keywords")] for table in (read_table(str(file)), rows)
    )
    at_m = np.array([f1_at_m(*both) for both in zip(gold, filled, strict=True)])
    return {"F1@M": at_m, "F1@5": f1_at_5_by_paper(gold, filled)}


def scored(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return both means of each score with their intervals, and the paired difference."""
    return {
        name: {
            "papers": len(old),
            "before": [float(old.mean()), *asdict(mean_interval(old)).values()],
            "after": [float(after[name].mean()), *asdict(mean_interval(after[name])).values()],
            "difference": asdict(mean_difference(after[name], old)),
        }
        for name, old in before.items()
    }


def measure_rm(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Learn synthetic pairs, judge by those of other papers, and choose the best of eight answers."""
    papers = Papers(arguments)
    learned, judging = (
        _one_a_paper(prefer(rows, {"model": arguments.model, **RECIPE}, synthesise=True).pairs)
        for rows in (papers.pairs, papers.judge)
    )
    start = start_of(folder, arguments)
    reward = train(folder / "rm", learned, arguments, "rm", start=start)
    report = evaluate_pairs(reward, judging, folder / "report", overwrite=True)
    run = papertune.load_run(start, device=arguments.device)
    greedy = f1_of(run, papers.score, greedy_file(folder, papers.score))
    best = f1_of(run.with_best_of(8, folder / "rm"), papers.score, folder / "best.csv")
    return {
        "pairs": len(learned),
        "seconds": reward.manifest.seconds,
        "shares": {tier: {way: asdict(s) for way, s in ways.items()} for tier, ways in report.shares.items()},
        "best_baseline": report.best_baseline,
        "paired": asdict(report.paired),
        "f1": scored(greedy, best),
    }


def _one_a_paper(pairs: list[Any]) -> list[dict[str, Any]]:
    """Return a pair of each paper as a row, the tiers in turns.

    Several pairs with the same better answer teach that answer; and pairs of a paper are not independent.
    """
    of_papers: dict[str, list[Any]] = {}
    for pair in pairs:
        of_papers.setdefault(pair.paper, []).append(pair)
    chosen = [each[number % len(each)] for number, each in enumerate(of_papers.values())]
    names = ("instruction", "input", "chosen", "rejected", "tier", "source")
    return [{name: getattr(pair, name) for name in names} for pair in chosen]


def preferring(stage: str) -> Measure:
    """Return what measures dpo or kto."""

    def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
        papers = Papers(arguments)
        start = start_of(folder, arguments)
        run = papertune.load_run(start, device=arguments.device)
        corrections: dict[str, list[dict[str, Any]]] = {}
        for name, rows in (("learned", papers.corrections), ("held-out", papers.judge_corrections)):
            file = folder.parent / f"corrected-{name}-{rows.checksum()[:12]}.csv"
            f1_of(run, rows, file)
            found = prefer(str(file), {"model": arguments.model, **RECIPE}, corrected=rows, documents=rows)
            corrections[name] = _one_a_paper(found.pairs)
        better = train(
            folder / stage, corrections["learned"], arguments, stage, start=start, dev=corrections["held-out"]
        )
        before = f1_of(run, papers.score, greedy_file(folder, papers.score))
        after = f1_of(better, papers.score, folder / "after.csv")
        counts = {name: len(pairs) for name, pairs in corrections.items()}
        return {**better.manifest.stage_results, "counts": counts, **_cost(better), "f1": scored(before, after)}

    return measure


def rewarding(stage: str) -> Measure:
    """Return what measures rloo or grpo, beside supervised training on the same papers for the same time."""

    def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
        papers = Papers(arguments)
        start = start_of(folder, arguments)
        run = papertune.load_run(start, device=arguments.device)
        before = f1_of(run, papers.score, greedy_file(folder, papers.score))
        seeds = []
        for seed in range(arguments.reward_seeds):
            place = folder / f"{stage}-{seed}"
            settings = {"max_steps": arguments.steps, "save_steps": max(6, arguments.steps // 8), "seed": seed}
            better = train(
                place,
                papers.prompts,
                arguments,
                stage,
                start=start,
                dev=papers.dev,
                training=settings,
                stage_settings={"generations": arguments.generations},
            )
            lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text("utf-8").splitlines()]
            steps = [line for line in lines if "loss" in line]
            weights = [each.directory.adapter / "adapter_model.safetensors" for each in (run, better)]
            seeds.append(
                {
                    "changed": weights[0].read_bytes() != weights[1].read_bytes(),
                    "no_spread": statistics.mean(line["no_spread"] for line in steps),
                    "kl": max(line["kl"] for line in steps),
                    "rewards": [line["reward"] for line in steps],
                    **_cost(better),
                    "f1": scored(before, f1_of(better, papers.score, folder / f"after-{seed}.csv")),
                }
            )
        return {"prompts": len(papers.prompts), "seeds": seeds, "sft": _sft_for_as_long(folder, arguments, seeds[0])}

    return measure


def _sft_for_as_long(folder: Path, arguments: argparse.Namespace, other: dict[str, Any]) -> dict[str, Any]:
    """Train the start further on the same papers for about as many seconds as another training took."""
    papers = Papers(arguments)
    start = papertune.load_run(start_of(folder, arguments), device=arguments.device)
    step_s = max(start.manifest.seconds, 0.1) / start.manifest.steps  # tiny models take none
    steps = max(1, round(other["seconds"] / step_s))
    settings = {"max_steps": steps, "save_steps": max(6, steps // 8)}
    more = train(
        folder / "sft",
        papers.prompts,
        arguments,
        "sft",
        start=start.directory.path,
        dev=papers.dev,
        training=settings,
    )
    before = f1_of(start, papers.score, greedy_file(folder, papers.score))
    return {**_cost(more), "f1": scored(before, f1_of(more, papers.score, folder / "after-sft.csv"))}


def _cost(run: Any) -> dict[str, Any]:
    return {"steps": run.manifest.steps, "seconds": run.manifest.seconds}


def rm_section(numbers: dict[str, Any]) -> str:
    """Return the section about reward models."""
    ways = list(numbers["shares"]["all"])
    lines = [
        "## rm",
        "",
        f"{numbers['pairs']:,} synthetic pairs were learned in {numbers['seconds'] / 60:.0f} minutes. Share of other "
        f"papers' pairs whose better answer is chosen (95% interval):",
        "",
        f"| tier | pairs | {' | '.join(ways)} |",
        f"| --- | --- |{' --- |' * len(ways)}",
    ]
    for tier, shares in numbers["shares"].items():
        cells = [f"{s['share']:.3f} ({s['interval']['low']:.2f}-{s['interval']['high']:.2f})" for s in shares.values()]
        lines.append(f"| {tier} | {shares[ways[0]]['pairs']} | {' | '.join(cells)} |")
    paired = numbers["paired"]
    lines += [
        "",
        f"The reward model minus the best of the others ({numbers['best_baseline']}): {paired['difference']:+.3f} "
        f"({paired['low']:+.3f} to {paired['high']:+.3f}).",
        "",
        f"The best of eight answers: {_f1(numbers['f1'])}",
    ]
    return "\n".join(lines)


def preferring_section(stage: str) -> Callable[[dict[str, Any]], str]:
    """Return what writes the section of dpo or kto."""

    def section(numbers: dict[str, Any]) -> str:
        counts = numbers["counts"]
        gain = f" The better answers gained {numbers['chosen_gain']:+.3f} nats a token." if stage == "dpo" else ""
        return "\n".join(
            [
                f"## {stage}",
                "",
                f"{counts['learned']} corrections were learned: {numbers['steps']} steps, "
                f"{numbers['seconds'] / 60:.0f} minutes. Of {counts['held-out']} held-out ones "
                f"{numbers['pairs_right']:.0%} have the better answer gaining more than the other, by "
                f"{numbers['margin']:+.3f} (beta times nats).{gain}",
                "",
                _f1(numbers["f1"]),
            ]
        )

    return section


def rewarding_section(stage: str) -> Callable[[dict[str, Any]], str]:
    """Return what writes the section of rloo or grpo."""

    def section(numbers: dict[str, Any]) -> str:
        lines = [f"## {stage}", "", f"{numbers['prompts']} prompts."]
        for seed, found in enumerate(numbers["seeds"]):
            changed = "changed" if found["changed"] else "did not change"
            rewards = found["rewards"]
            third = -(-len(rewards) // 3)
            lines += [
                "",
                f"Seed {seed}: {found['steps']} steps, {found['seconds'] / 60:.0f} minutes. Prompts without spread: "
                f"{found['no_spread']:.0%}; divergence from the start at most {found['kl']:.3f} nats a token; the "
                f"adapter {changed}. Mean reward of the first and last third of the steps: "
                f"{statistics.mean(rewards[:third]):.3f}, "
                f"{statistics.mean(rewards[-third:]):.3f}. {_f1(found['f1'])}",
            ]
        sft = numbers["sft"]
        lines += ["", f"Stage sft for as long: {sft['steps']} steps, {sft['seconds'] / 60:.0f} minutes. "]
        lines[-1] += _f1(sft["f1"])
        return "\n".join(lines)

    return section


def _f1(found: dict[str, Any]) -> str:
    sentences = []
    for name, numbers in found.items():
        before, after, paired = numbers["before"], numbers["after"], numbers["difference"]
        sentences.append(
            f"{name} of {numbers['papers']} papers: {before[0]:.3f} ({before[1]:.3f}-{before[2]:.3f}) before, "
            f"{after[0]:.3f} ({after[1]:.3f}-{after[2]:.3f}) after; {paired['difference']:+.3f} "
            f"({paired['low']:+.3f} to {paired['high']:+.3f})."
        )
    return " ".join(sentences)
