"""Compares keywords ranked by words alone with TF-IDF n-grams, by the number of training rows.

    python benchmarks/keyword_words.py keywords inspec csl --rows 20 50 100 200 --samples 3

Reads TABLE_train.csv and TABLE_dev.csv in PAPERTUNE_DATA. No model takes part. A number of rows that a table does not
have means all of them, once.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from papertune.kinds.keywords.by_words.fit import fit_words
from papertune.kinds.keywords.by_words.tfidf import TfidfKeywords
from papertune.kinds.keywords.cells import split_keywords
from papertune.metrics.keyword_scores import f1_at_5_by_paper, unique_keywords
from papertune.metrics.paired import mean_difference
from papertune.tables import Table, read_table
from papertune.templates import render_template

from data import data_file  # isort: skip - beside this file

DOCUMENT = "title: {title}\nabstract: {abstract}"


def main() -> None:
    """Print a line for each table, number of rows and sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="such as keywords, inspec or csl")
    parser.add_argument("--rows", nargs="+", type=int, default=[20, 50, 100, 200], help="numbers of training rows")
    parser.add_argument("--samples", type=int, default=3, help="samples of each number of rows")
    parser.add_argument("--test-rows", type=int, help="score only the first rows")
    arguments = parser.parse_args()
    print("| table | rows | sample | order | words | TF-IDF n-grams | difference | learned in |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.tables:
        documents, keywords = read(read_table(data_file(f"{name}_train.csv")))
        tests, gold = (each[: arguments.test_rows] for each in read(read_table(data_file(f"{name}_dev.csv"))))
        for rows in arguments.rows:
            for sample in range(arguments.samples if rows < len(documents) else 1):
                drawn = np.random.default_rng(sample).permutation(len(documents))[:rows].tolist()
                line = measure([documents[row] for row in drawn], [keywords[row] for row in drawn], tests, gold)
                print(f"| {name} | {len(drawn):,} | {sample} | {line} |", flush=True)


def read(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return the documents and keywords of the rows with keywords."""
    cells = [split_keywords(cell) for cell in table.column("Keywords")]
    rows = [row for row, keywords in enumerate(cells) if unique_keywords(keywords)]
    columns = {name: table.column(name) for name in ("title", "abstract")}
    documents = [render_template(DOCUMENT, {name: cells[row] for name, cells in columns.items()}) for row in rows]
    return documents, [cells[row] for row in rows]


def measure(
    documents: Sequence[str], keywords: Sequence[Sequence[str]], tests: Sequence[str], gold: Sequence[Sequence[str]]
) -> str:
    """Return the cells of a line: the order, both F1@5, their difference with its interval, and the time."""
    started = time.monotonic()
    words = fit_words(documents, keywords)
    seconds = time.monotonic() - started
    lists = [[text for text, _ in words.rank(document, 5)] for document in tests]
    scores = [f1_at_5_by_paper(gold, each) for each in (lists, TfidfKeywords(documents).predict(tests))]
    difference = mean_difference(*scores)
    return (
        f"{words.record.order} | {scores[0].mean():.3f} | {scores[1].mean():.3f} "
        f"| {difference.difference:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}) | {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
