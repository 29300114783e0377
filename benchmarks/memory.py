"""Memory of a training as `papertune models --memory` computes it, and as it is measured.

    python benchmarks/memory.py                                     a few settings of smollm2-135m, one after another
    python benchmarks/memory.py --setting "method={kind='full'}" --rows 4 --seq 128

Each setting trains three optimizer steps in a process of its own, on rows that all have the same length. On a GPU the
measured peak is torch.cuda.max_memory_allocated; on a CPU the highest resident memory after the model is loaded, less
what the process had before it was. One line of JSON for each setting.

The processes run with MALLOC_MMAP_THRESHOLD_=65536, so that what is freed goes back to the system at once. Left to
itself glibc keeps freed blocks in a heap that is up to a fifth larger than what is alive; --heap measures that.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

SETTINGS = [
    ("method.kind=lora", 2, 128),
    ("method.kind=lora", 4, 128),
    ("method.kind=lora", 2, 256),
    ("method.kind=lora training.gradient_checkpointing=true", 4, 128),
    ("method.kind=lora training.gradient_checkpointing=true", 8, 256),
    ("method.base_bits=8", 4, 128),
    ("method.base_bits=4", 4, 128),
    ("method={kind='ptuning_v2'}", 4, 128),
    ("method={kind='freeze'}", 4, 128),
    ("method={kind='full'}", 2, 128),
    ("method={kind='full'}", 4, 128),
    ("method={kind='full'} training.gradient_checkpointing=true", 4, 128),
]
ANSWER_TOKENS = 8


def main() -> None:
    """Measure one setting, or all of them in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--heap", action="store_true", help="leave glibc's settings as they are")
    parser.add_argument("--setting", help="settings of the recipe, blank-separated")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--seq", type=int, default=128)
    arguments = parser.parse_args()
    if arguments.setting is not None:
        print(json.dumps(measure(arguments)), flush=True)
        return
    for setting, rows, seq in SETTINGS:
        command = [sys.executable, __file__, "--setting", setting, "--rows", str(rows), "--seq", str(seq)]
        common = ["--model", arguments.model, "--precision", arguments.precision, "--device", arguments.device]
        environment = {**os.environ} if arguments.heap else {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        done = subprocess.run([*command, *common], stdout=subprocess.PIPE, text=True, env=environment, check=False)
        print(done.stdout.strip() or json.dumps({"setting": setting, "failed": done.returncode}), flush=True)


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Train a few steps and give the predicted and the measured peak, in GB of 2^30 bytes."""
    import torch

    from papertune.methods import build_trainable, checkpoint_activations
    from papertune.models import choose_dtype, find_config, load_model
    from papertune.recipe import load_recipe
    from papertune.training import FitSettings, Question, TrainingRow, fit
    from papertune.training.answers.loop import CPU_PART_TOKENS
    from papertune.training.memory import BatchShape, training_memory

    logging.getLogger().setLevel(logging.ERROR)
    precision = f"training.precision={arguments.precision}"
    steps = ["training.max_steps=3", f"training.micro_batch_size={arguments.rows}", precision]
    recipe = load_recipe("medical-papers", [*arguments.setting.split(), *steps])
    dtype = choose_dtype(arguments.precision, arguments.device)
    on_gpu = arguments.device.startswith("cuda")
    together = arguments.rows if on_gpu else min(arguments.rows, max(1, CPU_PART_TOKENS // arguments.seq))
    shape = BatchShape(together, arguments.seq, ANSWER_TOKENS)
    (predicted,) = training_memory(
        find_config(arguments.model),
        recipe.method,
        [shape],
        dtype=dtype,
        gradient_checkpointing=recipe.training.gradient_checkpointing,
        accumulation=-(-arguments.rows // together),
    )
    # Once, so that what is loaded when it is first used is not counted.
    torch.nn.Linear(8, 8)(torch.zeros(2, 8)).sum().backward()
    before = resident()
    own = "fp32" if recipe.method.base_dtype(dtype) == torch.float32 else arguments.precision
    model, _ = load_model(arguments.model, precision=own, device=arguments.device, base_bits=recipe.base_bits)
    model = build_trainable(model, recipe.method, seed=0)
    if recipe.training.gradient_checkpointing:
        checkpoint_activations(model)
    prompt = list(range(100, 100 + arguments.seq - ANSWER_TOKENS + 1))
    answer = list(range(100, 100 + ANSWER_TOKENS))
    rows = [TrainingRow(prompt, [Question([answer])]) for _ in range(3 * arguments.rows)]
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(arguments.device)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the highest from now on
    with tempfile.TemporaryDirectory() as folder:
        settings = FitSettings(recipe.training, Path(folder) / "training", Path(folder) / "metrics.jsonl", dtype)
        fit(model, rows, [], settings)
    measured = torch.cuda.max_memory_allocated(arguments.device) if on_gpu else resident("VmHWM") - before
    return {
        "setting": arguments.setting,
        "rows": arguments.rows,
        "seq": arguments.seq,
        "precision": arguments.precision,
        "predicted_gb": round(predicted.total / 2**30, 3),
        "measured_gb": round(measured / 2**30, 3),
        "predicted_over_measured": round(predicted.total / measured, 2),
        "device": torch.cuda.get_device_name(arguments.device) if on_gpu else platform.machine(),
        "torch": torch.__version__,
    }


def resident(field: str = "VmRSS") -> int:
    """Return a field of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
