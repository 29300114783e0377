"""TRL's SFTTrainer on the same token ids; made for trl 1.16. Its own environment: pip install trl peft torch.

Gradient checkpointing, which it switches on by itself, is off: it would save memory and cost a third more time.
"""

from typing import Any

from contestants.protocol import Work, serve, training_settings


class Trl(Work):
    """Trains a fresh adapter in each round."""

    packages = ("trl", "torch", "transformers", "peft")

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(job["threads"])
        self._job = job

    def prepare(self) -> None:
        """Load the model anew, since a round changes it."""
        import torch
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
        from trl import SFTConfig, SFTTrainer

        job = self._job
        set_seed(job["seed"])
        tokenizer = AutoTokenizer.from_pretrained(job["tokenizer"])
        model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32).to(job["device"])
        rows = [
            {
                "input_ids": row["prompt"] + row["answer"],
                "labels": [-100] * len(row["prompt"]) + row["answer"],
            }
            for row in job["sequences"]
        ]
        arguments = SFTConfig(
            **training_settings(job),
            gradient_checkpointing=False,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        self._trainer = SFTTrainer(
            model,
            arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=job["rank"], lora_alpha=job["alpha"], target_modules="all-linear"),
        )

    def run(self) -> dict[str, Any]:
        """Train one epoch."""
        output = self._trainer.train()
        return {"steps": self._trainer.state.global_step, "loss": output.training_loss}

    def finish(self) -> dict[str, Any]:
        """Save the adapter, and let go of everything."""
        self._trainer.model.save_pretrained(self._job["folder"], save_embedding_layers=False)
        del self._trainer
        return {"adapter": self._job["folder"]}


if __name__ == "__main__":
    serve(Trl)
