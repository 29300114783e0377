"""Training steps with LoRA as peft computes it, and in fewer products, in turns, in float32.

    python benchmarks/lora_products.py --tokens 384 --batch 4

Both are bound by the rate of float32 products: 4 operations for each weight and token, forward and backward. What peft
adds are products of rank 8 and results of full size that are written and read once more. One line of JSON last.
"""

import argparse
import json
import statistics
import time
from contextlib import nullcontext

import torch
import torch.nn.functional as F

from papertune.methods import build_trainable
from papertune.methods.merged_products import merged_products
from papertune.models import answer_positions, load_model
from papertune.recipe import LoraMethod


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=384)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    model, _ = load_model("smollm2-135m", precision="fp32", device="cpu")
    model = build_trainable(model, LoraMethod(rank=8), seed=0).train()
    ids = torch.randint(0, 40_000, (arguments.batch, arguments.tokens), generator=torch.Generator().manual_seed(0))
    rows, last = torch.arange(arguments.batch), torch.full((arguments.batch,), arguments.tokens - 1)

    def step() -> float:
        begun = time.monotonic()
        with answer_positions(model, rows, last):
            logits = model(input_ids=ids, use_cache=False).logits
        F.cross_entropy(logits, rows).backward()
        return time.monotonic() - begun

    seconds: dict[str, list[float]] = {"peft": [], "fewer products": []}
    for _ in range(arguments.rounds + 1):
        for name, times in seconds.items():
            with merged_products(model, torch.float32) if name == "fewer products" else nullcontext():
                times.append(step())
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first is the warm-up
    for name, median in medians.items():
        print(f"{name:15} {median:.2f} s a step, {arguments.batch / median:.3f} rows/s")
    ratio = medians["peft"] / medians["fewer products"]
    print(f"{torch.get_num_threads()} threads: {ratio:.2f} times as fast")
    print(json.dumps({"ratio": round(ratio, 3), "threads": torch.get_num_threads(), **medians}))


if __name__ == "__main__":
    main()
