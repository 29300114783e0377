"""Compares where ranked keywords come from, and how they are ordered, on a table with the true ones.

    python benchmarks/keyword_ranking.py --run RUN --table keywords_dev.csv --cache keywords_dev.jsonl

All candidates of all papers go through the model once and are kept in the cache; a second call reads them. Then each
source (found by beam search, phrases of the document, both) is ordered in each way: by the log-probability of the whole
keyword, the same by token, and as a regression says that is fitted on the other papers: in five parts, so no paper is
ordered by what it has itself decided. On fewer than 30 papers nothing is fitted, and the order is the first one. F1@5
and F1@O are of the first 20 keywords, F1@M of those that are written. "Cut off" leaves out what is less sure than the
confidence that is best on the other papers.
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
from papertune.kinds.keywords.candidates import Candidate
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.keywords.fit import fit_ranking
from papertune.kinds.keywords.ranking import FEATURES, FoundKeyword, KeywordChoice
from papertune.metrics.keyword_scores import f1_at_5_by_paper, score_keywords
from papertune.metrics.paired import mean_difference
from papertune.prompts.examples import RowReader
from papertune.run import load_run
from papertune.tables import read_table

PARTS = 5
LONGEST = 20

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
    parser.add_argument("--table", required=True, help="a table with the true keywords")
    parser.add_argument("--rows", type=int, help="the first so many rows only")
    parser.add_argument("--cache", type=Path, help="keep the candidates in this file, or read them from there")
    arguments = parser.parse_args()
    run = load_run(arguments.run)
    ranked = {name: each for name, each in run.recipe.columns.items() if isinstance(each, RankedKeywordsColumn)}
    if len(ranked) != 1:
        raise SystemExit(f"error: {arguments.run} has {len(ranked)} columns of ranked keywords, not one.")
    ((name, column),) = ranked.items()
    if arguments.cache is not None and arguments.cache.exists():
        true, documents, found = read_cache(arguments.cache)
    else:
        true, documents, found = collect(run, name, column, arguments.table, arguments.rows)
        if arguments.cache is not None:
            write_cache(arguments.cache, true, documents, found)
    print("| candidates | order | F1@5 | F1@M | F1@O | F1@5 less that of the first line |")
    print("| --- | --- | --- | --- | --- | --- |")
    first: Any = None
    for source, is_of in SOURCES.items():
        taken = [[keyword for keyword in paper if is_of(keyword)] for paper in found]
        for order, lists, written in orders(taken, true, column):
            by_paper = f1_at_5_by_paper(true, lists)
            first = by_paper if first is None else first
            difference = mean_difference(by_paper, first)
            scores, scores_at_m = score_keywords(true, lists, documents), score_keywords(true, written, documents)
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
    """Give the true keywords, the documents and all candidates of the papers that have true keywords."""
    column = column.model_copy(update={"candidates": "both"})
    recipe = run.recipe.model_copy(update={"columns": {name: column}})
    predictor = Predictor(*run.load(), recipe)
    reader = RowReader(table := read_table(path), recipe)
    true = {row: split_keywords(reader.given(row, name) or "") for row in range(min(rows or len(table), len(table)))}
    true = {row: keywords for row, keywords in true.items() if keywords}
    found: dict[int, Sequence[FoundKeyword]] = {}
    for batch in predictor.plan(reader, list(true)).batches:
        for row, keywords in zip(batch, predictor.find_candidates(reader, batch)[name], strict=True):
            found[int(row)] = keywords or []
        print(f"{len(found)} of {len(true)} papers", flush=True)
    return list(true.values()), [reader.document(row) for row in true], [found[row] for row in true]


def orders(
    found: Papers, true: Sequence[Sequence[str]], column: RankedKeywordsColumn
) -> list[tuple[str, list[list[str]], list[list[str]]]]:
    """Give for each order its name, the first keywords of each paper, and those that would be written."""
    by_sum = [[keyword.text for keyword in paper][:LONGEST] for paper in found]
    by_token = [[keyword.text for keyword in sorted(paper, key=lambda each: -each.confidence)] for paper in found]
    learnt: list[list[str]] = [[] for _ in found]
    cut: list[list[str]] = [[] for _ in found]
    asking = column.model_copy(update={"min_confidence": "f1"})
    parts = np.random.default_rng(0).permutation(len(found)) % PARTS
    for part in range(PARTS):
        others = [index for index in range(len(found)) if parts[index] != part]
        fitted = fit_ranking(asking, [found[index] for index in others], [true[index] for index in others])
        weights = fitted.weights and np.array([fitted.weights[feature] for feature in FEATURES])
        choice = KeywordChoice(weights, fitted.intercept)
        for index in np.flatnonzero(parts == part).tolist():
            ranked = choice.rank(found[index])
            learnt[index] = [text for text, _ in ranked][:LONGEST]
            sure = [text for text, confidence in ranked if confidence >= (fitted.min_confidence or 0.0)]
            cut[index] = sure[: column.count]
    rows = {"sum": by_sum, "by token": [paper[:LONGEST] for paper in by_token], "learnt": learnt}
    listed = [(order, lists, [paper[: column.count] for paper in lists]) for order, lists in rows.items()]
    return [*listed, ("learnt, cut off", cut, cut)]


def write_cache(path: Path, true: Sequence[Sequence[str]], documents: Sequence[str], found: Papers) -> None:
    """Keep the candidates, a paper in each line."""
    with path.open("w", encoding="utf-8") as stream:
        for keywords, document, paper in zip(true, documents, found, strict=True):
            line = {"true": keywords, "document": document, "found": [asdict(keyword) for keyword in paper]}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_cache(path: Path) -> tuple[list[list[str]], list[str], Papers]:
    """Give what `write_cache` has kept."""
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
