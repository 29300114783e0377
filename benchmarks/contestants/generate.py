"""Answers by `generate` of transformers: row by row as the tutorial does it, or in left-padded batches.

Jobs: the tutorial's way has an adapter, which peft keeps beside the weights, and samples at temperature 0.01; the other
has merged weights, a batch size above 1 and is greedy.
"""

from collections.abc import Sequence
from typing import Any

from contestants.protocol import Work, serve


class Generate(Work):
    """Generates some tokens behind each prompt."""

    packages = ("torch", "transformers", "peft")

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        from papertune.models import load_model

        torch.set_num_threads(job["threads"])
        self._torch = torch
        self._job = job
        model, self._tokenizer = load_model(job["model"], precision=job["precision"], device=job["device"])
        if job["adapter"] is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, job["adapter"])
        self._model = model.eval()
        # Some tokenizers have no padding token; the mask hides what stands there.
        pad = self._tokenizer.pad_token_id
        self._pad = self._tokenizer.eos_token_id if pad is None else pad
        configured = model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured, self._tokenizer.eos_token_id]
        self._ends = {token for token in ends if token is not None}
        self._generate(job["prompts"][:1])

    def prepare(self) -> None:
        """Sample alike in each round."""
        self._torch.manual_seed(0)

    def run(self) -> dict[str, Any]:
        """Answer all prompts."""
        prompts, size = self._job["prompts"], self._job["batch_size"]
        self._generated = [
            ids for start in range(0, len(prompts), size) for ids in self._generate(prompts[start : start + size])
        ]
        return {}

    def finish(self) -> dict[str, Any]:
        """Read the answers: a label is what the tokens begin with; None where they begin with none."""
        if self._job["label_ids"] is not None:
            return {"labels": [read_label(ids, self._job["label_ids"]) for ids in self._generated]}
        answers = [up_to_end(ids, self._ends) for ids in self._generated]
        return {
            "generated": sum(map(len, answers)),
            "texts": self._tokenizer.batch_decode(answers, skip_special_tokens=True),
        }

    def _generate(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        torch, device = self._torch, self._job["device"]
        width = max(map(len, prompts))
        ids = torch.tensor([[self._pad] * (width - len(row)) + list(row) for row in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=device)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._job["temperature"] is not None:
            sampling = {"do_sample": True, "temperature": self._job["temperature"], "top_p": 0.8}
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self._job["max_new_tokens"],
                pad_token_id=self._pad,
                eos_token_id=sorted(self._ends),
                **sampling,
            )
        answers: list[list[int]] = output[:, width:].tolist()
        return answers


def up_to_end(ids: Sequence[int], ends: set[int]) -> list[int]:
    """Return the tokens of an answer, the end token included; behind it is padding."""
    for index, token in enumerate(ids):
        if token in ends:
            return list(ids[: index + 1])
    return list(ids)


def read_label(ids: Sequence[int], label_ids: dict[str, list[int]]) -> str | None:
    """Return the longest label that the tokens begin with."""
    for label, tokens in sorted(label_ids.items(), key=lambda item: -len(item[1])):
        if list(ids[: len(tokens)]) == tokens:
            return label
    return None


if __name__ == "__main__":
    serve(Generate)
