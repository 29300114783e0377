"""Whether vLLM answers an export as the run does: the prompts of check.json, as ANSWERS.md says.

    python benchmarks/vllm_exports.py FOLDER ... [--python PYTHON] [--dtype float32]

FOLDER is an export with --to vllm, merged or with --adapter. PYTHON is one that has vLLM, if this one has not; how
vLLM is installed is in contestants/vllm.py. Each prompt is sent as token ids with the tokens to compare as the only
allowed ones, and one token is asked for; the shares that come back are compared with those of check.json, which the run
computed in float32. The Markdown table has the largest difference of a share, and in how many places the same token has
the largest one.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The option of this script itself, for the process that has vLLM.
ASK = "--ask"
ADAPTER = "adapter"


def main() -> None:
    """Ask for each folder, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--python", default=sys.executable, help="a Python with vLLM")
    parser.add_argument("--dtype", nargs="+", default=["auto"], help="of vLLM: auto is that of the weights")
    arguments = parser.parse_args()
    print("| folder | vLLM computes in | prompts | places | same choice | largest difference | mean difference | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for folder in arguments.folders:
        for dtype in arguments.dtype:
            print(measure(folder, dtype, arguments.python), flush=True)


def measure(folder: Path, dtype: str, python: str) -> str:
    """Return a row of the table.

    Raises:
        RuntimeError: If vLLM fails.
    """
    prompts = json.loads((folder / "check.json").read_text("utf-8"))["prompts"]
    asked = questions(prompts)
    with_adapter = (folder / ADAPTER).is_dir()
    content = {
        "model": str(folder / "base" if with_adapter else folder),
        "adapter": str(folder / ADAPTER) if with_adapter else None,
        "dtype": dtype,
        "asked": [{key: each[key] for key in ("ids", "tokens")} for each in asked],
    }
    begun = time.monotonic()
    program = [python, __file__, ASK]
    done = subprocess.run(program, input=json.dumps(content), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"vLLM failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    differences = [
        max(abs(a - b) for a, b in zip(each["shares"], shares, strict=True))
        for each, shares in zip(asked, found, strict=True)
    ]
    same = sum(
        each["shares"].index(max(each["shares"])) == shares.index(max(shares))
        for each, shares in zip(asked, found, strict=True)
    )
    mean = sum(differences) / len(differences)
    return (
        f"| {folder.name} | {dtype} | {len(prompts)} | {len(asked)} | {same} | {max(differences):.5f} | {mean:.5f} | "
        f"{time.monotonic() - begun:.0f} |"
    )


def questions(prompts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each place of check.json with a choice: its token ids, the tokens, and the share of each among them."""
    asked = []
    for prompt in prompts:
        for place in prompt["next"]:
            logs = place["log_probabilities"]
            if len(logs) > 1:
                weights = [math.exp(value) for value in logs.values()]
                shares = [weight / sum(weights) for weight in weights]
                ids = [*prompt["prompt_ids"], *place["after_ids"]]
                asked.append({"ids": ids, "tokens": list(map(int, logs)), "shares": shares})
    return asked


def ask_vllm(content: dict[str, Any]) -> list[list[float]]:
    """Ask vLLM in this process, and return the share of each token, for each question."""
    import os

    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    from vllm import LLM, SamplingParams

    asked, options = content["asked"], {}
    lora = None
    if content["adapter"] is not None:
        from vllm.lora.request import LoRARequest

        rank = json.loads((Path(content["adapter"]) / "adapter_config.json").read_text("utf-8"))["r"]
        options = {"enable_lora": True, "max_lora_rank": max(8, 1 << (rank - 1).bit_length())}
        lora = LoRARequest("run", 1, content["adapter"])
    model = LLM(
        content["model"],
        dtype=content["dtype"],
        max_model_len=max(len(each["ids"]) for each in asked) + 1,
        max_logprobs=max(len(each["tokens"]) for each in asked),
        logprobs_mode="processed_logprobs",
        enforce_eager=True,  # compiling takes longer than twenty prompts
        skip_tokenizer_init=True,
        disable_log_stats=True,
        seed=0,
        **options,
    )
    settings = [
        SamplingParams(
            temperature=1,
            max_tokens=1,
            allowed_token_ids=each["tokens"],
            logprobs=len(each["tokens"]),
            detokenize=False,
        )
        for each in asked
    ]
    prompts = [{"prompt_token_ids": each["ids"]} for each in asked]
    outputs = model.generate(prompts, settings, use_tqdm=False, lora_request=lora)
    found = [output.outputs[0].logprobs[0] for output in outputs]
    return [
        [math.exp(logs[token].logprob) for token in each["tokens"]] for each, logs in zip(asked, found, strict=True)
    ]


def answer() -> None:
    """Answer the questions of standard input; what vLLM prints goes to standard error."""
    import os

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    json.dump(ask_vllm(json.load(sys.stdin)), answers)
    answers.write("\n")
    answers.close()


if __name__ == "__main__":
    if sys.argv[1:] == [ASK]:
        answer()
    else:
        main()
