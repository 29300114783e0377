"""Memory and time of stage pt on made-up abstracts, by their number; the model is tiny, so the papers are what counts.

    python benchmarks/pretraining_memory.py 20000 200000 --file-rows 10000

The papers are in csv files of so many rows, which are read one at a time. One line for each number, in a process of its
own: the peak of private memory (RssAnon, sampled), the size of the token file, and the times.
"""

import argparse
import csv
import multiprocessing
import random
import tempfile
import threading
import time
from pathlib import Path

WORDS = 30_000
MB = 2**20


def main() -> None:
    """Print a line for each number of papers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("papers", nargs="+", type=int)
    parser.add_argument("--file-rows", type=int, default=10_000)
    parser.add_argument("--words", type=int, default=200, help="mean words of an abstract")
    arguments = parser.parse_args()
    print("| papers | files | text, MB | private memory at the peak, MB | token file, MB | minutes |")
    print("| --- | --- | --- | --- | --- | --- |")
    spawn = multiprocessing.get_context("spawn")
    for papers in arguments.papers:
        with tempfile.TemporaryDirectory() as folder, spawn.Pool(1) as pool:
            files = make_files(Path(folder), papers, arguments.file_rows, arguments.words)
            text_mb = sum(file.stat().st_size for file in files) / MB
            peak_mb, token_mb, minutes = pool.apply(measure, (Path(folder), files))
            print(
                f"| {papers:,} | {len(files)} | {text_mb:,.0f} | {peak_mb:,.0f} | {token_mb:,.0f} | {minutes:.1f} |",
                flush=True,
            )


def make_files(folder: Path, papers: int, file_rows: int, words: int) -> list[Path]:
    """Write papers of made-up words, which are as frequent as words are."""
    chance = random.Random(0)
    vocabulary = ["".join(chance.choices("aeioulnrstkmpd", k=chance.randint(2, 11))) for _ in range(WORDS)]
    weights = [1 / (rank + 3) for rank in range(WORDS)]
    files = []
    for start in range(0, papers, file_rows):
        files.append(folder / f"papers-{start}.csv")
        with files[-1].open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["title", "abstract"])
            for number in range(start, min(start + file_rows, papers)):
                count = chance.randint(words // 2, words * 3 // 2)
                text = " ".join(chance.choices(vocabulary, weights, k=count))
                writer.writerow([f"{text[:60]} {number}", text])
    return files


def measure(folder: Path, files: list[Path]) -> tuple[float, float, float]:
    """Read the papers for one optimizer step; return the peak of private memory, the token file's size, and minutes."""
    import papertune

    model = make_model(folder / "model")
    recipe = {
        "model": str(model),
        "table": {"document": "{title}\n{abstract}"},
        "stage": {"kind": "pt"},
        "training": {"max_steps": 1, "micro_batch_size": 1, "precision": "fp32"},
    }
    peak, ended = 0.0, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not ended.wait(0.05):
            status = Path("/proc/self/status").read_text()
            peak = max(peak, int(status.partition("RssAnon:")[2].split()[0]) / 1024)

    sampler = threading.Thread(target=sample)
    sampler.start()
    begun = time.monotonic()
    try:
        papertune.train([str(file) for file in files], recipe, folder / "run")
    finally:
        ended.set()
        sampler.join()
    size = (folder / "run" / "training" / "tokens" / "tokens.bin").stat().st_size / MB
    return peak, size, (time.monotonic() - begun) / 60


def make_model(folder: Path) -> Path:
    """Write a tiny model with the tokenizer of the default model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from papertune.models import find_base, load_tokenizer

    tokenizer = load_tokenizer(find_base("smollm2-135m"))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
