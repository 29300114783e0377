"""Compares keywords ranked by words alone with TF-IDF n-grams, by the number of training rows.

    python benchmarks/keyword_words.py keywords inspec csl -o results

Reads TABLE_train.csv and TABLE_dev.csv in PAPERTUNE_DATA. No model takes part. A number of rows that a table does not
have, and 0, mean all of them, once. With `-o FOLDER` the scores are added to the file of the table from which
`results.py --write` makes the page; what is there is not measured again.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.keywords.by_words.fit import fit_words
from papertune.kinds.keywords.by_words.tfidf import TfidfKeywords
from papertune.kinds.keywords.cells import split_keywords
from papertune.metrics.intervals import mean_interval
from papertune.metrics.keyword_scores import f1_at_5_by_paper, unique_keywords
from papertune.metrics.paired import mean_difference
from papertune.tables import Table, read_table
from papertune.templates import render_template

from curves import KEYWORD_SAMPLES, is_kept, keep_entry  # isort: skip - beside this file
from data import data_file  # isort: skip

DOCUMENT = "title: {title}\nabstract: {abstract}"
WORDS, TFIDF_NGRAMS = "words", "TF-IDF n-grams"


def main() -> None:
    """Print a line for each table, number of rows and sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="such as keywords, inspec or csl")
    parser.add_argument("--rows", nargs="+", type=int, default=[20, 50, 100, 200, 0], help="numbers of training rows")
    parser.add_argument("--samples", type=int, default=3, help="samples of each number of rows")
    parser.add_argument("--test-rows", type=int, help="score only the first rows")
    parser.add_argument("-o", "--output", type=Path, help="folder for the scores")
    arguments = parser.parse_args()
    print("| table | rows | sample | order | words | TF-IDF n-grams | difference | learned in |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.tables:
        documents, keywords = read(read_table(data_file(f"{name}_train.csv")))
        all_tests, all_gold = read(read_table(data_file(f"{name}_dev.csv")))
        tests, gold, of_tests = all_tests[: arguments.test_rows], all_gold[: arguments.test_rows], len(all_tests)
        path = None if arguments.output is None else arguments.output / name / KEYWORD_SAMPLES
        for rows in (rows or len(documents) for rows in arguments.rows):
            for sample in range(arguments.samples if rows < len(documents) else 1):
                drawn = np.random.default_rng(sample).permutation(len(documents))[:rows].tolist()
                place = {"rows": len(drawn), "sample": sample, "test_rows": len(tests)}
                if path is not None and is_kept(path, place):
                    continue
                found = measure([documents[row] for row in drawn], [keywords[row] for row in drawn], tests, gold)
                print(f"| {name} | {len(drawn):,} | {sample} | {found.line()} |", flush=True)
                sizes = {"of_rows": len(documents), "of_test_rows": of_tests}
                for entry in found.entries() if path is not None else ():
                    keep_entry(path, {**place, **sizes, **entry})


def read(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return the documents and keywords of the rows with keywords."""
    cells = [split_keywords(cell) for cell in table.column("Keywords")]
    rows = [row for row, keywords in enumerate(cells) if unique_keywords(keywords)]
    columns = {name: table.column(name) for name in ("title", "abstract")}
    documents = [render_template(DOCUMENT, {name: cells[row] for name, cells in columns.items()}) for row in rows]
    return documents, [cells[row] for row in rows]


@dataclass(frozen=True)
class Measured:
    """Two rankings of the same papers.

    Attributes:
        order: Which order words have: "learned" or "tfidf".
        words: F1@5 of each paper by words.
        tfidf: F1@5 of each paper by the TF-IDF n-grams.
        seconds: What learning took.
    """

    order: str
    words: NDArray[np.float64]
    tfidf: NDArray[np.float64]
    seconds: float

    def line(self) -> str:
        """Return the cells of a line: the order, both F1@5, their difference with its interval, and the time."""
        difference = mean_difference(self.words, self.tfidf)
        return (
            f"{self.order} | {self.words.mean():.3f} | {self.tfidf.mean():.3f} "
            f"| {difference.difference:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}) | {self.seconds:.0f} s"
        )

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of both systems for the page."""
        about = "" if self.order == "learned" else "in the order of TF-IDF"
        return [
            {
                "system": system,
                "about": remark,
                "scores": {"f1_at_5": float(f1.mean()), "f1_at_5_interval": asdict(mean_interval(f1))},
            }
            for system, f1, remark in ((WORDS, self.words, about), (TFIDF_NGRAMS, self.tfidf, ""))
        ]


def measure(
    documents: Sequence[str], keywords: Sequence[Sequence[str]], tests: Sequence[str], gold: Sequence[Sequence[str]]
) -> Measured:
    """Learn from some documents, and score others."""
    started = time.monotonic()
    words = fit_words(documents, keywords)
    seconds = time.monotonic() - started
    lists = [[text for text, _ in words.rank(document, 5)] for document in tests]
    by_words, by_tfidf = (f1_at_5_by_paper(gold, each) for each in (lists, TfidfKeywords(documents).predict(tests)))
    return Measured(words.record.order, by_words, by_tfidf, seconds)


if __name__ == "__main__":
    main()
