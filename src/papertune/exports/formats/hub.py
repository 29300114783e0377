"""Exports to the Hugging Face hub, or to any program that reads a folder of transformers or peft."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from papertune.exports.base_model import base_title, hub_id, trained_on
from papertune.exports.format import Exported, ExportFormat, check_plain_adapter
from papertune.exports.gguf_files.writing import Weights, check_float16
from papertune.run import Run

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


class HubExport(ExportFormat):
    """A folder of transformers, or an adapter of peft."""

    name: ClassVar[str] = "hub"
    title: ClassVar[str] = "transformers and the Hugging Face hub"
    weights: ClassVar[tuple[Weights, ...]] = ("bf16", "f16", "f32")

    def check(self, run: Run, *, adapter: bool) -> None:
        """Check an adapter that is to be written by itself."""
        if adapter:
            from papertune.methods import check_adapter

            config = check_adapter(run.directory.adapter)
            # peft itself reads DoRA, so only a quantized base is in the way.
            check_plain_adapter(run, {**config, "use_dora": False})

    def write(self, exported: Exported, folder: Path) -> None:
        """Write weights and tokenizer."""
        if exported.adapter:
            copy_adapter(exported.run, folder)
            if exported.weights != "f32":
                _convert_adapter(folder, exported.weights)
        else:
            converted(exported.model, exported.weights).save_pretrained(folder)
        exported.tokenizer.save_pretrained(folder)

    def serving(self, exported: Exported, labels: Sequence[int]) -> str:
        """Return how transformers reads the folder."""
        if exported.adapter:
            load = f"""The folder is an adapter of peft for {base_title(exported.run)}. It was trained on
{trained_on(exported.run)}.

    from peft import PeftModel
    model = PeftModel.from_pretrained(base_model, "{exported.name}").eval()"""
        else:
            load = f"""    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("{exported.name}").eval()"""
        return f"""{load}
    logits = model(input_ids=torch.tensor([[1, 2, 3]])).logits[0, -1]
{_shares(labels) if labels else ""}{_own_classes(exported)}
Written answers come from `model.generate(..., do_sample=False)`."""


def _shares(labels: Sequence[int]) -> str:
    return f"""    logits[{list(labels)}].softmax(-1)

The last line has the shares of these tokens, here those of labels.
"""


def converted(model: Any, weights: Weights) -> Any:
    """Return a model with its weights in a number format; it is changed.

    Raises:
        ModelError: If a number is too large for the format.
    """
    if weights == "f16":
        for name, tensor in model.named_parameters():
            check_float16(name, float(tensor.detach().abs().max()))
    return model.to(DTYPES[weights])


def _convert_adapter(folder: Path, weights: Weights) -> None:
    """Write an adapter's weights anew in a number format.

    Raises:
        ModelError: If a number is too large for the format.
    """
    from safetensors.torch import save_file

    from papertune.methods.method import read_adapter_weights

    saved = read_adapter_weights(folder)
    if weights == "f16":
        for name, tensor in saved.items():
            check_float16(name, float(tensor.abs().max()))
    for file in folder.glob("adapter_model.*"):
        file.unlink()
    numbers = {name: tensor.to(DTYPES[weights]).contiguous() for name, tensor in saved.items()}
    save_file(numbers, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def copy_adapter(run: Run, folder: Path) -> None:
    """Copy an adapter's weights and configuration, which gets the base model's id on the hub, if it has one.

    Nothing else is copied: an adopted folder can have a README.md with paths of this machine, or what a training kept.
    """
    folder.mkdir(exist_ok=True)
    for file in sorted(run.directory.adapter.glob("adapter_*")):
        if file.suffix in (".json", ".safetensors", ".bin"):
            (folder / file.name).write_bytes(file.read_bytes())
    config_file = folder / "adapter_config.json"
    config = json.loads(config_file.read_text("utf-8"))
    config["base_model_name_or_path"] = hub_id(run.manifest.base_name) or base_title(run)
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _own_classes(exported: Exported) -> str:
    if exported.model.config.model_type != "chatglm":
        return ""
    return "\ntransformers has no ChatGLM2: `import papertune.models.chatglm2` adds it to the Auto classes.\n"
