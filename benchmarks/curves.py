"""The part of docs/lab/results.md about a table's training rows: all of them, fewer, and few beside prompting.

It is written from the entries of joined_sources.py and keyword_words.py; nothing is measured here.
"""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from papertune.errors import OutputError
from papertune.files import write_atomically

# The files of a table in the folder of results: of its label column, and of its keywords.
LABEL_SAMPLES, KEYWORD_SAMPLES = "label_samples.json", "keyword_samples.json"

WITH_MODEL = "joined, with the model"
JOINED = "joined, without the model"
TFIDF = "TF-IDF + logistic regression"
FEW_SHOT = "few-shot prompting"
# The order of the lines; the others stand between them.
_ORDER = (WITH_MODEL, JOINED, "fine-tuned", "words and", "words", "sentence encoder", "probe", "TF-IDF", FEW_SHOT)

_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "average_precision": "average precision",
    "auc": "AUC",
    "log_loss": "log-loss",
    "wss_at_95": "WSS@95",
    "f1_at_5": "F1@5",
}

# What an entry is about; a later one of the same takes its place.
_KEYS = ("rows", "sample", "system", "test_rows")

# The width of the other pages.
_WIDTH = 120

Entry = Mapping[str, Any]


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a file; none if it is not there.

    Raises:
        OutputError: If it is damaged.
    """
    try:
        return list(json.loads(path.read_text("utf-8"))) if path.is_file() else []
    except ValueError as error:
        raise OutputError(f"{path} is damaged: {error}. Delete it, and run the same commands again.") from error


def keep_entry(path: Path, entry: Mapping[str, Any]) -> None:
    """Write an entry into a file, in place of an earlier one of the same system and rows."""
    others = [each for each in read_entries(path) if any(each[key] != entry[key] for key in _KEYS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps([*others, entry], ensure_ascii=False, indent=1) + "\n")


def is_kept(path: Path, place: Mapping[str, Any]) -> bool:
    """Whether a file has an entry with these values."""
    return any(all(each[key] == value for key, value in place.items()) for each in read_entries(path))


def filled(text: str, indent: str = "") -> str:
    """Break a paragraph into lines."""
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table, the first line as its head; "" without lines."""
    if not lines:
        return ""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def of_table(name: str, entries: Sequence[Entry], keys: Sequence[str]) -> list[str]:
    """Return the paragraphs of a table's section.

    Args:
        name: The name of its files.
        entries: Its entries.
        keys: Its scores, the one that counts first.
    """
    parts = []
    if lines := whole_table(entries, keys):
        train, test = entries[0]["of_rows"], entries[0]["of_test_rows"]
        about = f"All {test:,} rows of `{name}_dev.csv`, after learning from all {train:,} of `{name}_train.csv`:"
        parts += [about, markdown(lines)]
    if lines := fewer_rows(entries, keys[0]):
        parts += [f"Fewer rows, {_NAMES[keys[0]]}:", markdown(lines)]
    if lines := beside_prompting(entries, keys[0]):
        rows = next(each["test_rows"] for each in entries if each["system"] == FEW_SHOT)
        parts += [f"Beside prompting, {_NAMES[keys[0]]} on {rows} of the dev rows:", markdown(lines)]
    return parts


def overview(tables: Mapping[str, tuple[str, Sequence[Entry]]]) -> list[list[str]]:
    """Return the head and a line for each table: its main score after all rows.

    Args:
        tables: By name the key of the score and the entries.
    """
    shown = (WITH_MODEL, JOINED, "fine-tuned", "words", "sentence encoder", TFIDF)
    names = (WITH_MODEL, JOINED, "model alone", "words alone", "sentence encoder alone", TFIDF)
    lines = []
    for name, (key, entries) in tables.items():
        whole = [each for each in entries if each["rows"] == each["of_rows"] and _is_whole_test(each)]
        cells = [_mean_of_samples([each for each in whole if _is_shown(each, start)], key) for start in shown]
        lines.append([name, _NAMES[key], *cells])
    return [["table", "score", *names], *lines] if lines else []


def _is_shown(entry: Entry, start: str) -> bool:
    """Whether a system stands in the column of the overview that shows those whose names begin so."""
    system = entry["system"]
    return bool(system.startswith(start) and not system.startswith(f"{start} and"))


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
    head = [
        "",
        *(_NAMES[key] for key in keys),
        *(["calibration error (by chance)"] if calibrated else []),
        "answered by",
    ]
    lines = [head]
    for system in _systems(found):
        seeds = _of(found, system)
        scores = [_mean_and_interval(seeds, key) for key in keys]
        if calibrated:
            errors = (_mean(each[key] for each in seeds) for key in ("ece", "ece_by_chance"))
            scores.append("{:.3f} ({:.3f})".format(*errors))
        lines.append([system, *scores, "; ".join(_remarks(seeds))])
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
    """Return the mean score of the samples; "" without any."""
    if not samples:
        return ""
    return f"{_mean(each['scores'][key] for each in samples):.3f}"


def _remarks(seeds: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(each["about"] for each in seeds if each["about"]))
