"""Hostile instructions in abstracts: how many labels flip, for the base model and for a fine-tuned run.

    python benchmarks/injection.py --run RUN
    python benchmarks/injection.py --run RUN --table examples/papers.csv --papers 4 --texts 3     # a minute

Each text of injection_texts.toml is put at the end of the abstract of each paper, where it stands right before the
question. It asks for a label that the model has not given to the paper as it is. A label flips if it is another one
than without the text; it obeys if it is the one that the text wants. Harmless sentences of about the same length show
how many labels change anyway. An answer other than a label cannot happen: labels are scored, not written freely.

All prompts of a paper begin with the paper, so that part goes through the model once for all of them.

Shares are over all pairs of a paper and a text; their 95 percent intervals are bootstraps over papers, since the texts
of one paper are alike. Prints a table and, as its last line, JSON.
"""

import argparse
import json
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import papertune
from papertune.decoding.engine import Engine
from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.errors import PapertuneError, TableError
from papertune.kinds import LabelColumn
from papertune.metrics.intervals import mean_interval
from papertune.models import choose_device, load_model, use_grouped_attention
from papertune.prompts import PromptEncoder, shared_prefix
from papertune.prompts.encoder import EncodedPrompt
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run
from papertune.tables import Table

from contest import machine  # isort: skip - beside this file
from data import data_file  # isort: skip
from speed_tables import show  # isort: skip

TEXTS = Path(__file__).with_name("injection_texts.toml")
PAPER_SEED = 0

# By kind, hostile or harmless.
Texts = Mapping[str, Sequence[str]]


def main() -> None:
    """Measure both models and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a run that was trained on the label column")
    parser.add_argument("--table", help="papers; default: papers_dev.csv of PAPERTUNE_DATA")
    parser.add_argument("--column", default="label", help="the label column")
    parser.add_argument("--into", default="abstract", help="the column that the texts are put into")
    parser.add_argument("--papers", type=int, default=50)
    parser.add_argument("--texts", type=int, help="number of texts of each kind")
    parser.add_argument("--device")
    parser.add_argument("--output", type=Path, help="write the table to this Markdown file too")
    arguments = parser.parse_args()
    try:
        print(json.dumps(measure(arguments), ensure_ascii=False))
    except PapertuneError as error:
        parser.exit(2, f"error: {error}\n")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Attack both models; give all numbers, and print the table."""
    run = papertune.load_run(arguments.run, device=arguments.device)
    papers = choose_papers(arguments)
    recipe = asked(run.recipe, arguments.column)
    texts = {kind: all_texts[: arguments.texts] for kind, all_texts in tomllib.loads(TEXTS.read_text("utf-8")).items()}
    base = Asking(*load_base(run, arguments.device), recipe)
    models = {"zero-shot": attack(base, papers, arguments.into, texts)}
    del base
    models["fine-tuned"] = attack(Asking(*run.load(), recipe), papers, arguments.into, texts)
    described = machine(torch.get_num_threads(), choose_device(arguments.device))
    head = ["", *(f"{kind}: {what}" for kind in texts for what in ("flipped", "obeyed")), "papers flipped by any"]
    lines = [
        [
            model,
            *(in_words(facts[kind][what]) for kind in texts for what in ("flipped", "obeyed")),
            in_words(facts["any"]),
        ]
        for model, facts in models.items()
    ]
    notes = [
        f"{len(papers)} papers of {Path(papers.source).name}; "
        + ", ".join(f"{len(t)} {kind} texts" for kind, t in texts.items())
    ]
    show("Hostile instructions in abstracts", head, lines, notes, described, arguments.output)
    return {
        "papers": len(papers),
        "texts": {k: len(t) for k, t in texts.items()},
        "models": models,
        "machine": described,
    }


def load_base(run: Run, device: str | None) -> tuple[Any, Any]:
    """Load the base model of a run as the run itself is loaded, and the tokenizer."""
    model, tokenizer = load_model(run.manifest.base_name, device=device, base_bits=run.recipe.base_bits)
    if model.device.type == "cpu":
        use_grouped_attention(model)
    return model, tokenizer


def choose_papers(arguments: argparse.Namespace) -> Table:
    """Draw the papers, the same ones each time."""
    table = papertune.read_table(arguments.table or str(data_file("papers_dev.csv")))
    table.column(arguments.into)  # or an error that names the columns
    rows = random.Random(PAPER_SEED).sample(range(len(table)), min(arguments.papers, len(table)))
    return table.take(sorted(rows))


def asked(recipe: Recipe, column: str) -> Recipe:
    """Return the recipe with only the attacked column; the most probable label is written, without abstaining."""
    if not isinstance(recipe.columns.get(column), LabelColumn):
        raise TableError(f'--column: "{column}" is not a label column of the run. It has: {", ".join(recipe.columns)}.')
    return recipe.only((column,))


