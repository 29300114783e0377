"""zentorch, AMD's extension of PyTorch for its processors: transformers' model, compiled by its backend, row by row.

Made for zentorch 2.13.0.2, whose releases each fit one version of PyTorch. It needs a C++ compiler:

    pip install torch==2.13.0 transformers zentorch==2.13.0.2

The output layer is computed at the last token only, as for the other systems that score labels.
"""

from typing import Any

from contestants.protocol import NotMeasured, Work, serve


class Zentorch(Work):
    """Scores the labels."""

    packages = ("zentorch", "torch", "transformers")

    def __init__(self, job: dict[str, Any]) -> None:
        if any(len(ids) > 1 for ids in job["label_ids"].values()):
            raise NotMeasured("labels of several tokens, which this script does not score")
        if job["device"] != "cpu":
            raise NotMeasured("it is for CPUs")
        import torch
        import zentorch  # noqa: F401 - registers its backend
        from torch._inductor import config
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(job["threads"])
        config.freezing = True  # weights are packed when it compiles
        self._torch = torch
        self._labels = {ids[0]: label for label, ids in job["label_ids"].items()}
        model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"])).eval()
        self._head = model.lm_head
        self._body = torch.compile(model.model, backend="zentorch", dynamic=True)
        self._prompts = job["prompts"]
        # The shortest and the longest prompt, so that no round compiles.
        for prompt in (min(self._prompts, key=len), max(self._prompts, key=len)):
            self._label(prompt)

    def run(self) -> dict[str, Any]:
        """Answer all prompts."""
        return {"labels": [self._label(prompt) for prompt in self._prompts]}

    def _label(self, prompt: list[int]) -> str:
        with self._torch.no_grad():
            states = self._body(self._torch.tensor([prompt]), use_cache=False).last_hidden_state
            logits = self._head(states[0, -1])
        return self._labels[max(self._labels, key=lambda token: float(logits[token]))]


if __name__ == "__main__":
    serve(Zentorch)
