"""LLaMA-Factory; made for llamafactory 0.9.5.

In an environment of its own, beside a CPU build of PyTorch:

    pip install torch==2.13.0 llamafactory==0.9.5
    pip uninstall torchvision torchaudio

It loads, encodes and trains in one call, so the time counted is the one that its trainer reports (train_runtime). It
takes text, not token ids: the prompts with the chat template's tokens written out, in its template "empty". The loss is
on answers.
"""

import importlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from contestants.protocol import Work, serve


class LlamaFactory(Work):
    """Trains a fresh adapter in each round."""

    packages = ("llamafactory", "torch", "transformers", "peft", "trl")

    def __init__(self, job: dict[str, Any]) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        folder = Path(self._temporary.name)
        os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
        os.environ.setdefault("DISABLE_VERSION_CHECK", "1")
        import torch
        import transformers

        _stand_in_for("torchaudio")
        importlib.import_module("llamafactory.train.tuner")  # most of what takes time to import

        torch.set_num_threads(job["threads"])
        self._job = job
        rows = [{"instruction": row["prompt"], "input": "", "output": row["answer"]} for row in job["texts"]]
        (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), encoding="utf-8")
        # It loads weights in the dtype of their files, whatever its settings say, so they are written in the contest's.
        model = folder / "model"
        transformers.AutoModelForCausalLM.from_pretrained(
            job["model"], dtype=getattr(torch, job["dtype"])
        ).save_pretrained(model)
        transformers.AutoTokenizer.from_pretrained(job["tokenizer"]).save_pretrained(model)
        self._settings = {
            "stage": "sft",
            "do_train": True,
            "model_name_or_path": str(model),
            "dataset": "rows",
            "dataset_dir": str(folder),
            "template": "empty",
            "cutoff_len": 8192,
            "finetuning_type": "lora",
            "lora_rank": job["rank"],
            "lora_alpha": job["alpha"],
            "lora_target": "all",
            "output_dir": job["folder"],
            "num_train_epochs": 1,
            "per_device_train_batch_size": job["batch_size"],
            "gradient_accumulation_steps": 1,
            "learning_rate": job["learning_rate"],
            "lr_scheduler_type": job["schedule"],
            "warmup_steps": job["warmup_steps"],
            "seed": job["seed"],
            "bf16": job["dtype"] == "bfloat16",
            "fp16": job["dtype"] == "float16",
            "disable_gradient_checkpointing": True,
            "disable_shuffling": True,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": job["device"] == "cpu",
        }

    def prepare(self) -> None:
        """Remove what the last round has saved, which it would refuse to write over."""
        shutil.rmtree(self._job["folder"], ignore_errors=True)

    def run(self) -> dict[str, Any]:
        """Do all that its command does; what is counted is what its trainer counts."""
        from llamafactory.train.tuner import run_exp

        run_exp(dict(self._settings))
        facts = json.loads((Path(self._job["folder"]) / "train_results.json").read_text("utf-8"))
        return {"seconds": facts["train_runtime"], "loss": facts["train_loss"]}

    def finish(self) -> dict[str, Any]:
        """Say where it has saved the adapter."""
        return {"adapter": self._job["folder"]}


def _stand_in_for(name: str) -> None:
    """Let an empty module stand in for one that is not there: sound is imported, but no row has any."""
    if importlib.util.find_spec(name) is None:
        module = types.ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module


if __name__ == "__main__":
    serve(LlamaFactory)
