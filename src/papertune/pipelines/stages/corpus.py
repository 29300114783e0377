"""From tables of papers to a token file: duplicates and dev rows leave, the rest is tokenised in parts."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papertune.errors import TableError
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import Example, RowReader, training_examples
from papertune.recipe import Recipe
from papertune.tables import Table
from papertune.training.documents import TokenFile, TokenWriter

# Documents that are tokenised together.
_PART = 1024
# The key of a row whose document is empty.
_EMPTY = 0


@dataclass(frozen=True)
class Corpus:
    """What continued pre-training reads.

    Attributes:
        file: The token ids of the texts to learn.
        selection: Token ids of the dev papers that choose the checkpoint.
        held_out: Token ids of the dev papers that choose nothing.
        papers: Number of papers to learn.
        duplicates: Number of rows whose paper occurs before them, or among the dev papers.
        empty: Number of rows without a document.
        instructions: Number of prompts with their answers among the texts.
    """

    file: TokenFile
    selection: list[list[int]]
    held_out: list[list[int]]
    papers: int
    duplicates: int
    empty: int
    instructions: int


class CorpusBuilder:
    """Makes a corpus from tables that are read one at a time.

    Args:
        tables: The tables; they are read twice.
        dev: The dev tables.
        dev_fraction: Without dev tables: share of the papers that become dev papers.
        recipe: The recipe.
        encoders: Encodes documents, and prompts with their answers.
    """

    def __init__(
        self,
        tables: Iterable[Table],
        dev: Iterable[Table],
        dev_fraction: float,
        recipe: Recipe,
        encoders: tuple[PromptEncoder, PromptEncoder],
    ) -> None:
        self._tables = tables
        self._recipe = recipe
        self._documents, self._prompts = encoders
        self._dev_texts: list[str] = []
        keys = [_keys(table, recipe) for table in tables]
        self._ends = np.cumsum([0, *map(len, keys)])
        all_keys = np.concatenate([np.empty(0, np.uint64), *keys])
        is_empty = all_keys == _EMPTY
        dev_keys = self._read_dev(dev)
        _, first = np.unique(np.concatenate([dev_keys, all_keys]), return_index=True)
        self._learned = np.zeros(len(all_keys), dtype=bool)
        self._learned[first[first >= len(dev_keys)] - len(dev_keys)] = True
        self._learned &= ~is_empty
        self.empty = int(is_empty.sum())
        self.duplicates = len(all_keys) - self.empty - int(self._learned.sum())
        self._drawn = self._draw(dev_fraction)

    def build(self, folder: Path, vocabulary: int) -> Corpus:
        """Write the token file, unless the folder has it already, and return the corpus.

        Args:
            folder: Folder of the token file.
            vocabulary: Number of token ids of the model.

        Raises:
            TableError: If there is nothing to learn, or there are too few dev papers.
        """
        papers = int(self._learned.sum()) - len(self._drawn)
        if not papers:
            raise TableError("the tables have no paper to learn that is not a dev row. Give more rows.")
        file = TokenFile.open(folder)
        if file is None or file.notes["papers"] != papers:
            with TokenWriter(folder, vocabulary) as writer:
                instructions = self._write(writer)
                writer.finish({"papers": papers, "instructions": instructions})
            file = TokenFile.open(folder)
            assert file is not None
        selection, held_out = self._split_dev(self._dev_texts or self._drawn_texts())
        return Corpus(
            file,
            self._documents.encode_documents(selection),
            self._documents.encode_documents(held_out),
            papers,
            self.duplicates,
            self.empty,
            int(file.notes["instructions"]),
        )

    def _read_dev(self, dev: Iterable[Table]) -> NDArray[np.uint64]:
        """Read the dev papers, each once, and return their keys."""
        by_key: dict[int, str] = {}
        for table in dev:
            reader = RowReader(table, self._recipe)
            for row, key in enumerate(_keys(table, self._recipe).tolist()):
                if key != _EMPTY:
                    by_key.setdefault(key, reader.document(row))
        self._dev_texts = list(by_key.values())
        return np.asarray(list(by_key), dtype=np.uint64)

    def _draw(self, fraction: float) -> NDArray[np.int64]:
        """Return the numbers of the rows that become dev papers, over all tables, in order."""
        known = np.flatnonzero(self._learned)
        if not fraction:
            return known[:0]
        limit = self._recipe.training.dev_rows + self._recipe.training.calibration_rows
        count = min(max(round(fraction * len(known)), 2), limit)
        chosen = np.random.default_rng(self._recipe.training.seed).permutation(len(known))[:count]
        return np.sort(known[chosen])

    def _drawn_texts(self) -> list[str]:
        if not len(self._drawn):
            return []
        texts: list[str] = []
        for number, table in enumerate(self._tables):
            reader = RowReader(table, self._recipe)
            start, end = self._ends[number : number + 2]
            own = self._drawn[(self._drawn >= start) & (self._drawn < end)]
            texts += [reader.document(int(row - start)) for row in own]
        return texts

    def _split_dev(self, texts: Sequence[str]) -> tuple[list[str], list[str]]:
        """Divide dev papers as other stages divide dev rows: one half chooses the checkpoint, the other measures."""
        if not texts:
            return [], []
        if len(texts) == 1:
            raise TableError(
                "there is only one dev paper, but one half of them chooses the checkpoint and the other half is "
                "measured. Give at least two."
            )
        spec = self._recipe.training
        order = list(texts)
        random.Random(spec.seed).shuffle(order)
        half = min(spec.dev_rows, (len(order) + 1) // 2)
        return order[:half], order[half : half + spec.calibration_rows]

    def _write(self, writer: TokenWriter) -> int:
        """Write the texts of all tables, and return how many of them are instructions."""
        keep = self._learned.copy()
        keep[self._drawn] = False
        instructions = 0
        mix = self._recipe.stage.mix_instructions  # type: ignore[attr-defined]
        for number, table in enumerate(self._tables):
            own = keep[self._ends[number] : self._ends[number + 1]]
            reader = RowReader(table, self._recipe)
            examples = _by_row(table, self._recipe) if mix else iter(())
            waiting: list[list[Example]] = []
            for start in range(0, len(table), _PART):
                rows = (start + np.flatnonzero(own[start : start + _PART])).tolist()
                texts = self._documents.encode_documents([reader.document(row) for row in rows])
                for ids in texts:
                    writer.add(ids)
                if mix:
                    together, waiting = _take_rows(examples, waiting, start + _PART)
                    found = [example for each in together if own[each[0].row] for example in each]
                    random.Random(f"{self._recipe.training.seed}-{number}-{start}").shuffle(found)
                    budget = sum(map(len, texts)) * mix / (1 - mix)
                    instructions += self._write_instructions(writer, found, budget)
        return instructions

    def _write_instructions(self, writer: TokenWriter, examples: Sequence[Example], tokens: float) -> int:
        """Write prompts with their answers until a number of tokens is reached, and return how many."""
        written = 0
        for example in examples:
            prompt = self._prompts.encode(example.prompt).ids
            for answer in self._recipe.questions[example.column].encode_answers(example.answer, self._prompts):
                if tokens <= 0:
                    return written
                writer.add([*prompt, *answer])
                tokens -= len(prompt) + len(answer)
                written += 1
        return written


def _keys(table: Table, recipe: Recipe) -> NDArray[np.uint64]:
    """Return a key of each row's document, without regard to case and blanks, uint64, shape (rows,).

    Two of a million different documents have the same key with a probability below 1e-7.
    """
    reader = RowReader(table, recipe)
    keys = np.empty(len(table), dtype=np.uint64)
    for row in range(len(table)):
        text = "" if reader.is_empty(row) else " ".join(reader.document(row).casefold().split())
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        keys[row] = max(int.from_bytes(digest, "big"), 1) if text else _EMPTY
    return keys


def _by_row(table: Table, recipe: Recipe) -> Iterator[list[Example]]:
    """Yield the examples of each row that has any."""
    return (list(group) for _, group in groupby(training_examples(table, recipe), lambda example: example.row))


def _take_rows(
    examples: Iterator[list[Example]], waiting: list[list[Example]], end: int
) -> tuple[list[list[Example]], list[list[Example]]]:
    """Return the examples of rows before `end`, and those that were read beyond it."""
    taken: list[list[Example]] = []
    for group in [*waiting]:
        if group[0].row >= end:
            return taken, waiting
        taken.append(group)
    for group in examples:
        if group[0].row >= end:
            return taken, [group]
        taken.append(group)
    return taken, []


def vocabulary_of(model: Any) -> int:
    """Return the number of token ids that a model knows."""
    return int(model.get_input_embeddings().num_embeddings)
