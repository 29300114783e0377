"""The inputs of systems: rows of a table, their prompts, and the weights of a run in each form that is needed."""

import argparse
import gc
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papertune.models import choose_device, choose_dtype, find_base, output_layer
from papertune.pipelines.train import train
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.run import Run, load_run
from papertune.tables import Table, read_table

from contest import usable_cores  # isort: skip - beside this file
from data import data_file  # isort: skip

SAMPLE_PAPERS = Path(__file__).parents[1] / "examples" / "papers.csv"
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class Weights:
    """The weights of a run, and what multiplying with them costs.

    Attributes:
        run: The run directory.
        base: Folder of the base model.
        adapter: Folder of the LoRA adapter.
        merged: Folder of W0 + s B A, in the dtype that "auto" gives on the device.
        shapes: Inputs, outputs and count of the linear layers; the output layer is not among them.
        head: Weights of the output layer.
    """

    run: Path
    base: str
    adapter: Path
    merged: Path
    shapes: list[tuple[int, int, int]]
    head: int

    @property
    def multiplied(self) -> int:
        """Weights that each token is multiplied with: all but the embedding and the output layer."""
        return sum(inner * outer * count for inner, outer, count in self.shapes)


def add_options(parser: argparse.ArgumentParser, *, rows: int | None, table: str) -> None:
    """Add the options that all benchmarks have."""
    parser.add_argument("--table", type=Path, help=f"default: {table} of PAPERTUNE_DATA")
    parser.add_argument("--rows", type=int, default=rows, help="number of rows, drawn evenly over their lengths")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--device", help='"cpu", "cuda", ...; default: a GPU if there is one')
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override the recipe")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="just these systems")
    parser.add_argument("--contestant", action="append", default=[], metavar="NAME=PYTHON", help="see contestants/")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for loading or a round")
    parser.add_argument("--output", type=Path, help="also write the table here, as Markdown")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the weights."""
    parser.add_argument("--run", type=Path, help="a run with a LoRA adapter; default: one is made in a few steps")
    parser.add_argument("--base", type=Path, help="the base model's folder, if it has moved")
    parser.add_argument("--steps", type=int, default=2, help="of the run that is made")


def table_rows(arguments: argparse.Namespace, default: str) -> Table:
    """Read the table of the rows."""
    return read_table(str(arguments.table or data_file(default)))


def evenly_over_lengths(lengths: Sequence[int], count: int | None) -> list[int]:
    """Choose rows whose lengths are spread like those of all rows; in table order."""
    if count is None or count >= len(lengths):
        return list(range(len(lengths)))
    ordered = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return sorted(ordered[int((place + 0.5) * len(ordered) / count)] for place in range(count))


def prompts_of(table: Table, recipe: Recipe, tokenizer: Any, column: str) -> list[list[int]]:
    """Encode the prompt of a column for each row, as prediction does."""
    encoder = PromptEncoder(tokenizer, recipe.encoding, chat=recipe.chat)
    reader = RowReader(table, recipe)
    return [encoder.encode(reader.prompt(row, column)).ids for row in range(len(table))]


def auto_dtype(device: str) -> str:
    """Name the dtype that "auto" gives on a device."""
    return str(choose_dtype("auto", device)).removeprefix("torch.")


@contextmanager
def prepared_run(
    arguments: argparse.Namespace, columns: Sequence[str], overrides: Sequence[str] = ()
) -> Iterator[tuple[Run, Weights, Any]]:
    """Return the run, its weights in all forms and its tokenizer; what was made for it is removed afterwards.

    Args:
        arguments: Of the command line.
        columns: That a run which is made here learns.
        overrides: Settings of a run that is made here, before those of the command line.
    """
    if arguments.run is not None and arguments.overrides:
        raise SystemExit("error: --set goes with a run that is made here; the recipe of --run stands.")
    device = choose_device(arguments.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = arguments.run
        if path is None:
            path = folder / "run"
            settings = ["training.micro_batch_size=4", f"training.max_steps={arguments.steps}", *overrides]
            papers = read_table(str(SAMPLE_PAPERS))
            count = min(4 * arguments.steps, len(papers))
            rows = papers.take(range(0, len(papers), len(papers) // count)[:count])
            train(
                rows,
                "medical-papers",
                path,
                only=list(columns),
                overrides=[*settings, *arguments.overrides],
                device=arguments.device,
                base=arguments.base,
            )
        run = load_run(path, device="cpu", base=arguments.base)
        if not run.directory.adapter.is_dir() or run.recipe.method.kind != "lora":
            raise SystemExit(f"error: {path} has no LoRA adapter, which is what the tutorial's way needs.")
        model, tokenizer = run.load(PRECISIONS[auto_dtype(device)])  # type: ignore[arg-type]
        merged = folder / "merged"
        model.save_pretrained(merged)
        tokenizer.save_pretrained(merged)
        shapes, head = linear_shapes(model), output_layer(model).weight.numel()  # type: ignore[union-attr]
        del model
        gc.collect()
        base = find_base(run.manifest.base_name, arguments.base).location
        yield run, Weights(path, base, run.directory.adapter, merged, shapes, head), tokenizer


def linear_shapes(model: Any) -> list[tuple[int, int, int]]:
    """Count the linear layers of each shape, without the output layer: inputs, outputs, count."""
    from torch import nn

    head = output_layer(model)
    counts: dict[tuple[int, int], int] = {}
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not head:
            shape = (module.in_features, module.out_features)
            counts[shape] = counts.get(shape, 0) + 1
    return [(inner, outer, count) for (inner, outer), count in sorted(counts.items())]
