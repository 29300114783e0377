"""ChatGLM2-6B at full size, with random weights made on the device: training and label prediction.

    python benchmarks/chatglm2.py                # a GPU with 24 GB or more: 6,243,584,000 parameters in bfloat16
    python benchmarks/chatglm2.py --size tiny    # anywhere: the same steps on a model of a few layers
    python benchmarks/chatglm2.py --tokenizer FOLDER    # with the published tokenizer.model: from text too

What bounds it: both training and label scoring are matrix products over all tokens at once, so the measured rate of
bfloat16 products is the ceiling. The tutorial's way also waits for memory: it reads all weights again for each token.

- training: the tutorial's settings (batches of 4, 4 accumulated, 512 tokens, LoRA of rank 8 on query_key_value)
- papertune: rows sorted by length, one pass of the prompt, and one of the label trie behind it
- from text: the same rows as a table, with planning and encoding; only where there is a tokenizer. Both of the others
  begin with ready token ids
- tutorial: one row a `generate` call, two tokens, sampling at temperature 0.01, the adapter unmerged

Lengths are drawn from the spread of real prompts (median 372 tokens, one in eight above 510, 1,186 at most). A table
for people comes first, one line of JSON last.
"""

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from papertune.decoding.engine import Engine
from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.inference.plan import batch_tokens
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.methods import build_trainable, merge_adapter
from papertune.models.chatglm2 import ChatGLMConfig, ChatGLMForConditionalGeneration, ChatGLMTokenizer
from papertune.prompts import PromptEncoder, sorted_token_batches
from papertune.prompts.examples import RowReader
from papertune.recipe import LoraMethod, TrainingSpec, load_recipe
from papertune.tables import read_table
from papertune.training import FitSettings, Question, TrainingRow, fit

# In ChatGLM2's tokenizer "1" and "0" are two tokens each, with the same first one; the end token is 2.
LABELS = [[30910, 30939], [30910, 30940]]
END = 2
TINY = {"num_layers": 2, "hidden_size": 256, "ffn_hidden_size": 512, "num_attention_heads": 8, "kv_channels": 32}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    parser.add_argument("--steps", type=int, default=50, help="optimizer steps of training")
    parser.add_argument("--rows", type=int, default=2000, help="rows that papertune predicts")
    parser.add_argument("--tutorial-rows", type=int, default=100, help="rows that are predicted in the tutorial's way")
    parser.add_argument("--tokenizer", help="folder with ChatGLM2's tokenizer.model; without it nothing is encoded")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    begun = time.monotonic()
    model = random_model(ChatGLMConfig(**(TINY if arguments.size == "tiny" else {})), device, dtype)
    weights = sum(parameter.numel() for parameter in model.parameters())
    # The embedding is looked up, not multiplied; the output layer works at a few positions only.
    multiplied = weights - 2 * model.config.padded_vocab_size * model.config.hidden_size
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "dtype": str(dtype).removeprefix("torch."),
        "weights": weights,
        "build_s": round(time.monotonic() - begun, 1),
        "ceiling_tflops": round(matrix_rate(device, dtype) / 1e12, 3),
    }
    model, result["training"] = train(model, arguments.steps, device, dtype)
    rows = prompts(max(arguments.rows, arguments.tutorial_rows))
    result["tutorial"] = tutorial_way(model, rows[: arguments.tutorial_rows], device)
    model = merge_adapter(model)
    result["papertune"] = papertune_way(model, rows[: arguments.rows], device)
    work = {"training": 4, "papertune": 2, "tutorial": 2}
    if arguments.tokenizer is not None:
        result["from text"] = from_text(model, arguments.tokenizer, rows[: arguments.rows], device)
        work["from text"] = 2
    for name, per_token in work.items():
        part = result[name]
        rate = per_token * multiplied * part["tokens_per_s"]
        part["share_of_ceiling"] = round(rate / (result["ceiling_tflops"] * 1e12), 3)
    print(f"{result['device']}, {result['dtype']}, torch {result['torch']}, {weights:,} weights")
    print(f"matrix products: {result['ceiling_tflops']} TFLOP/s")
    for name in work:
        print(f"{name:10}", "  ".join(f"{key} {value}" for key, value in result[name].items()))
    ratio = result["papertune"]["rows_per_s"] / result["tutorial"]["rows_per_s"]
    print(f"papertune labels {ratio:.1f} times as many rows in a second as the tutorial's way")
    print(json.dumps(result))


def random_model(config: ChatGLMConfig, device: torch.device, dtype: torch.dtype) -> Any:
    """Make a model on its device; its weights are never anywhere else."""
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return ChatGLMForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(default)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure products of matrices of the model's shapes, in operations a second."""
    tokens, hidden, inner = (8192, 4096, 13696) if device.type == "cuda" else (1024, 256, 512)
    left = torch.randn(tokens, hidden, device=device, dtype=dtype)
    right = torch.randn(hidden, inner, device=device, dtype=dtype)
    seconds = []
    for _ in range(7):
        begun = time.monotonic()
        for _ in range(10):
            left @ right
        synchronize(device)
        seconds.append(time.monotonic() - begun)
    return 10 * 2 * tokens * hidden * inner / statistics.median(seconds[2:])


