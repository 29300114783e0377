"""Free text and numbers: what the small model learns to write, beside simple baselines and the model as it is.

    python benchmarks/free_text.py -o results/titles                        # titles from abstracts, real papers
    python benchmarks/free_text.py --sample-size -o results/sample-size     # a number, from the sample papers

Titles: 300 rows of keywords_train.csv are learned, 60 rows of keywords_dev.csv scored (`--rows`, `--test-rows`). Sample
sizes: the column sample_size of examples/papers.csv and papers_new_truth.csv. What is done is kept in the folder, so a
command that was stopped continues. The report is report.html and report.json there.
"""

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

from papertune.cli.progress import TerminalListener
from papertune.errors import PapertuneWarning
from papertune.evaluation.report import summary
from papertune.pipelines.comparison.compare import compare
from papertune.tables import Table, read_table

from data import data_file  # isort: skip - beside this file

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
SEED = 2


def main() -> None:
    """Compare the systems and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the report and the run")
    parser.add_argument("--sample-size", action="store_true", help="the number column of the sample papers")
    parser.add_argument("--rows", type=int, default=300, help="rows of keywords_train.csv to learn")
    parser.add_argument("--test-rows", type=int, default=60, help="rows of keywords_dev.csv to score")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipe")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", PapertuneWarning)
    if arguments.sample_size:
        recipe = EXAMPLES / "sample-size.toml"
        train, test, truth = (
            read_table(EXAMPLES / f"{name}.csv") for name in ("papers", "papers_new", "papers_new_truth")
        )
        test = replace(test, frame=test.frame.with_columns(truth.frame["sample_size"]))
    else:
        recipe = HERE / "titles.toml"
        train, test = _part("keywords_train.csv", arguments.rows), _part("keywords_dev.csv", arguments.test_rows)
    print(f"{len(train):,} rows to learn, {len(test):,} to score", flush=True)
    with TerminalListener("rows") as listener:
        report = compare(
            train, test, recipe, arguments.output, overrides=arguments.overrides, overwrite=True, listener=listener
        )
    print(summary(report), flush=True)


def _part(name: str, rows: int) -> Table:
    """Return some rows of a table, drawn at random, under its own name."""
    table = replace(read_table(str(data_file(name))), source=name)
    return table if rows >= len(table) else table.split(rows / len(table), SEED, None)[1]


if __name__ == "__main__":
    main()
