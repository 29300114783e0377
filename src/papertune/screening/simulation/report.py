"""The files of simulated screenings: numbers, a table and a plot."""

import json
from pathlib import Path
from typing import Any

from papertune.files import check_new_folder, write_atomically
from papertune.screening.simulation.simulate import Simulations

TITLES = {"wss": "WSS@95", "early_recall": "recall at 10%", "mean_recall": "mean recall", "atd": "ATD"}


def markdown(simulations: Simulations) -> str:
    """Return a table in Markdown: mean and standard error of each measure, a line for each system."""
    lines = [f"| | {' | '.join(TITLES.values())} |", "| --- " * (len(TITLES) + 1) + "|"]
    for system in simulations.found:
        cells = [
            f"{mean:.3f}" + ("" if error is None else f" ({error:.3f})")
            for mean, error in (simulations.summary(system)[name] for name in TITLES)
        ]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_simulations(simulations: Simulations, folder: Path) -> None:
    """Write simulation.json, simulation.md and recall.svg into a new folder.

    Raises:
        OutputError: If the folder is not empty or cannot be written.
    """
    check_new_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {
        "records": simulations.records,
        "relevant": simulations.relevant,
        "systems": {
            system: {
                "mean": {name: mean for name, (mean, _) in simulations.summary(system).items()},
                "standard_error": {name: error for name, (_, error) in simulations.summary(system).items()},
                "found_after": [found.tolist() for found in each],
            }
            for system, each in simulations.found.items()
        },
    }
    write_atomically(folder / "simulation.json", json.dumps(numbers, indent=2) + "\n")
    write_atomically(folder / "simulation.md", markdown(simulations))
    write_atomically(folder / "recall.svg", _plot(simulations))


def _plot(simulations: Simulations) -> bytes:
    """Draw the mean recall over the records read, as SVG."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes: Any = figure.subplots()
    for number, system in enumerate(simulations.found):
        curve = simulations.curve(system)
        axes.plot(range(len(curve)), curve, linestyle=("-", "--")[number % 2], label=system)
    axes.plot([0, simulations.records - 2], [0, 1], color="grey", linewidth=0.8, linestyle=":", label="at random")
    axes.set_xlabel("records read")
    axes.set_ylabel("share of the relevant records found")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right")
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
