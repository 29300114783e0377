"""Measures screening: simulated reviews beside ELAS u4, false certificates, and the time of a refit.

    python benchmarks/screening.py reviews screening_nudging screening_depression --seeds 20 --first-seed 100
    python benchmarks/screening.py certificates --reviews 1000
    python benchmarks/screening.py refit --rows 20000 --decided 100 1000 3000

Reviews: TABLE_train.csv and TABLE_dev.csv in PAPERTUNE_DATA together; each review begins with one relevant and one
irrelevant record. Certificates: reviews that stop just below the target recall draw samples until one is certified or
five are read; a certificate is false if the target is not reached then.
"""

import argparse
import time

import numpy as np

from papertune.screening.ranking.features import VECTOR_WEIGHT, Features
from papertune.screening.ranking.ranker import rank
from papertune.screening.simulation.report import markdown
from papertune.screening.simulation.simulate import GROWTH, run_simulations
from papertune.screening.stopping import certify, smallest_sample
from papertune.tables import read_table

from data import data_file  # isort: skip - beside this file

TARGET = 0.95
ATTEMPTS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    reviews = commands.add_parser("reviews")
    reviews.add_argument("tables", nargs="+", metavar="TABLE")
    reviews.add_argument("--seeds", type=int, default=20)
    reviews.add_argument("--first-seed", type=int, default=0)
    reviews.add_argument("--growth", type=float, default=GROWTH, help="share of records read between two fits")
    certificates = commands.add_parser("certificates")
    certificates.add_argument("--reviews", type=int, default=1000)
    refit = commands.add_parser("refit")
    refit.add_argument("--rows", type=int, default=20_000)
    refit.add_argument("--decided", type=int, nargs="+", default=[100, 1000, 3000])
    arguments = parser.parse_args()
    if arguments.command == "reviews":
        for table in arguments.tables:
            print(f"{table}\n\n{review(table, arguments.seeds, arguments.first_seed, arguments.growth)}", flush=True)
    elif arguments.command == "certificates":
        false, certified = false_certificates(arguments.reviews)
        print(
            f"{false} false of {certified} certificates in {arguments.reviews} reviews: {false / arguments.reviews:.1%}"
        )
    else:
        for decided in arguments.decided:
            print(
                f"{arguments.rows} records, {decided} decided: {refit_time(arguments.rows, decided):.2f} s", flush=True
            )


def review(name: str, seeds: int, first_seed: int, growth: float) -> str:
    """Return the table of the measures."""
    tables = [read_table(str(data_file(f"{name}_{part}.csv"))) for part in ("train", "dev")]
    titles, abstracts, labels = (
        [cell for table in tables for cell in table.column(column)] for column in ("title", "abstract", "label")
    )
    documents = [f"{title} {abstract}" for title, abstract in zip(titles, abstracts, strict=True)]
    relevant = np.array(labels) == "included"
    return markdown(run_simulations(documents, relevant, seeds, first_seed=first_seed, growth=growth))


def false_certificates(reviews: int, seed: int = 0) -> tuple[int, int]:
    """Return the number of false certificates and of all, in reviews that stop just below the target.

    The size of each sample is the one that certifies with no, one or two hits, drawn at random; the reader is perfect.
    """
    draw = np.random.default_rng(seed)
    false = certified = 0
    for _ in range(reviews):
        total = int(draw.integers(20, 400))
        found = int(np.ceil(TARGET * total)) - 1  # the target is missed by one record
        unseen = int(draw.integers(500, 20_000))
        for attempt in range(1, ATTEMPTS + 1):
            size = smallest_sample(found, unseen, TARGET, attempt, int(draw.integers(0, 3)))
            if size is None:
                break
            missing = total - found
            hits = int(draw.hypergeometric(missing, unseen - missing, size))
            if certify(attempt, found, hits, unseen, size, TARGET).certified:
                certified += 1
                false += found + hits < TARGET * total
                break
            found, unseen = found + hits, unseen - size
    return false, certified


def refit_time(rows: int, decided: int, *, terms: int = 60_000, words: int = 110) -> float:
    """Return the seconds of one ranking of random records with as many terms as abstracts have, the best of three."""
    from scipy.sparse import csr_matrix, hstack

    draw = np.random.default_rng(0)
    popularity = 1 / np.arange(1, terms + 1)
    drawn = draw.choice(terms, size=(rows, words), p=popularity / popularity.sum())
    counts = csr_matrix((np.ones(drawn.size), (np.repeat(np.arange(rows), words), drawn.ravel())), (rows, terms))
    counts.data = (1 + np.log(counts.data)) / words**0.5
    dimensions = 384  # of all-MiniLM-L6-v2
    vectors = draw.normal(size=(rows, dimensions)) * (VECTOR_WEIGHT / dimensions) ** 0.5
    features = Features(hstack([counts, csr_matrix(vectors)]).tocsr(), [""] * terms)
    relevant = dict(zip(range(decided), (draw.random(decided) < 0.1).tolist(), strict=True)) | {0: True, 1: False}
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        rank(features, relevant)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