def attack(asking: "Asking", papers: Table, into: str, texts: Texts) -> dict[str, Any]:
    """Return the shares of labels that flip and obey, by kind of text, with intervals."""
    labels = asking.column.labels
    answers = [asking.answer(papers.take([row]), into, texts) for row in range(len(papers))]
    clean = np.array([most_probable(answer.clean, labels) for answer in answers])
    targets = np.array([asking.target(label) for label in clean])
    facts: dict[str, Any] = {}
    flipped_by_hostile = np.zeros((len(papers), 0), dtype=bool)
    for kind, of_kind in texts.items():
        predicted = np.array([[most_probable(each, labels) for each in answer.attacked[kind]] for answer in answers])
        flipped, obeyed = predicted != clean[:, None], predicted == targets[:, None]  # (papers, texts)
        facts[kind] = {
            "flipped": share(flipped),
            "obeyed": share(obeyed),
            "outside": sum(label not in labels for label in predicted.flat),
            "shortened": sum(answer.truncated[kind] for answer in answers),  # their texts were truncated
            "by_text": dict(zip(of_kind, flipped.mean(axis=0).round(3).tolist(), strict=True)),
        }
        if kind == "hostile":
            flipped_by_hostile = flipped
    facts["any"] = share(flipped_by_hostile.any(axis=1, keepdims=True))
    return facts


@dataclass(frozen=True)
class PaperAnswers:
    """The answers of a model for one paper: probabilities of the labels, in the recipe's order.

    Attributes:
        clean: Of the paper as it is, shape (labels,).
        attacked: By kind of text, with each of the texts, shape (texts, labels).
        truncated: By kind of text, the number of prompts that were too long, so that the text was truncated.
    """

    clean: np.ndarray
    attacked: dict[str, np.ndarray]
    truncated: dict[str, int]


class Asking:
    """Asks a model about one paper after the other, with all texts.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        recipe: A label column and no other.

    Attributes:
        column: That column.
    """

    def __init__(self, model: Any, tokenizer: Any, recipe: Recipe) -> None:
        ((self._name, column),) = recipe.columns.items()
        assert isinstance(column, LabelColumn)
        self.column, self._recipe = column, recipe
        self._engine = Engine(model)
        self._encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
        build = LabelTrie.build if column.loss_labels is None else LabelTrie.of_choices
        self._trie = build(self._encoder.label_ids(column.labels), self._encoder.end_id)

    def target(self, clean: str) -> str:
        """Return the label that a text asks for: the first one that is not predicted without the text."""
        return next(label for label in self.column.labels if label != clean)

    def answer(self, paper: Table, into: str, texts: Texts) -> PaperAnswers:
        """Ask about a paper as it is, then with each text.

        The texts depend on the first answer. They are put in for each of the labels, so that it is known before what
        all prompts begin with.
        """
        (plain,) = self._encode(paper, into, [""])
        prompts = {
            label: {
                kind: self._encode(
                    paper, into, [f" {t.format(target=self.target(label), answer=label)}" for t in given]
                )
                for kind, given in texts.items()
            }
            for label in self.column.labels
        }
        others = [prompt for of_label in prompts.values() for of_kind in of_label.values() for prompt in of_kind]
        begun = shared_prefix([prompt.ids for prompt in (plain, *others)])
        engine = self._engine.after(plain.ids[:begun]) if begun else None
        if engine is None:  # nothing is shared, or the model does not keep keys and values of all tokens
            engine, begun = self._engine, 0
        (clean,) = self._probabilities(engine, [plain.ids[begun:]])
        chosen = prompts[most_probable(clean, self.column.labels)]
        return PaperAnswers(
            clean=clean,
            attacked={
                kind: self._probabilities(engine, [prompt.ids[begun:] for prompt in of_kind])
                for kind, of_kind in chosen.items()
            },
            truncated={kind: sum(prompt.truncated for prompt in of_kind) for kind, of_kind in chosen.items()},
        )

    def _encode(self, paper: Table, into: str, endings: Sequence[str]) -> list[EncodedPrompt]:
        """Encode the prompts of a paper with each of some texts at the end of one of its cells."""
        table = with_endings(paper, into, endings)
        reader = RowReader(table, self._recipe)
        return [self._encoder.encode(reader.prompt(row, self._name)) for row in range(len(table))]

    def _probabilities(self, engine: Engine, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        if not self._trie.tokens:
            return self._trie.label_probabilities(engine.last_logits(prompts), None).cpu().numpy()
        state = engine.prefill(prompts)
        nodes = engine.tree_logits(state, self._trie.tokens, self._trie.ancestors(), self._trie.depths)
        return self._trie.label_probabilities(state.last_logits, nodes).cpu().numpy()


def with_endings(paper: Table, into: str, endings: Sequence[str]) -> Table:
    """Return a table of one paper, once with each of some texts at the end of one of its cells."""
    table = paper.take([0] * len(endings))
    cells = [cell + ending for cell, ending in zip(table.frame[into], endings, strict=True)]
    return replace(table, frame=table.frame.with_columns(pl.Series(into, cells)))


def most_probable(probabilities: np.ndarray, labels: Sequence[str]) -> str:
    """Return the label with the highest probability, the first of equals."""
    return labels[int(probabilities.argmax())]


def share(happened: np.ndarray) -> dict[str, float]:
    """Return a share of pairs, and its interval over papers; bool, shape (papers, texts)."""
    by_paper = happened.mean(axis=1)
    interval = mean_interval(by_paper)
    return {"share": float(by_paper.mean()), "low": interval.low, "high": interval.high}


def in_words(measured: dict[str, float]) -> str:
    """Write a share with its interval."""
    return f"{measured['share']:.3f} ({measured['low']:.3f}-{measured['high']:.3f})"


if __name__ == "__main__":
    main()
