"""Synthetic pairs: a gold answer beside one that was made worse.

They teach a reward model what a person would have to say otherwise, and they say nothing about what this person
prefers. Each pair has the source "synthetic" and its tier.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from papertune.errors import TableError
from papertune.kinds.findings import Findings, GoldCheck
from papertune.preferences.asking import Asked
from papertune.preferences.entries import Pair
from papertune.preferences.matching import Key, Rows
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe

# How many other papers are looked at for one paper.
_OTHERS = 8


@dataclass(frozen=True)
class SyntheticPairs:
    """The synthetic pairs of one column.

    Attributes:
        pairs: The pairs, by paper and tier.
        line: What to report.
    """

    pairs: list[Pair]
    line: str


def synthesise(gold: Rows, asked: Asked, recipe: Recipe, name: str) -> SyntheticPairs:
    """Make pairs of each gold answer of a column and worse ones, in tiers.

    Args:
        gold: The table with the gold answers.
        asked: Knows the documents.
        recipe: The recipe; its `training.seed` chooses what is changed.
        name: The column, whose answers are generated.

    Raises:
        TableError: With every cell that is not an answer of the column.
    """
    column = recipe.questions[name]
    reader = RowReader(gold.table, recipe)
    findings = Findings()
    recipe.columns[name].check_gold(GoldCheck(gold.table, reader, name, "train", {}, findings))
    findings.raise_problems(gold.table)
    answers: dict[Key, str] = {}
    unknown: list[str] = []
    for key, row in gold.by_key.items():
        cell = reader.given(row, name)
        if cell is not None and (answer := column.read_answer(cell)) is not None:
            answers[key] = answer
            if key not in asked:
                unknown.append(asked.unknown(gold.table.where(row, name)))
    if unknown:
        raise TableError.collect(f"{gold.table.source}: documents are not known", unknown)
    keys = list(answers)
    pairs: list[Pair] = []
    for number, (key, answer) in enumerate(answers.items()):
        generator = Random(f"{recipe.training.seed} {name} {number}")
        others = [answers[other] for other in _others(keys, key, asked, generator)]
        different = [other for other in others if not column.is_same_answer(answer, other)]
        fields = asked.fields(key, name)
        for tier, worse in column.corruptions(answer, asked.text(key), different, generator).items():
            found = column.preferences(answer, worse)
            pairs += [Pair(**fields, chosen=good, rejected=bad, tier=tier, source="synthetic") for good, bad in found]
    return SyntheticPairs(pairs, _line(name, len(answers), pairs))


def _others(keys: Sequence[Key], own: Key, asked: Asked, generator: Random) -> list[Key]:
    """Choose other papers at random; the same document twice is one paper."""
    # Only random() promises the same numbers in every Python.
    if len(keys) > 4 * _OTHERS:
        chosen = list(dict.fromkeys(keys[int(generator.random() * len(keys))] for _ in range(2 * _OTHERS)))
    else:
        order = [generator.random() for _ in keys]
        chosen = [keys[place] for place in sorted(range(len(keys)), key=order.__getitem__)]
    document = asked.document(own)
    return [key for key in chosen if asked.document(key) != document][:_OTHERS]


def _line(name: str, rows: int, pairs: Sequence[Pair]) -> str:
    tiers = Counter(pair.tier for pair in pairs)
    counted = ", ".join(f"{tier} {count:,}" for tier, count in tiers.items())
    return f"{name}: {len(pairs):,} synthetic pairs of {rows:,} gold cells" + (f" ({counted})" if counted else "")
