"""The part of docs/lab/results.md about a table's training rows: all of them, fewer, and few beside prompting.

It is written from the entries of joined_sources.py and keyword_words.py; nothing is measured here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# The file of a table in the folder of results.
SAMPLES = "samples.json"

WITH_MODEL = "joined, with the model"
JOINED = "joined, without the model"
TFIDF = "TF-IDF + logistic regression"
FEW_SHOT = "few-shot prompting"
# The order of the lines; the others stand between them.
_ORDER = (WITH_MODEL, JOINED, "fine-tuned", "words", "sentence encoder", "probe", TFIDF, FEW_SHOT)

_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "average_precision": "average precision",
    "auc": "AUC",
    "log_loss": "log-loss",
    "f1_at_5": "F1@5",
}

Entry = Mapping[str, Any]


def measure_name(key: str) -> str:
    """Return what the page calls a score."""
    return _NAMES[key]


def whole_table(entries: Sequence[Entry], keys: Sequence[str]) -> list[list[str]]:
    """Return the head and the lines of the systems that have learned from all rows, scored on all dev rows.

    Args:
        entries: The entries of a table.
        keys: The scores, the main one first.
    """
    found = [each for each in entries if each["rows"] == each["of_rows"] and _is_whole_test(each)]
    if not found:
        return []
    calibrated = all("ece" in each for each in found)
    head = ["", *map(measure_name, keys), *(["calibration error (by chance)"] if calibrated else []), "answered by"]
    lines = [head]
    for system in _systems(found):
        seeds = _of(found, system)
        scores = [_mean_and_interval(seeds, key) for key in keys]
        ece = [f"{_mean(each['ece'] for each in seeds):.3f} ({_mean(each['ece_by_chance'] for each in seeds):.3f})"]
        lines.append([system, *scores, *(ece if calibrated else []), "; ".join(_remarks(seeds))])
    return lines


def fewer_rows(entries: Sequence[Entry], key: str) -> list[list[str]]:
    """Return the head and the lines of a learning curve: the mean score of the samples of each size.

    Args:
        entries: The entries of a table.
        key: The score.
    """
    found = [each for each in entries if _is_whole_test(each)]
    sizes = sorted({each["rows"] for each in found if each["rows"] < each["of_rows"]})
    if not sizes:
        return []
    sizes += sorted({each["of_rows"] for each in found if each["rows"] == each["of_rows"]})
    lines = [["", *(f"{size:,} rows" for size in sizes)]]
    for system in _systems(found):
        lines.append([system, *(_mean_of_samples(_of(found, system, size), key) for size in sizes)])
    return lines


def beside_prompting(entries: Sequence[Entry], key: str) -> list[list[str]]:
    """Return the head and the lines of few rows where the base model was prompted, on the dev rows that it answered.

    Args:
        entries: The entries of a table.
        key: The score.
    """
    prompted = {(each["rows"], each["sample"], each["test_rows"]) for each in entries if each["system"] == FEW_SHOT}
    found = [each for each in entries if (each["rows"], each["sample"], each["test_rows"]) in prompted]
    sizes = sorted({each["rows"] for each in found})
    if not sizes:
        return []
    lines = [["", *(f"{size:,} rows" for size in sizes)]]
    for system in _systems(found):
        lines.append([system, *(_mean_of_samples(_of(found, system, size), key) for size in sizes)])
    return lines


def _is_whole_test(entry: Entry) -> bool:
    return bool(entry["test_rows"] == entry["of_test_rows"])


def _systems(entries: Iterable[Entry]) -> list[str]:
    """Return the systems in the order of the lines."""

    def place(system: str) -> int:
        return next((number for number, start in enumerate(_ORDER) if system.startswith(start)), len(_ORDER))

    return sorted(dict.fromkeys(each["system"] for each in entries), key=place)


def _of(entries: Iterable[Entry], system: str, rows: int | None = None) -> list[Entry]:
    return [each for each in entries if each["system"] == system and rows in (None, each["rows"])]


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _mean_and_interval(seeds: Sequence[Entry], key: str) -> str:
    """Return `0.804 (0.701-0.893)`; of several seeds the mean and each of them."""
    values = [each["scores"][key] for each in seeds]
    if None in values:
        return ""
    if len(seeds) > 1:
        return f"{_mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"
    between = seeds[0]["scores"].get(f"{key}_interval")
    return f"{values[0]:.3f}" + ("" if between is None else f" ({between['low']:.3f}-{between['high']:.3f})")


def _mean_of_samples(samples: Sequence[Entry], key: str) -> str:
    """Return the mean score, with the number of samples where it is one; "" without any."""
    if not samples:
        return ""
    return f"{_mean(each['scores'][key] for each in samples):.3f}"


def _remarks(seeds: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(each["about"] for each in seeds if each["about"]))
