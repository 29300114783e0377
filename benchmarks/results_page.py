"""Write docs/lab/results.md: of each table the report and the setting of results.py, and the samples of curves.py.

Nothing is measured here and no model is loaded, so the same folder gives the same page. The page ends with
results_earlier.md, the measurements of other commands.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curves import KEYWORD_SAMPLES, LABEL_SAMPLES, filled, markdown, of_table, overview, read_entries  # isort: skip - beside this file
from results_sections import HEAD, INJECTION_HEAD, SECTIONS  # isort: skip

REPORT, SETTING = "report.json", "setting.json"
# The output of injection.py, if the page is to have it.
INJECTION = "injection.md"
EARLIER = Path(__file__).with_name("results_earlier.md")

# A part of a JSON file.
Plain = Mapping[str, Any]


def write_page(folder: Path, page: Path) -> None:
    """Write the page from a folder of `results.py`."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(page_of(folder), "utf-8")


def page_of(folder: Path) -> str:
    """Return the page for what the folder has; it lists the tables that are not measured."""
    reports = {name: kept for name in SECTIONS if (kept := _kept(folder / name)) is not None}
    samples = {name: found for name in SECTIONS if (found := _samples(folder, name))}
    parts = [HEAD, _overview(reports, samples)]
    parts += [_section(name, reports.get(name), samples.get(name)) for name in SECTIONS if name in {*reports, *samples}]
    parts += [_injection(folder / INJECTION), _missing([name for name in SECTIONS if name not in {*reports, *samples}])]
    parts += [EARLIER.read_text("utf-8")]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _kept(folder: Path) -> tuple[Plain, Plain] | None:
    """Return the report and the setting of a table; None if it is not measured."""
    files = [folder / REPORT, folder / SETTING]
    if not all(file.exists() for file in files):
        return None
    report, setting = (json.loads(file.read_text("utf-8")) for file in files)
    return report, setting


def _samples(folder: Path, name: str) -> list[dict[str, Any]]:
    is_keywords = SECTIONS[name].scores[0] == "f1_at_5"
    return read_entries(folder / name / (KEYWORD_SAMPLES if is_keywords else LABEL_SAMPLES))


def _overview(reports: Mapping[str, tuple[Plain, Plain]], samples: Mapping[str, Sequence[Plain]]) -> str:
    if not reports and not samples:
        return "No table is measured yet in this way; see the [earlier measurements](#earlier-measurements) below."
    links = {name: f"[{name}](#{_anchor(section.title)})" for name, section in SECTIONS.items()}
    mains = {name: section.scores[0] for name, section in SECTIONS.items()}
    parts = [markdown(overview({links[name]: (mains[name], entries) for name, entries in samples.items()}))]
    lines = [["table", "score", "run", "best baseline", "difference"]] if reports else []
    for name, (report, _) in reports.items():
        (column,) = report["columns"]
        run, best, main = column["contestants"][0], _best_baseline(column), _main(column)
        cells = [f"{each['name']}: {_scored(each['scores'], main.key)}" for each in (run, best)]
        lines.append([links[name], main.name, *cells, _difference(run[_paired(column)])])
    return "\n\n".join(part for part in (*parts, markdown(lines)) if part)


def _section(name: str, report: tuple[Plain, Plain] | None, samples: Sequence[Plain] | None) -> str:
    section = SECTIONS[name]
    parts = [f"## {section.title}", filled(section.about)]
    parts += of_table(name, samples, section.scores) if samples else []
    parts += _of_report(name, *report) if report else []
    return "\n\n".join(parts)


