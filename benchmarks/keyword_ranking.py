"""Compares sources and orders of ranked keywords on a table with gold keywords.

    python benchmarks/keyword_ranking.py --run RUN --table keywords_dev.csv --cache keywords_dev.jsonl

The model scores all candidates of all papers once and keeps them in the cache; a second call reads them. Then each
source (beam search, phrases of the document, both) is ordered in each way: by the log-probability of the whole keyword,
by its mean over the tokens, and by a regression. The regression is fitted on four fifths of the papers and orders the
others. On fewer than 30 papers nothing is fitted, and the first order is used. F1@5 and F1@O are of the first 20
keywords, F1@M of those that are written. "Cut off" leaves out keywords below the confidence that is best on the other
papers.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from papertune.inference.predictor import Predictor
from papertune.kinds import RankedKeywordsColumn
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.keywords.ranked.candidates import Candidate
from papertune.kinds.keywords.ranked.fit import fit_ranking
from papertune.kinds.keywords.ranked.ranking import FEATURES, FoundKeyword, KeywordChoice
from papertune.metrics.keyword_scores import f1_at_5_by_paper, score_keywords
from papertune.metrics.paired import mean_difference
from papertune.prompts.examples import RowReader
from papertune.run import load_run
from papertune.tables import read_table

PARTS = 5
MAX_KEYWORDS = 20

Papers = Sequence[Sequence[FoundKeyword]]
SOURCES: dict[str, Callable[[FoundKeyword], bool]] = {
    "generated": lambda keyword: keyword.generated,
    "document": lambda keyword: keyword.phrase is not None,
    "both": lambda keyword: True,
}


def main() -> None:
    """Read the candidates and print a line for each source and order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="a run with one column of ranked keywords")
    parser.add_argument("--table", required=True, help="a table with gold keywords")
    parser.add_argument("--rows", type=int, help="use only this many rows")
    parser.add_argument("--cache", type=Path, help="keep the candidates in this file, or read them if it exists")
    arguments = parser.parse_args()
    run = load_run(arguments.run)
    ranked = {name: each for name, each in run.recipe.columns.items() if isinstance(each, RankedKeywordsColumn)}
    if len(ranked) != 1:
        raise SystemExit(f"error: {arguments.run} has {len(ranked)} columns of ranked keywords, not one.")
    ((name, column),) = ranked.items()
    if arguments.cache is not None and arguments.cache.exists():
        gold, documents, found = read_cache(arguments.cache)
    else:
        gold, documents, found = collect(run, name, column, arguments.table, arguments.rows)
        if arguments.cache is not None:
            write_cache(arguments.cache, gold, documents, found)
    print("| candidates | order | F1@5 | F1@M | F1@O | F1@5 less that of the first line |")
    print("| --- | --- | --- | --- | --- | --- |")
    first: Any = None
    for source, is_of in SOURCES.items():
        taken = [[keyword for keyword in paper if is_of(keyword)] for paper in found]
        for order, lists, written in orders(taken, gold, column):
            by_paper = f1_at_5_by_paper(gold, lists)
            first = by_paper if first is None else first
            difference = mean_difference(by_paper, first)
            scores, scores_at_m = score_keywords(gold, lists, documents), score_keywords(gold, written, documents)
            five, same = scores.f1_at_5_interval, scores.f1_at_o_interval
            print(
                f"| {source} | {order} | {scores.f1_at_5:.3f} ({five.low:.3f}-{five.high:.3f}) "
                f"| {scores_at_m.f1_at_m:.3f} | {scores.f1_at_o:.3f} ({same.low:.3f}-{same.high:.3f}) "
                f"| {difference.difference:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}) |",
                flush=True,
            )


def collect(
    run: Any, name: str, column: RankedKeywordsColumn, path: str, rows: int | None
) -> tuple[list[list[str]], list[str], Papers]:
    """Return gold keywords, documents and all candidates of the papers that have gold keywords."""
    column = column.model_copy(update={"candidates": "both"})
    recipe = run.recipe.model_copy(update={"columns": {name: column}})
    predictor = Predictor(*run.load(), recipe)
    reader = RowReader(table := read_table(path), recipe)
    gold = {row: split_keywords(reader.given(row, name) or "") for row in range(min(rows or len(table), len(table)))}
    gold = {row: keywords for row, keywords in gold.items() if keywords}
    found: dict[int, Sequence[FoundKeyword]] = {}
    for batch in predictor.plan(reader, list(gold)).batches:
        for row, keywords in zip(batch, predictor.find_candidates(reader, batch)[name], strict=True):
            found[int(row)] = keywords or []
        print(f"{len(found)} of {len(gold)} papers", flush=True)
    return list(gold.values()), [reader.document(row) for row in gold], [found[row] for row in gold]


def orders(
    found: Papers, gold: Sequence[Sequence[str]], column: RankedKeywordsColumn
) -> list[tuple[str, list[list[str]], list[list[str]]]]:
    """Return for each order its name, the first keywords of each paper, and those that would be written."""
    by_sum = [[keyword.text for keyword in paper][:MAX_KEYWORDS] for paper in found]
    by_token = [[keyword.text for keyword in sorted(paper, key=lambda each: -each.confidence)] for paper in found]
    learned: list[list[str]] = [[] for _ in found]
    cut: list[list[str]] = [[] for _ in found]
    asking = column.model_copy(update={"min_confidence": "f1"})
    parts = np.random.default_rng(0).permutation(len(found)) % PARTS
    for part in range(PARTS):
        others = [index for index in range(len(found)) if parts[index] != part]
        fitted = fit_ranking(asking, [found[index] for index in others], [gold[index] for index in others])
        weights = fitted.weights and np.array([fitted.weights[feature] for feature in FEATURES])
        choice = KeywordChoice(weights, fitted.intercept)
        for index in np.flatnonzero(parts == part).tolist():
            ranked = choice.rank(found[index])
            learned[index] = [text for text, _ in ranked][:MAX_KEYWORDS]
            confident = [text for text, confidence in ranked if confidence >= (fitted.min_confidence or 0.0)]
            cut[index] = confident[: column.count]
    rows = {"sum": by_sum, "by token": [paper[:MAX_KEYWORDS] for paper in by_token], "learned": learned}
    listed = [(order, lists, [paper[: column.count] for paper in lists]) for order, lists in rows.items()]
    return [*listed, ("learned, cut off", cut, cut)]


def write_cache(path: Path, gold: Sequence[Sequence[str]], documents: Sequence[str], found: Papers) -> None:
    """Write the candidates, one paper per line."""
    with path.open("w", encoding="utf-8") as stream:
        for keywords, document, paper in zip(gold, documents, found, strict=True):
            line = {"true": keywords, "document": document, "found": [asdict(keyword) for keyword in paper]}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_cache(path: Path) -> tuple[list[list[str]], list[str], Papers]:
    """Return what `write_cache` wrote."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    found = [
        [
            FoundKeyword(**{**keyword, "phrase": keyword["phrase"] and Candidate(**keyword["phrase"])})
            for keyword in line["found"]
        ]
        for line in lines
    ]
    return [line["true"] for line in lines], [line["document"] for line in lines], found


if __name__ == "__main__":
    main()
