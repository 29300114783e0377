"""What fewer operations cost: rows per second against log-loss with fewer layers, fewer tokens, and cascades.

    python benchmarks/fewer_operations.py papers -o fewer --rows 200 --dev-rows 150 --layers 8 16 24 30 --tokens 64 128
    python benchmarks/fewer_operations.py screening_depression medical_abstracts -o fewer --layers 30 --cascade

Each table is TABLE_train.csv and TABLE_dev.csv in PAPERTUNE_DATA, with the label in `label`; rows are drawn from the
first with the shares of the labels, and a part of the second is predicted. `--layers` writes a model folder with the
first layers and learns with these; `--tokens` reads the first tokens of each document, in training and prediction, with
all layers; `--cascade` takes the run with all layers and tokens, as 0 layers and 0 tokens do. The recipe is what
`papertune init` writes for so many rows: for few, only the last ten layers have adapters, or all where fewer are kept.

For each setting there is a run, whose model is scored alone and joined with words; of a cascade each share of rows that
skip the model. Rows per second are those of one process on one core, by the time that the core has worked, so that
other programs hardly count. A run that is there is not trained again, and a line that is measured not measured again:
the same command continues after it was stopped, and one with more settings adds to them. Another recipe, by `--set` or
another version, and other rows have a folder of their own.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.cli.progress import TerminalListener
from papertune.inference.joined import joined, model_log_probabilities
from papertune.inference.predict import predict_rows
from papertune.kinds.label.record import MODEL
from papertune.methods import LoraMethod
from papertune.models import find_base, load_config, load_model, load_tokenizer
from papertune.pipelines.train import train
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader, make_prompt
from papertune.recipe import Recipe, load_recipe
from papertune.run import Run, load_run
from papertune.tables import Table, read_table

from data import data_file  # isort: skip - beside this file
from joined_sources import recipe_of  # isort: skip

SEED = 0
# A cascade's lines: the shares of rows that skip the model.
SHARES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def main() -> None:
    """Measure what is asked for and not yet measured, and print all lines of the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="such as papers or screening_depression")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for runs and lines")
    parser.add_argument("--rows", type=int, default=200, help="training rows; a seventh of them weighs the sources")
    parser.add_argument("--dev-rows", type=int, default=150, help="rows to predict")
    parser.add_argument("--layers", nargs="*", type=int, default=[], help="numbers of layers to keep; 0: all")
    parser.add_argument("--tokens", nargs="*", type=int, default=[], help="numbers of tokens of a document; 0: all")
    parser.add_argument("--cascade", action="store_true", help="draw the curve of a cascade")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipe")
    arguments = parser.parse_args()
    for name in arguments.tables:
        for lines in measured(name, arguments):
            for line in lines:
                print(json.dumps({"table": name, "rows": arguments.rows, **line}), flush=True)


def measured(name: str, arguments: argparse.Namespace) -> Iterator[list[dict[str, Any]]]:
    """Yield the lines of each setting of a table."""
    train_table, dev = (read_table(data_file(f"{name}_{part}.csv")) for part in ("train", "dev"))
    train_table, dev = drawn(train_table, arguments.rows), drawn(dev, arguments.dev_rows)
    plain = recipe_of(name, train_table, arguments.overrides)
    plain = load_recipe(plain, fewer_adapted(plain, load_config(find_base(plain.model)).num_hidden_layers))
    facts = json.dumps([plain.model_dump(mode="json"), train_table.checksum(), dev.checksum()], sort_keys=True)
    place = arguments.output / f"{name}-{len(train_table)}-{len(dev)}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    settings = {
        **{"all" if count == 0 else f"layers {count}": fewer_layers(plain, count, place) for count in arguments.layers},
        **{"all" if count == 0 else f"tokens {count}": fewer_tokens(plain, count) for count in arguments.tokens},
        **({"cascade": []} if arguments.cascade else {}),
    }
    for title, changes in settings.items():
        recipe = load_recipe(
            plain, ['columns.label.sources=["words", "model"]', "training.dev_fraction=0.15", *changes]
        )
        lines_file = place / f"{title}.json"
        if not lines_file.is_file():
            run = trained(train_table, recipe, place / (title if changes else "all"))
            lines = cascade_lines(run, dev) if title == "cascade" else [line(title, run, dev)]
            lines_file.write_text(json.dumps(lines))
        yield json.loads(lines_file.read_text())


def drawn(table: Table, rows: int) -> Table:
    """Return some rows, with the shares of the labels."""
    return table if rows >= len(table) else table.split(rows / len(table), SEED, "label")[1]


def fewer_layers(plain: Recipe, count: int, place: Path) -> list[str]:
    """Return the changes of a recipe for a model of the first layers, which is written if it is not there; 0: all."""
    if count == 0:
        return []
    folder = place / f"first {count} layers"
    if not folder.is_dir():
        model, tokenizer = load_model(find_base(plain.model), precision="bf16", device="cpu")
        model.model.layers = model.model.layers[:count]
        model.config.num_hidden_layers = count
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return [f"model={folder}", *fewer_adapted(plain, count)]