def train(model: Any, steps: int, device: torch.device, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Train at the tutorial's settings, twice: the first few steps are the warm-up."""
    method = LoraMethod(rank=8, alpha=32, dropout=0.1, targets=("query_key_value",))
    model = build_trainable(model, method, seed=0)
    rows = [TrainingRow(random_ids(510, seed), [Question([[*LABELS[seed % 2], END]])]) for seed in range(16 * steps)]
    seconds = 0.0
    for count in (2, steps):
        reset_peak(device)
        spec = TrainingSpec(
            micro_batch_size=4, accumulation=4, learning_rate=5e-5, max_steps=count, logging_steps=count
        )
        with tempfile.TemporaryDirectory() as folder:
            settings = FitSettings(spec, Path(folder) / "training", Path(folder) / "metrics.jsonl", dtype)
            begun = time.monotonic()
            fit(model, rows[: 16 * count], [], settings)
            synchronize(device)
            seconds = time.monotonic() - begun
    rate = 16 * steps / seconds
    tokens = len(rows[0].ids)
    return model, measured(rate, tokens * rate, device) | {"steps": steps, "seconds": round(seconds, 1)}


def papertune_way(model: Any, rows: list[list[int]], device: torch.device) -> dict[str, Any]:
    """Score the labels of sorted batches."""
    engine, trie = Engine(model), LabelTrie.build(LABELS, END)
    budget = batch_tokens(device.type)
    batches = sorted_token_batches([len(row) for row in rows], budget, budget // 128)

    def run(batch: list[int]) -> None:
        state = engine.prefill([rows[index] for index in batch])
        nodes = engine.tree_logits(state, trie.tokens, trie.ancestors(), trie.depths)
        trie.label_probabilities(state.last_logits, nodes).tolist()

    run(batches[-1])
    reset_peak(device)
    begun = time.monotonic()
    for batch in batches:
        run(batch)
    seconds = time.monotonic() - begun
    return measured(len(rows) / seconds, sum(map(len, rows)) / seconds, device) | {"rows": len(rows)}


def from_text(model: Any, folder: str, rows: list[list[int]], device: torch.device) -> dict[str, Any]:
    """Predict the labels of a table: measure all prompts, then encode and answer batch after batch."""
    tokenizer = ChatGLMTokenizer.from_pretrained(folder)
    recipe = load_recipe("xfg-label")
    # What stands around the document is a part of the length.
    frame = len(
        PromptEncoder(tokenizer, recipe.encoding).encode(RowReader(table_of([""]), recipe).prompt(0, "label")).ids
    )
    table = table_of([tokenizer.decode(ids[2:][: max(len(ids) - frame, 1)]) for ids in rows])
    reader = RowReader(table, recipe)
    predictor = Predictor(model, tokenizer, recipe)
    predict_rows(predictor, reader, predictor.plan(reader, range(min(len(rows), 8))))
    reset_peak(device)
    begun = time.monotonic()
    plan = predictor.plan(reader, range(len(rows)))
    planned = time.monotonic()
    predict_rows(predictor, reader, plan)
    seconds = time.monotonic() - begun
    tokens = int(plan.tokens.sum())
    return measured(len(rows) / seconds, tokens / seconds, device) | {
        "rows": len(rows),
        "planning_ms_per_row": round(1000 * (planned - begun) / len(rows), 3),
    }


def table_of(documents: list[str]) -> Any:
    """Put texts into a table as the tutorial's recipe reads it."""
    return read_table([{"title": "", "author": "", "abstract": text} for text in documents])


@torch.inference_mode()
def tutorial_way(model: Any, rows: list[list[int]], device: torch.device) -> dict[str, Any]:
    """Generate two tokens for one row after the other."""
    options = {"max_new_tokens": 2, "do_sample": True, "temperature": 0.01, "top_p": 0.8, "pad_token_id": 0}

    def run(row: list[int]) -> None:
        ids = torch.tensor([row], device=device)
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options).tolist()

    run(rows[0])
    reset_peak(device)
    begun = time.monotonic()
    for row in rows:
        run(row)
    seconds = time.monotonic() - begun
    return measured(len(rows) / seconds, sum(map(len, rows)) / seconds, device) | {"rows": len(rows)}


def prompts(count: int) -> list[list[int]]:
    """Draw prompts of the lengths of real ones."""
    lengths = random.Random(1)
    drawn = [min(1186, max(60, round(lengths.lognormvariate(5.92, 0.29)))) for _ in range(count)]
    return [random_ids(length, seed) for seed, length in enumerate(drawn)]


def random_ids(length: int, seed: int) -> list[int]:
    """Return a prompt: [gMASK] sop, then ordinary tokens."""
    generator = random.Random(seed)
    return [64790, 64792, *(generator.randrange(300, 60000) for _ in range(length - 2))]


def measured(rows_per_s: float, tokens_per_s: float, device: torch.device) -> dict[str, Any]:
    """Put rates and the peak of memory together; on a CPU the peak is not measured here."""
    peak = round(torch.cuda.max_memory_allocated() / 1e9, 2) if device.type == "cuda" else "not measured"
    return {"rows_per_s": round(rows_per_s, 3), "tokens_per_s": round(tokens_per_s, 1), "peak_gb": peak}


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def reset_peak(device: torch.device) -> None:
    """Forget the peak of memory so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
