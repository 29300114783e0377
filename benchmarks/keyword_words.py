"""Compares keywords ranked by words alone with TF-IDF n-grams, by the number of training rows.

    python benchmarks/keyword_words.py keywords inspec csl -o results
    python benchmarks/keyword_words.py keywords inspec --encoder -o results      # and the second look of an encoder

Reads TABLE_train.csv and TABLE_dev.csv in PAPERTUNE_DATA. No model takes part. A number of rows that a table does not
have, and 0, mean all of them, once. With `-o FOLDER` the scores are added to the file of the table from which
`results.py --write` makes the page; what is there is not measured again.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.kinds.keywords.by_words.fit import fit_words
from papertune.kinds.keywords.by_words.meaning import open_encoder
from papertune.kinds.keywords.by_words.tfidf import TfidfKeywords
from papertune.kinds.keywords.by_words.words import Words
from papertune.kinds.keywords.cells import split_keywords
from papertune.metrics.intervals import mean_interval
from papertune.metrics.keyword_scores import f1_at_5_by_paper, unique_keywords
from papertune.metrics.paired import mean_difference
from papertune.tables import Table, read_table
from papertune.templates import render_template

from curves import KEYWORD_SAMPLES, is_kept, keep_entry  # isort: skip - beside this file
from data import data_file  # isort: skip

DOCUMENT = "title: {title}\nabstract: {abstract}"
WORDS, WITH_ENCODER, TFIDF_NGRAMS = "words", "words and the sentence encoder", "TF-IDF n-grams"


def main() -> None:
    """Print a line for each table, number of rows and sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="such as keywords, inspec or csl")
    parser.add_argument("--rows", nargs="+", type=int, default=[20, 50, 100, 200, 0], help="numbers of training rows")
    parser.add_argument("--samples", type=int, default=3, help="samples of each number of rows")
    parser.add_argument("--test-rows", type=int, help="score only the first rows")
    parser.add_argument("--encoder", action="store_true", help="the installed sentence encoder looks again")
    parser.add_argument("-o", "--output", type=Path, help="folder for the scores")
    arguments = parser.parse_args()
    encoder = open_encoder(None) if arguments.encoder else None
    print("| table | rows | sample | order | words | with the encoder | TF-IDF n-grams | difference |")
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
                last = WORDS if encoder is None else WITH_ENCODER
                if path is not None and is_kept(path, {**place, "system": last}):
                    continue
                learned = fit_words(
                    [documents[row] for row in drawn], [keywords[row] for row in drawn], encoder=encoder
                )
                found = measure(
                    learned, [documents[row] for row in drawn], tests, gold, has_encoder=encoder is not None
                )
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
    """Rankings of the same papers.

    Attributes:
        order: Which order words have: "learned" or "tfidf".
        words: F1@5 of each paper by words.
        tfidf: F1@5 of each paper by the TF-IDF n-grams.
        again: F1@5 of each paper with the encoder, as words where its second look is not used; None: not asked for.
        about: Whether the second look is used.
    """

    order: str
    words: NDArray[np.float64]
    tfidf: NDArray[np.float64]
    again: NDArray[np.float64] | None
    about: str

    def line(self) -> str:
        """Return the cells of a line: the order, each F1@5, and the difference of the best to TF-IDF."""
        best = self.words if self.again is None else self.again
        difference = mean_difference(best, self.tfidf)
        again = "" if self.again is None else f"{self.again.mean():.3f}"
        return (
            f"{self.order} | {self.words.mean():.3f} | {again} | {self.tfidf.mean():.3f} "
            f"| {difference.difference:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
        )

    def entries(self) -> list[dict[str, Any]]:
        """Return the entry of each system for the page."""
        about = "" if self.order == "learned" else "in the order of TF-IDF"
        # The last one tells that all are kept.
        systems = [(TFIDF_NGRAMS, self.tfidf, ""), (WORDS, self.words, about)]
        systems += [] if self.again is None else [(WITH_ENCODER, self.again, self.about)]
        return [
            {
                "system": system,
                "about": remark,
                "scores": {"f1_at_5": float(f1.mean()), "f1_at_5_interval": asdict(mean_interval(f1))},
            }
            for system, f1, remark in systems
        ]


def measure(
    words: Words,
    documents: Sequence[str],
    tests: Sequence[str],
    gold: Sequence[Sequence[str]],
    *,
    has_encoder: bool,
) -> Measured:
    """Score documents.

    Args:
        words: What was learned.
        documents: The documents from which it was learned.
        tests: Other documents.
        gold: Their keywords.
        has_encoder: Whether an encoder took part.
    """
    alone = replace(words, record=replace(words.record, meaning=None))
    by_words, by_tfidf = (
        f1_at_5_by_paper(gold, lists) for lists in (ranked(alone, tests), TfidfKeywords(documents).predict(tests))
    )
    if not has_encoder:
        return Measured(words.record.order, by_words, by_tfidf, None, "")
    is_used = words.record.meaning is not None and words.record.meaning.is_used
    again = f1_at_5_by_paper(gold, ranked(words, tests)) if is_used else by_words
    return Measured(words.record.order, by_words, by_tfidf, again, "" if is_used else "as words, by the rule")


def ranked(words: Words, documents: Sequence[str]) -> list[list[str]]:
    """Return the five best keywords of each document."""
    return [[text for text, _ in words.rank(document, 5)] for document in documents]


if __name__ == "__main__":
    main()