def fewer_adapted(plain: Recipe, count: int) -> list[str]:
    """Return the changes of a recipe that put adapters into no more layers than there are."""
    adapted = LoraMethod.model_validate(plain.method).layers
    return [] if adapted is None else [f"method.layers={min(adapted, count)}"]


def fewer_tokens(plain: Recipe, count: int) -> list[str]:
    """Return the changes of a recipe that read the first tokens of a document; 0: all."""
    return [f"encoding.max_prompt_tokens={question_tokens(plain) + count}"] if count else []


def question_tokens(recipe: Recipe) -> int:
    """Return how many tokens a prompt has beside its document."""
    encoder = PromptEncoder(load_tokenizer(find_base(recipe.model)), recipe.encoding, chat=recipe.chat)
    return len(encoder.encode(make_prompt(recipe.layout, "", recipe.questions["label"].question)).ids)


def trained(table: Table, recipe: Recipe, folder: Path) -> Run:
    """Return the run of a setting, trained if it is not there."""
    if (folder / "run.json").is_file():
        return load_run(folder, device="cpu")
    with TerminalListener("training", rows_title="dev rows") as listener:
        return train(table, recipe, folder, device="cpu", listener=listener, resume=(folder / "training").is_dir())


def asked(run: Run, dev: Table) -> tuple[NDArray[np.float64], float]:
    """Return the model's own probabilities of all rows, and the core's seconds."""
    predictor, reader = run.model_predictor(), RowReader(dev, run.recipe)
    warm = predictor.plan(reader, range(min(4, len(dev))))
    predict_rows(predictor, reader, warm)  # products pack their weights when they are first computed
    plan = predictor.plan(reader, range(len(dev)))
    begun = time.process_time()
    values = predict_rows(predictor, reader, plan).values["label"]
    return np.asarray(values), time.process_time() - begun


def without_model(run: Run, dev: Table) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Return the log-probabilities of the other sources, and the core's seconds."""
    reader = RowReader(dev, run.recipe)
    documents = [reader.document(row) for row in range(len(dev))]
    wanted = {"label": list(run.label_sources.plain_joins["label"].weights)}
    run.label_sources.log_probabilities(documents[:1], wanted)
    begun = time.process_time()
    found = run.label_sources.log_probabilities(documents, wanted)["label"]
    return found, time.process_time() - begun


def line(title: str, run: Run, dev: Table) -> dict[str, Any]:
    """Return the scores of the model alone and joined, and the rows per second of the model."""
    model, seconds = asked(run, dev)
    sources, _ = without_model(run, dev)
    both = joined(run.joins["label"], {**sources, MODEL: model_log_probabilities(model.tolist())})
    scores = {"model": scored(model, dev, run.recipe), "joined": scored(both, dev, run.recipe)}
    return {"setting": title, "rows_per_s": round(len(dev) / seconds, 3), **scores}


def cascade_lines(run: Run, dev: Table) -> list[dict[str, Any]]:
    """Return a line for each share of the rows that skip the model, the most certain first."""
    model, seconds = asked(run, dev)
    sources, cheap_seconds = without_model(run, dev)
    found = run.joins["label"]
    both = joined(found, {**sources, MODEL: model_log_probabilities(model.tolist())})
    cascade = run.manifest.cascades.get("label")
    plain = joined(run.label_sources.plain_joins["label"] if cascade is None else cascade.joins["label"], sources)
    order = np.argsort(-plain.max(axis=1), kind="stable")
    lines: list[dict[str, Any]] = []
    for share in SHARES:
        skipping = order[: round(share * len(dev))]
        mixed = both.copy()
        mixed[skipping] = plain[skipping]
        rate = len(dev) / (cheap_seconds + seconds * (1 - len(skipping) / len(dev)))
        certainty = float(plain[skipping[-1]].max()) if len(skipping) else None
        lines.append(
            {
                "setting": f"cascade {share:.0%}",
                "rows_per_s": round(rate, 3),
                "certainty": certainty,
                "joined": scored(mixed, dev, run.recipe),
            }
        )
    return lines


def scored(probabilities: NDArray[np.float64], dev: Table, recipe: Recipe) -> dict[str, float]:
    """Return log-loss with its standard error, and accuracy."""
    labels = list(recipe.questions["label"].joined_labels)
    gold = np.array([labels.index(cell) for cell in dev.column("label")])
    losses = -np.log(np.maximum(probabilities[np.arange(len(gold)), gold], 1e-9))
    return {
        "log_loss": round(float(losses.mean()), 4),
        "standard_error": round(float(losses.std(ddof=1) / np.sqrt(len(gold))), 4),
        "accuracy": round(float((probabilities.argmax(axis=1) == gold).mean()), 4),
    }


if __name__ == "__main__":
    main()