def _of_report(name: str, report: Plain, setting: Plain) -> list[str]:
    """Return the paragraphs of a comparison."""
    (column,) = report["columns"]
    measures, best, paired = _measures(column), _best_baseline(column), _paired(column)
    others = [f"difference in {_main(column).name}", "rows/s", "training", "trainable parameters"]
    lines = [
        [
            each["name"],
            *(measure.cell(each["scores"]) for measure in measures),
            "best baseline" if each is best else _difference(each[paired]),
            _rate(each["rows_per_s"]),
            _duration(each["training_s"]),
            "" if each["trained_weights"] is None else f"{each['trained_weights']:,}",
        ]
        for each in column["contestants"]
    ]
    parts = [
        filled(_sizes(name, report, setting)),
        markdown([["", *(measure.name for measure in measures), *others], *lines]),
        filled(f"**{column['verdict']}**"),
    ]
    if facts := _facts(column, report):
        parts.append("\n".join(filled(f"- {fact}", "  ") for fact in facts))
    return parts


def _missing(names: Sequence[str]) -> str:
    """List the tables that are not measured, each with its command; "" if all are."""
    if not names:
        return ""
    lines = [f"- {SECTIONS[name].title}: `python benchmarks/results.py {name} -o results`" for name in names]
    return "\n".join(["## Not measured yet", "", *lines])


def _injection(file: Path) -> str:
    if not file.exists():
        return f"{INJECTION_HEAD}\nNot measured yet."
    _, _, table = file.read_text("utf-8").partition("\n")
    return f"{INJECTION_HEAD}\n{table.strip()}"


@dataclass(frozen=True)
class _Measure:
    """A column of a table of systems.

    Attributes:
        name: Its heading.
        key: The score's name in report.json, if it has an interval there.
        value: Returns the number for the cell from a system's scores; None: the score and its interval.
    """

    name: str
    key: str = ""
    value: Callable[[Plain], float | None] | None = None

    def cell(self, scores: Plain) -> str:
        """Return the cell of a system."""
        if self.value is None:
            return _scored(scores, self.key)
        found = self.value(scores)
        return "" if found is None else f"{found:.3f}"


_ACCURACY = _Measure("accuracy", "accuracy")


def _plain_measure(name: str, key: str) -> _Measure:
    return _Measure(name, key, lambda scores: scores[key])


def _main(column: Plain) -> _Measure:
    """Return the score by which systems are compared."""
    if column["is_screening"]:
        return _Measure("average precision", "average_precision")
    return _ACCURACY if column["kind"] == "label" else _Measure("F1@5", "f1_at_5")


def _paired(column: Plain) -> str:
    """Return the key of a system's difference in that score."""
    return "paired_average_precision" if column["is_screening"] else "paired"


def _best_baseline(column: Plain) -> Plain:
    """Return the baseline that the others are compared with: it alone has a score and no difference."""
    main, paired = _main(column), _paired(column)
    return next(each for each in column["contestants"] if each[paired] is None and each["scores"][main.key] is not None)


def _measures(column: Plain) -> list[_Measure]:
    if column["kind"] != "label":
        return [
            _main(column),
            _Measure("F1@O", "f1_at_o"),
            _plain_measure("F1@M", "f1_at_m"),
            _Measure("recall, present", value=lambda scores: scores["present"] and scores["present"]["recall"]),
        ]
    if column["is_screening"]:
        first = column["contestants"][0]["scores"]["labels"][0]
        return [
            _main(column),
            _plain_measure("WSS@95", "wss_at_95"),
            _Measure(f"recall of {first}", value=lambda scores: scores["per_label"][0]["recall"]),
            _Measure(f"F1 of {first}", value=lambda scores: scores["per_label"][0]["f1"]),
            _ACCURACY,
        ]
    return [
        _main(column),
        _Measure("macro F1", "macro_f1"),
        _plain_measure("AUC", "auc"),
        _plain_measure("log-loss", "log_loss"),
    ]


