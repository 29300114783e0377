"""Whether llama.cpp answers an export as the run does: labels and probabilities of the rows of a table.

    python benchmarks/exports.py RUN TABLE --work DIR [--rows 200] [--max-prompt-tokens 1024] [--what f16 q8_0]

needs xllamacpp, which has llama.cpp as a prebuilt library, and a run with a label column whose labels have one token
each. The reference is the run's model in float32, with the same token ids and without other sources or calibration. The
adapter is asked beside the packaged .gguf file that it was trained on. What DIR has already is not computed again, so a
stopped measurement goes on; numbers of another run, table or length are an error. Last comes a table in Markdown.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from llama_cpp import ask_llama_cpp

from papertune import load_run, read_table
from papertune.exports.export import export
from papertune.exports.format import Exported
from papertune.exports.sample import label_tries
from papertune.inference.merge import merged_model
from papertune.models.cache import packaged_gguf
from papertune.models.known import KNOWN_MODELS
from papertune.prompts.context import encoder_within_context
from papertune.prompts.examples import RowReader

ROWS_AT_ONCE = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("table", help="rows that the run can read")
    parser.add_argument("--work", type=Path, required=True, help="a folder for exports and answers")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--max-prompt-tokens", type=int, default=1024, help="documents are truncated to fit")
    parser.add_argument("--what", nargs="+", default=["f16", "q8_0"], choices=["f16", "bf16", "q8_0", "adapter"])
    arguments = parser.parse_args()
    arguments.work.mkdir(exist_ok=True)
    check_same(arguments)
    print(measure(arguments))


def check_same(arguments: argparse.Namespace) -> None:
    """Write down what is measured, or compare it with what the numbers in the folder were measured on."""
    about = {
        "run": load_run(arguments.run).directory.weights_checksum(),
        "table": str(Path(arguments.table).resolve()),
        "rows": arguments.rows,
        "max_prompt_tokens": arguments.max_prompt_tokens,
    }
    kept = arguments.work / "about.json"
    if not kept.exists():
        kept.write_text(json.dumps(about))
    elif (before := json.loads(kept.read_text())) != about:
        different = ", ".join(f"{name} {before.get(name)}" for name in about if before.get(name) != about[name])
        raise SystemExit(f"{arguments.work} has numbers measured with {different}. Choose another folder with --work.")


def measure(arguments: argparse.Namespace) -> str:
    """Return the table."""
    work: Path = arguments.work
    own = own_answers(arguments, work / "run.json")
    lines = [
        "| file | MB | equal labels | largest difference | mean difference | rows/s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for what in arguments.what:
        file, lora = exported(arguments.run, work / what, what)
        found = llama_answers(own, file, lora, work / f"{what}.json")
        pairs = list(zip(own["probabilities"], found["probabilities"], strict=True))
        differences = [max(abs(a - b) for a, b in zip(*each, strict=True)) for each in pairs]
        equal = sum(mine.index(max(mine)) == theirs.index(max(theirs)) for mine, theirs in pairs)
        size = (lora or file).stat().st_size / 1e6
        numbers = f"{max(differences):.5f} | {sum(differences) / len(differences):.5f}"
        speed = len(differences) / found["seconds"]
        lines.append(f"| {what} | {size:,.0f} | {equal} of {len(differences)} | {numbers} | {speed:.2f} |")
    return "\n".join(lines)


def own_answers(arguments: argparse.Namespace, kept: Path) -> dict[str, Any]:
    """Ask the run's model in float32, a few rows at a time: prompts, tokens of labels and their probabilities."""
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"probabilities": []}
    done = len(found["probabilities"])
    if done == arguments.rows:
        return found
    run = load_run(arguments.run, device="cpu")
    model, tokenizer = merged_model(run, "fp32")
    encoder = encoder_within_context(tokenizer, run.recipe, model.config, 0)
    encoder.max_prompt_tokens = min(arguments.max_prompt_tokens, encoder.max_prompt_tokens)
    what = Exported(run, model, tokenizer, encoder, "f32", adapter=False, name="run")
    name, trie = next(iter(label_tries(what).items()))
    if trie.tokens:
        raise SystemExit(f"{name}: its labels have several tokens each; this measurement is for labels of one token.")
    rows = list(range(arguments.rows))
    reader = RowReader(read_table(arguments.table).take(rows), run.recipe)
    prompts = [each.ids for each in encoder.encode_many([reader.prompt(row, name) for row in rows])]
    found |= {"prompts": prompts, "tokens": [path[0][1] for path in trie.paths]}
    for begin in range(done, len(prompts), ROWS_AT_ONCE):
        for ids in prompts[begin : begin + ROWS_AT_ONCE]:
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double()
            found["probabilities"].append(torch.softmax(logits[found["tokens"]], dim=-1).tolist())
        kept.write_text(json.dumps(found))
    return found


def exported(run: Path, folder: Path, what: str) -> tuple[Path, Path | None]:
    """Return the .gguf file and the adapter of an export, which is made if it is not there."""
    adapter = what == "adapter"
    if not folder.exists():
        export(run, folder, to="gguf", weights=None if adapter else what, adapter=adapter, device="cpu")
    if not adapter:
        return folder / "model.gguf", None
    known = KNOWN_MODELS[load_run(run).manifest.base_name]
    base = packaged_gguf(known.package, known.gguf_name)
    if base is None:
        raise SystemExit(f"the package {known.package} is not installed")
    return base, folder / "adapter.gguf"


def llama_answers(own: dict[str, Any], file: Path, lora: Path | None, kept: Path) -> dict[str, Any]:
    """Ask llama.cpp the same prompts, a few rows at a time, so that a stopped measurement goes on."""
    found: dict[str, Any] = {"probabilities": [], "seconds": 0.0}
    if kept.exists():
        found = json.loads(kept.read_text())
    while done := own["prompts"][len(found["probabilities"]) :]:
        asked = [{"prompt": ids, "tokens": own["tokens"]} for ids in done[:ROWS_AT_ONCE]]
        begin = time.monotonic()
        found["probabilities"] += ask_llama_cpp(file, asked, lora=lora)
        found["seconds"] += time.monotonic() - begin
        kept.write_text(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
