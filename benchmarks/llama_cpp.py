"""Asks a .gguf file through llama.cpp, in a process of its own.

    python benchmarks/llama_cpp.py < questions.json

needs xllamacpp, which has llama.cpp as a prebuilt library. Standard input is an object:

    {"model": "model.gguf", "lora": null, "context": 1100, "threads": 1,
     "asked": [{"prompt": [1, 2, 3], "tokens": [33, 32]}, {"prompt": "text", "tokens": [33, 32]}]}

Each question gets the share of each of its tokens among them. The answer is a JSON list on standard output. For tokens
that are parts of a character a question also has "letter", the token of one letter, and "vocabulary", the number of all
tokens.
"""

import json
import math
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def ask_llama_cpp(
    model: Path,
    asked: Sequence[dict[str, Any]],
    *,
    lora: Path | None = None,
    context: int = 1100,
    threads: int = 1,
    python: str = sys.executable,
) -> list[Any]:
    """Ask in a process of its own; see the module for `asked` and the result."""
    content = {"model": str(model), "lora": lora and str(lora), "context": context, "threads": threads}
    program = [python, str(Path(__file__))]
    done = subprocess.run(
        program, input=json.dumps({**content, "asked": list(asked)}), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"llama.cpp failed:\n{done.stderr[-3000:]}")
    answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main() -> None:
    """Answer the questions of standard input."""
    import xllamacpp

    content = json.load(sys.stdin)
    settings = xllamacpp.CommonParams()
    settings.model.path = content["model"]
    settings.n_ctx = content["context"]
    settings.n_parallel = 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = content["threads"]
    settings.warmup = settings.fit_params = False
    settings.cache_ram_mib = 0
    if content["lora"] is not None:
        settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(content["lora"], 1.0)]
    server = xllamacpp.Server(settings)
    answers = [_answer(server.listening_address, each) for each in content["asked"]]
    print(json.dumps(answers), flush=True)


def _answer(address: str, asked: dict[str, Any]) -> list[float]:
    tokens = asked["tokens"]
    request: dict[str, Any] = {"prompt": asked["prompt"], "n_predict": 1}
    if "letter" in asked:
        # Beside a token that is no text by itself, llama.cpp sends no probabilities.
        request |= {"temperature": 0, "logit_bias": [[asked["letter"], 1000]], "n_probs": asked["vocabulary"]}
        logs = {each["id"]: each["logprob"] for each in _post(address, request)["top_logprobs"]}
        shares = [math.exp(logs[token]) for token in tokens]
        return [share / sum(shares) for share in shares]
    # The same bias for all of them leaves no room for other tokens.
    request |= {"temperature": 1, "samplers": ["temperature"], "logit_bias": [[token, 100] for token in tokens]}
    request |= {"n_probs": len(tokens), "post_sampling_probs": True}
    found = {each["id"]: each["prob"] for each in _post(address, request)["top_probs"]}
    return [found.get(token, 0.0) for token in tokens]


def _post(address: str, request: dict[str, Any]) -> dict[str, Any]:
    body, headers = json.dumps(request).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/completion", body, headers)) as response:
        (found,) = json.load(response)["completion_probabilities"]
    content: dict[str, Any] = found
    return content


if __name__ == "__main__":
    main()
