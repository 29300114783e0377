"""From tables of papers to a token file: duplicates and dev papers leave, the rest is tokenised in parts."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, groupby
from pathlib import Path

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

    @classmethod
    def open(cls, folder: Path) -> "Corpus | None":
        """Open the corpus of a folder; None if it has not been written, or not completely."""
        file = TokenFile.open(folder)
        return None if file is None else cls(file, **file.notes)


class CorpusWriter:
    """Writes a corpus.

    Args:
        recipe: The recipe.
        documents: Encodes whole documents.
        prompts: Encodes prompts and answers.
        mix: Share of the tokens that are instructions.
    """

    def __init__(self, recipe: Recipe, documents: PromptEncoder, prompts: PromptEncoder, mix: float) -> None:
        self._recipe = recipe
        self._seed = recipe.training.seed
        self._documents = documents
        self._prompts = prompts
        self._mix = mix

    def write(
        self, folder: Path, vocabulary: int, tables: Iterable[Table], dev: Iterable[Table], dev_fraction: float
    ) -> None:
        """Write the corpus into a folder.

        Args:
            folder: The folder.
            vocabulary: All token ids are below this number.
            tables: The tables, which are read twice, one at a time.
            dev: The dev tables.
            dev_fraction: Without dev tables: share of the papers that become dev papers.

        Raises:
            TableError: If there is nothing to learn, or there is only one dev paper.
        """
        dev_papers = self._read_dev(dev)
        keys = [_keys(table, self._recipe) for table in tables]
        ends = np.cumsum([0, *map(len, keys)])
        all_keys = np.concatenate([np.empty(0, np.uint64), *keys])
        learned = _first_ones(all_keys, np.asarray(list(dev_papers), dtype=np.uint64))
        empty = int((all_keys == _EMPTY).sum())
        duplicates = len(all_keys) - empty - int(learned.sum())
        drawn = self._draw(learned, dev_fraction)
        learned[drawn] = False
        if not learned.any():
            raise TableError("the tables have no paper to learn that is not a dev row. Give more rows.")
        texts = list(dev_papers.values())
        with TokenWriter(folder, vocabulary) as writer:
            instructions = 0
            for number, table in enumerate(tables):
                begin, end = ends[number : number + 2]
                reader = RowReader(table, self._recipe)
                texts += [reader.document(int(row - begin)) for row in drawn[(drawn >= begin) & (drawn < end)]]
                instructions += self._write_table(writer, table, learned[begin:end], f"{self._seed}-{number}")
            selection, held_out = self._split_dev(texts)
            writer.finish(
                {
                    "selection": self._documents.encode_documents(selection),
                    "held_out": self._documents.encode_documents(held_out),
                    "papers": int(learned.sum()),
                    "duplicates": duplicates,
                    "empty": empty,
                    "instructions": instructions,
                }
            )

    def _read_dev(self, dev: Iterable[Table]) -> dict[int, str]:
        """Return the dev papers by their keys, each once."""
        papers: dict[int, str] = {}
        for table in dev:
            reader = RowReader(table, self._recipe)
            for row, key in enumerate(_keys(table, self._recipe).tolist()):
                if key != _EMPTY:
                    papers.setdefault(key, reader.document(row))
        return papers

    def _draw(self, learned: NDArray[np.bool_], fraction: float) -> NDArray[np.int64]:
        """Return the numbers of the rows that become dev papers, over all tables, in order."""
        known = np.flatnonzero(learned)
        if not fraction:
            return known[:0]
        limit = self._recipe.training.dev_rows + self._recipe.training.calibration_rows
        count = min(max(round(fraction * len(known)), 2), limit)
        return np.sort(known[np.random.default_rng(self._seed).permutation(len(known))[:count]])

    def _split_dev(self, texts: Sequence[str]) -> tuple[list[str], list[str]]:
        """Divide dev papers as other stages divide dev rows: one half chooses the checkpoint, the other is measured."""
        if len(texts) == 1:
            raise TableError(
                "there is only one dev paper, but one half of them chooses the checkpoint and the other half is "
                "measured. Give at least two."
            )
        spec = self._recipe.training
        order = list(texts)
        random.Random(self._seed).shuffle(order)
        half = min(spec.dev_rows, (len(order) + 1) // 2)
        return order[:half], order[half : half + spec.calibration_rows]

    def _write_table(self, writer: TokenWriter, table: Table, learned: NDArray[np.bool_], seed: str) -> int:
        """Write the documents of some rows, and instructions among them; return the number of instructions."""
        reader = RowReader(table, self._recipe)
        examples = _by_row(table, self._recipe) if self._mix else iter(())
        waiting: list[list[Example]] = []
        instructions = 0
        for start in range(0, len(table), _PART):
            rows = (start + np.flatnonzero(learned[start : start + _PART])).tolist()
            texts = self._documents.encode_documents([reader.document(row) for row in rows])
            for ids in texts:
                writer.add(ids)
            together, waiting = _before(start + _PART, chain(waiting, examples))
            found = [example for group in together if learned[group[0].row] for example in group]
            random.Random(f"{seed}-{start}").shuffle(found)
            budget = sum(map(len, texts)) * self._mix / (1 - self._mix)
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
    keys = np.full(len(table), _EMPTY, dtype=np.uint64)
    for row in range(len(table)):
        if not reader.is_empty(row):
            text = " ".join(reader.document(row).casefold().split())
            digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            keys[row] = max(int.from_bytes(digest, "big"), 1)
    return keys


def _first_ones(keys: NDArray[np.uint64], before: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which keys are not empty and occur neither earlier nor in `before`, shape (keys,)."""
    _, first = np.unique(np.concatenate([before, keys]), return_index=True)
    is_first = np.zeros(len(before) + len(keys), dtype=bool)
    is_first[first] = True
    learned: NDArray[np.bool_] = is_first[len(before) :] & (keys != _EMPTY)
    return learned


def _by_row(table: Table, recipe: Recipe) -> Iterator[list[Example]]:
    """Yield the examples of each row that has any."""
    return (list(group) for _, group in groupby(training_examples(table, recipe), lambda example: example.row))


def _before(end: int, groups: Iterable[list[Example]]) -> tuple[list[list[Example]], list[list[Example]]]:
    """Return the examples of rows before `end`, and those that were read beyond it."""
    taken: list[list[Example]] = []
    for group in groups:
        if group[0].row >= end:
            return taken, [group]
        taken.append(group)
    return taken, []
