"""Compare ELAS u4 of papertune with that of ASReview: the same first picks of a screening, the same ranking?

    python -m venv asreview-env && asreview-env/bin/pip install asreview==3.0.8
    python benchmarks/elas_u4.py --asreview asreview-env/bin/python screening_depression screening_nudging

Picks: both begin with the same labelled rows of TABLE_train.csv, half of them included, then label the row that they
rank first, learn from it, and so on, 50 times. Ranking: both learn all of TABLE_train.csv and rank TABLE_dev.csv.
ASReview runs in its own environment, since it is not a dependency. Its support vector machine draws random numbers from
numpy's global state; papertune's has a fixed seed. So ASReview is also compared with itself, with another seed.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from papertune.evaluation.systems.elas_u4 import ElasU4, fit_machine, tfidf
from papertune.tables import read_table

from data import data_file  # isort: skip - beside this file

PICKS = 50
PRIORS = 10

# Run by ASReview's Python: reads {texts: [title, abstract], labels, priors, train_rows, seed}, prints what it picks.
ASREVIEW = """
import json, sys
import numpy as np, pandas as pd
import asreview
from asreview.models.models import get_ai_config
from asreview.simulation.simulate import Simulate
given = json.load(open(sys.argv[1]))
def cycle():
    np.random.seed(given["seed"])
    return asreview.ActiveLearningCycle.from_meta(get_ai_config("elas_u4")["value"])
frame = pd.DataFrame(given["texts"], columns=["title", "abstract"])
train, labels = given["train_rows"], np.array(given["labels"])
simulation = Simulate(
    frame[:train], labels[:train], [cycle()], stopper=len(given["priors"]) + given["picks"], print_progress=False
)
simulation.label(given["priors"])
simulation.review()
whole = cycle()
features = whole.transform(frame)
whole.fit(features[:train], labels[:train])
print(json.dumps({
    "picks": [int(row) for row in simulation._results["record_id"]][len(given["priors"]):],
    "ranking": [int(row) for row in whole.rank(features[train:])],
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="files TABLE_train.csv and TABLE_dev.csv")
    parser.add_argument("--asreview", required=True, metavar="PYTHON", help="a Python with asreview installed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="draw the rows to begin with")
    arguments = parser.parse_args()
    for table in arguments.tables:
        for seed in arguments.seeds:
            print(f"{table}, seed {seed}: {compare(table, seed, arguments.asreview)}", flush=True)


def compare(table: str, seed: int, python: str) -> str:
    """Return in words how far the picks and rankings agree."""
    train, dev = (read_table(str(data_file(f"{table}_{part}.csv"))) for part in ("train", "dev"))
    titles, abstracts, labels = ([*train.column(name), *dev.column(name)] for name in ("title", "abstract", "label"))
    texts = list(zip(titles, abstracts, strict=True))
    relevant = np.array(labels) == "included"
    priors = _priors(relevant[: len(train)], seed)
    documents = [f"{title} {abstract}" for title, abstract in texts]
    own = {
        "picks": _picks(documents[: len(train)], relevant[: len(train)], priors),
        "ranking": _ranking(documents, relevant, len(train)),
    }
    theirs, again = (_asreview(python, texts, relevant, priors, len(train), number) for number in (seed, seed + 1000))
    return (
        f"picks {_agreement(own['picks'], theirs['picks'])} (ASReview with itself "
        f"{_agreement(again['picks'], theirs['picks'])}); ranking of {len(dev)} rows "
        f"{_agreement(own['ranking'], theirs['ranking'])} (with itself "
        f"{_agreement(again['ranking'], theirs['ranking'])})"
    )


def _priors(relevant: np.ndarray, seed: int) -> list[int]:
    draw = np.random.default_rng(seed)
    half = PRIORS // 2
    return [int(row) for value in (True, False) for row in draw.choice(np.flatnonzero(relevant == value), half, False)]


def _picks(documents: Sequence[str], relevant: np.ndarray, priors: Sequence[int]) -> list[int]:
    features = tfidf(documents)
    labelled = list(priors)
    for _ in range(PICKS):
        machine = fit_machine(features[labelled], relevant[labelled])
        pool = np.setdiff1d(np.arange(len(documents)), labelled)
        labelled.append(int(pool[np.argmax(machine.decision_function(features[pool]))]))
    return labelled[len(priors) :]


def _ranking(documents: Sequence[str], relevant: np.ndarray, train_rows: int) -> list[int]:
    model = ElasU4(documents[:train_rows], relevant[:train_rows].tolist(), documents[train_rows:])
    return [int(row) for row in np.argsort(-model.scores, kind="stable")]


def _asreview(
    python: str, texts: Sequence[tuple[str, str]], relevant: np.ndarray, priors: list[int], train_rows: int, seed: int
) -> dict[str, list[int]]:
    given = {
        "texts": texts,
        "labels": relevant.astype(int).tolist(),
        "priors": priors,
        "picks": PICKS,
        "train_rows": train_rows,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.json"
        path.write_text(json.dumps(given), "utf-8")
        command = [Path(python).absolute(), "-c", ASREVIEW, path]
        # In the folder: ASReview leaves a cache file where it runs.
        printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout
    found: dict[str, list[int]] = json.loads(printed.splitlines()[-1])
    return found


def _agreement(first: Sequence[int], second: Sequence[int]) -> str:
    """Return how many rows are the same, and how many stand in the same place."""
    placed = sum(one == other for one, other in zip(first, second, strict=True))
    shared = len(set(first) & set(second))
    return f"{placed} in the same place, {shared} the same" if shared < len(first) else f"{placed} in the same place"


if __name__ == "__main__":
    main()
