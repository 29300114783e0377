"""The ceiling: matrix products of the model's own shapes and nothing else, in each dtype."""

import time
from collections.abc import Callable
from typing import Any

from contestants.protocol import Work, serve, synchronize

REPEATS = 5


class Products(Work):
    """Multiplies activations with weights of each shape as often as the model does, with random numbers."""

    packages = ("torch",)

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(job["threads"])
        self._torch = torch
        self._job = job
        self._reasons: dict[str, str] = {}
        self.run()  # the warm-up

    def run(self) -> dict[str, Any]:
        """Measure each dtype at each number of tokens; the best is the ceiling, in operations a second."""
        rates: dict[str, float] = {}
        for name in self._job["dtypes"]:
            try:
                rates[name] = max(self._rate(name, tokens) for tokens in self._job["tokens"])
            except (RuntimeError, AttributeError, NotImplementedError) as error:
                self._reasons[name] = str(error).splitlines()[0][:200]
        return {"rates": rates, "reasons": self._reasons}

    def _rate(self, dtype: str, tokens: int) -> float:
        operations, seconds = 0.0, 0.0
        for inner, outer, count in self._job["shapes"]:
            multiply = self._product(dtype, tokens, inner, outer)
            multiply()
            times = []
            for _ in range(REPEATS):
                synchronize()
                begun = time.perf_counter()
                multiply()
                synchronize()
                times.append(time.perf_counter() - begun)
            operations += count * 2.0 * tokens * inner * outer
            seconds += count * min(times)
        return operations / seconds

    def _product(self, dtype: str, tokens: int, inner: int, outer: int) -> Callable[[], Any]:
        torch, device = self._torch, self._job["device"]
        if dtype != "int8":
            left = torch.randn(tokens, inner, device=device).to(getattr(torch, dtype))
            right = torch.randn(outer, inner, device=device).to(getattr(torch, dtype)).t()
            return lambda: torch.mm(left, right)
        weights = torch.randint(-127, 128, (outer, inner), dtype=torch.int8, device=device)
        if device != "cpu":
            left = torch.randint(-127, 128, (tokens, inner), dtype=torch.int8, device=device)
            return lambda: torch._int_mm(left, weights.t())
        # oneDNN's product of 8-bit activations and 8-bit weights, one scale for each output, float32 out.
        left = torch.randint(0, 255, (tokens, inner), dtype=torch.uint8)
        packed = torch.ops.onednn.qlinear_prepack(weights, [tokens, inner])
        scales, zeros = torch.ones(outer), torch.zeros(outer, dtype=torch.int64)
        return lambda: torch.ops.onednn.qlinear_pointwise(
            left, 1.0, 128, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )


if __name__ == "__main__":
    serve(Products)
