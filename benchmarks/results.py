"""The numbers of docs/lab/results.md: every table of PAPERTUNE_DATA, each compared as `papertune compare` does it.

    python benchmarks/results.py -o results                                        # all tables, in full: many hours
    python benchmarks/results.py papers keywords -o results --rows 200 --test-rows 60
    python benchmarks/results.py papers -o results --run papers=RUN                # an existing run
    python benchmarks/results.py -o results --write docs/lab/results.md                # the page, from these results

The systems are trained on TABLE_train.csv, of which some rows are dev rows, and scored on TABLE_dev.csv. Results are
kept in results/TABLE: report.json, report.html, the run, the predictions of each system, and setting.json with the
numbers of rows and the machine. So a command that was stopped continues, and tables can be measured one by one. The
page lists the others as not measured.
"""

import argparse
import json
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from papertune.cli.progress import TerminalListener
from papertune.errors import OutputError, PapertuneError, PapertuneWarning, TrainingStopped
from papertune.evaluation.report import summary
from papertune.pipelines.comparison.compare import compare
from papertune.tables import Table, read_table

from data import data_file  # isort: skip - beside this file
from results_page import SETTING, write_page  # isort: skip

RECIPES = Path(__file__).with_name("recipes")
# Number of dev rows: one half chooses the checkpoint, the other calibrates the run or its ranking of keywords.
DEV_ROWS = 100
# Draws dev rows, and the rows of a smaller measurement.
SEED = 2


@dataclass(frozen=True)
class Experiment:
    """What is learned from a table.

    Attributes:
        recipe: The recipe's file or built-in name.
        column: The column.
        is_label: Whether it is a label column, whose labels keep their shares where rows are drawn.
    """

    recipe: str | Path
    column: str
    is_label: bool = True


# By the name of the table's files; the page has a section for each.
EXPERIMENTS = {
    **{
        name: Experiment(RECIPES / f"{name}.toml", "label")
        for name in ("papers", "medical_abstracts", "screening_nudging", "screening_depression", "csl")
    },
    **{name: Experiment("medical-papers", "Keywords", is_label=False) for name in ("keywords", "inspec")},
}


def main() -> None:
    """Measure the tables that are named, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is measured")
    parser.add_argument("--rows", type=int, help="train on this number of rows of each table, drawn at random")
    parser.add_argument("--test-rows", type=int, help="score this number of rows of each table, drawn at random")
    parser.add_argument("--dev-rows", type=int, default=DEV_ROWS, help="number of dev rows; 0: none")
    parser.add_argument("--run", action="append", default=[], metavar="TABLE=RUN", help="a run of this table")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipes")
    parser.add_argument("--device")
    parser.add_argument("--write", type=Path, help="write the page here; without tables, measure nothing")
    arguments = parser.parse_args()
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", PapertuneWarning)
    names = arguments.tables or ([] if arguments.write else list(EXPERIMENTS))
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        parser.error(f"there is no table {unknown[0]}; there are: {', '.join(EXPERIMENTS)}")
    runs = dict(given.partition("=")[::2] for given in arguments.run)
    if unused := [name for name in runs if name not in names]:
        parser.error(f"--run {unused[0]}=RUN: this table is not measured")
    page = arguments.write or arguments.output / "results.md"
    try:
        for name in names:
            measure(name, runs.get(name), arguments)
            write_page(arguments.output, page)
    except PapertuneError as error:
        parser.exit(2, f"error: {error}\n")
    except TrainingStopped as stopped:
        parser.exit(128 + stopped.signal, f"{stopped}\n")
    write_page(arguments.output, page)
    print(f"{page}: the page")


def measure(name: str, run: str | None, arguments: argparse.Namespace) -> None:
    """Compare all systems on a table, and keep the results."""
    experiment = EXPERIMENTS[name]
    folder = arguments.output / name
    training, scored = (_read(f"{name}_{part}.csv") for part in ("train", "dev"))
    train, dev = (training, None) if run is not None else _split(training, experiment, arguments)
    test = _drawn(scored, arguments.test_rows, experiment)
    setting = {
        "rows": len(train),
        "of_rows": len(training),
        "dev_rows": 0 if dev is None else len(dev),
        "test_rows": len(test),
        "of_test_rows": len(scored),
        "given_run": run is not None,
        "overrides": arguments.overrides,
    }
    _keep_setting(folder / SETTING, setting, arguments.device)
    print(f"{name}: {len(train):,} training rows, {len(test):,} scored rows", flush=True)
    with TerminalListener(name) as listener:
        report = compare(
            train,
            test,
            experiment.recipe,
            folder,
            dev=dev,
            run=run,
            only=[experiment.column],
            overrides=arguments.overrides,
            overwrite=True,
            device=arguments.device,
            listener=listener,
        )
    print(summary(report), flush=True)


def _read(name: str) -> Table:
    # Reports name the table without its folder.
    return replace(read_table(str(data_file(name))), source=name)


def _split(table: Table, experiment: Experiment, arguments: argparse.Namespace) -> tuple[Table, Table | None]:
    """Return training rows and dev rows, if there are enough rows for both."""
    if not 0 < arguments.dev_rows < len(table) / 2:
        return _drawn(table, arguments.rows, experiment), None
    rest, dev = table.split(arguments.dev_rows / len(table), SEED, _stratified(experiment))
    return _drawn(rest, arguments.rows, experiment), dev


def _drawn(table: Table, rows: int | None, experiment: Experiment) -> Table:
    """Return a number of rows of a table, the same ones each time; all if it has no more."""
    if rows is None or rows >= len(table):
        return table
    return table.split(rows / len(table), SEED, _stratified(experiment))[1]


def _stratified(experiment: Experiment) -> str | None:
    return experiment.column if experiment.is_label else None


def _keep_setting(path: Path, setting: dict[str, Any], device: str | None) -> None:
    """Write the rows, the machine and the date of a measurement, unless it was started before."""
    import torch

    from papertune.models import choose_device

    from contest import machine  # isort: skip - beside this file

    if path.exists():
        begun = json.loads(path.read_text("utf-8"))
        if different := [key for key, value in setting.items() if begun.get(key) != value]:
            raise OutputError(
                f"{path.parent} was begun with another {' and another '.join(different)}. Go on with the same, or move "
                "the folder away."
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    described = machine(torch.get_num_threads(), choose_device(device))
    kept = {**setting, "machine": described, "date": time.strftime("%Y-%m-%d")}
    path.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, PapertuneWarning):
        print(f"warning: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
