"""Supervised fine-tuning with transformers' Trainer as it comes: no trick, and nothing made slow.

Rows in the given order, padded to the longest of their batch, logits and loss over the whole vocabulary at every
position; LoRA by peft with its defaults; bfloat16 by autocast, or float32.
"""

from typing import Any

from contestants.protocol import Work, serve, training_settings

IGNORED = -100


class PlainTrainer(Work):
    """Trains a fresh adapter in each round."""

    packages = ("torch", "transformers", "peft", "accelerate")

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(job["threads"])
        self._job = job

    def prepare(self) -> None:
        """Load the model anew, since a round changes it."""
        from peft import LoraConfig, TaskType, get_peft_model
        from transformers import Trainer, TrainingArguments, set_seed

        from papertune.models import load_model

        job = self._job
        model, tokenizer = load_model(job["model"], precision="fp32", device=job["device"])
        self._pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        set_seed(job["seed"])
        lora = LoraConfig(
            r=job["rank"], lora_alpha=job["alpha"], target_modules="all-linear", task_type=TaskType.CAUSAL_LM
        )
        self._model = get_peft_model(model, lora)
        rows = [example(row, every_position=job["every_position"]) for row in job["sequences"]]
        arguments = TrainingArguments(**training_settings(job), remove_unused_columns=False)
        self._trainer = Trainer(self._model, arguments, train_dataset=rows, data_collator=self._collate)

    def run(self) -> dict[str, Any]:
        """Train one epoch."""
        output = self._trainer.train()
        return {"steps": self._trainer.state.global_step, "loss": output.training_loss}

    def finish(self) -> dict[str, Any]:
        """Save the adapter, and let go of everything, so that the next round begins as this one did."""
        self._model.save_pretrained(self._job["folder"], save_embedding_layers=False)
        del self._model, self._trainer
        return {"adapter": self._job["folder"]}

    def _collate(self, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        import torch

        width = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, fill: int) -> Any:
            return torch.tensor([row[name] + [fill] * (width - len(row[name])) for row in rows])

        mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows])
        return {
            "input_ids": padded("input_ids", self._pad),
            "attention_mask": mask,
            "labels": padded("labels", IGNORED),
        }


def example(row: dict[str, list[int]], *, every_position: bool) -> dict[str, list[int]]:
    """Return tokens and targets of a row; without `every_position` the prompt's are ignored."""
    ids = row["prompt"] + row["answer"]
    return {"input_ids": ids, "labels": list(ids) if every_position else [IGNORED] * len(row["prompt"]) + row["answer"]}


if __name__ == "__main__":
    serve(PlainTrainer)
