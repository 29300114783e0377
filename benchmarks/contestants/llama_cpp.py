"""llama.cpp: one prompt after the other, logits at its last token; a beginning that it shares with the last is cached.

Made for llama-cpp-python 0.3.36, built from its source distribution with the instructions of this machine; the prebuilt
wheels have fewer. It needs a C++ compiler and CMake:

    CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36

Q8_0 is the file of `papertune export --to gguf --weights q8_0`; llama.cpp makes that of Q4_0 out of the export in f16.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contestants.protocol import NotMeasured, Work, serve

BATCH = 2048


class LlamaCpp(Work):
    """Scores the labels."""

    packages = ("llama-cpp-python",)

    def __init__(self, job: dict[str, Any]) -> None:
        if any(len(ids) > 1 for ids in job["label_ids"].values()):
            raise NotMeasured("labels of several tokens, which this script does not score")
        if job["device"] != "cpu":
            raise NotMeasured("this script measures the CPU")
        llama_cpp = package()
        self._labels = {ids[0]: label for label, ids in job["label_ids"].items()}
        self._prompts = job["prompts"]
        with tempfile.TemporaryDirectory() as folder:
            model = quantized(Path(job["gguf"]), Path(folder)) if job["quantization"] == "Q4_0" else job["gguf"]
            self._model = llama_cpp.Llama(
                str(model),
                n_ctx=max(map(len, self._prompts)) + 1,
                n_batch=BATCH,
                n_ubatch=512,
                n_threads=job["threads"],
                n_threads_batch=job["threads"],
                verbose=False,
                use_mmap=False,  # weights are repacked when they are read, and the file goes
            )
        self._read: list[int] = []
        self._label(self._prompts[0])

    def prepare(self) -> None:
        """Forget the prompt before."""
        self._model.reset()
        self._read = []

    def run(self) -> dict[str, Any]:
        """Answer all prompts."""
        return {"labels": [self._label(prompt) for prompt in self._prompts]}

    def _label(self, prompt: list[int]) -> str:
        import numpy as np

        kept = min(common_start(self._read, prompt), len(prompt) - 1)
        self._model.n_tokens = kept
        self._model.eval(prompt[kept:])
        self._read = prompt
        logits = np.ctypeslib.as_array(self._model._ctx.get_logits(), shape=(self._model.n_vocab(),))
        return self._labels[max(self._labels, key=lambda token: logits[token])]


def package() -> Any:
    """Import the package; benchmarks/llama_cpp.py, which has its name, is on the path of systems."""
    here = Path(__file__).resolve().parents[1]
    sys.path = [place for place in sys.path if Path(place or ".").resolve() != here]
    import llama_cpp

    return llama_cpp


def common_start(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens that two prompts have in common at their beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def quantized(source: Path, folder: Path) -> Path:
    """Write a model's matrices in Q4_0, all of them, and return the file."""
    llama_cpp = package()
    target = folder / "q4_0.gguf"
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), settings) != 0:
        raise RuntimeError(f"llama.cpp could not quantize {source}")
    return target


if __name__ == "__main__":
    serve(LlamaCpp)