def _sizes(name: str, report: Plain, setting: Plain) -> str:
    """Describe the training rows, the scored rows and the machine."""
    facts = report["facts"]
    machine = setting["machine"]
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    place = machine.get("gpu") or f"{threads} on {cores} of {machine['cpu']}"
    if setting["given_run"]:
        tables = re.sub(r"[^\s,]*/", "", facts["learnt from"])  # only their names, without our folders
        trained = f"trained earlier on {tables}; its training time is that of its own machine"
    else:
        trained = f"trained on {_share(setting['rows'], setting['of_rows'])} of `{name}_train.csv`"
        if setting["dev_rows"]:
            trained += f", with {setting['dev_rows']:,} others as dev rows"
    settings = "".join(f", `{override}`" for override in setting["overrides"])
    return (
        f"Scored: {_share(setting['test_rows'], setting['of_test_rows'])} of `{name}_dev.csv`. The run: {trained}; "
        f"{facts['training']}{settings}. {place}; {facts['versions']}; {setting['date']}."
    )


def _share(rows: int, of: int) -> str:
    return f"all {of:,} rows" if rows == of else f"{rows:,} of {of:,} rows"


def _facts(column: Plain, report: Plain) -> list[str]:
    """Return further facts about a column, about a sentence each."""
    facts = []
    after, before = column["calibration"], column["calibration_before"]
    if after is not None:
        changes = [
            f"{what} {after[key]:.3f}" + ("" if before is None else f" ({before[key]:.3f} before)")
            for what, key in (("expected calibration error", "ece"), ("log-loss", "log_loss"), ("Brier score", "brier"))
        ]
        changes[0] += f" (right probabilities would have {after['ece_by_chance']:.3f} on these rows)"
        facts.append(f"Probabilities of the run: {', '.join(changes)}; {column['facts']['fitted']}.")
    if (sets := column["label_sets"]) is not None:
        facts.append(
            f"Label sets: {sets['covered']:.1%} contain the gold label, {sets['wanted']:.0%} were wanted; "
            f"{sets['mean_size']:.2f} labels on average, {sets['single']:.0%} have one."
        )
    facts += [f"{each['name']}: {each['note']}." for each in column["contestants"] if each["note"]]
    if scored := column["facts"].get("not scored"):
        facts.append(f"Not scored: {scored}.")
    for title, why in column["facts"].items():
        if why.startswith("not measured: "):
            facts.append(f"{title}: {why}.")
    if report["leaks"] is not None:
        copies = len({pair["id"] for pair in report["leaks"]["duplicates"]})
        found = "1 scored paper is" if copies == 1 else f"{copies} scored papers are"
        papers = found if copies else "No scored paper is"
        others = "training or dev rows" if report["leaks"]["dev"] else "training rows"
        facts.append(f"{papers} also among the {others}, word for word or nearly.")
    return facts


def _scored(scores: Plain, key: str) -> str:
    """Return `0.970 (0.936-0.986)`; "" if the score is not defined."""
    if scores[key] is None:
        return ""
    between = scores[f"{key}_interval"]
    return f"{scores[key]:.3f} ({between['low']:.3f}-{between['high']:.3f})"


def _difference(paired: Plain | None) -> str:
    """Return `+0.040 (+0.005 to +0.075, p = 0.021)`, without p if it is not known; "" without a difference."""
    if paired is None:
        return ""
    p_value = paired["p_value"]
    p = "" if p_value is None else ", p < 0.001" if p_value < 0.001 else f", p = {p_value:.3f}"
    return f"{paired['difference']:+.3f} ({paired['low']:+.3f} to {paired['high']:+.3f}{p})"


def _rate(rows_per_s: float | None) -> str:
    if rows_per_s is None:
        return ""
    return f"{rows_per_s:,.0f}" if rows_per_s >= 100 else f"{rows_per_s:.3g}"


def _duration(seconds: float | None) -> str:
    if not seconds:
        return "" if seconds is None else "none"
    if seconds < 0.1:
        return "under 0.1 s"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return "".join(c for c in title.lower() if c.isalnum() or c in " -_").replace(" ", "-")
