"""A folder of ChatGLM2-6B with random weights, for the speed benchmarks where the published ones cannot be had.

    python benchmarks/random_chatglm2.py PUBLISHED FOLDER                # 12.5 GB, bfloat16
    python benchmarks/predict_speed.py --set model=FOLDER
    python benchmarks/train_speed.py --set model=FOLDER
    python benchmarks/generate_speed.py --set model=FOLDER

PUBLISHED is a folder with the model's small files: config.json, tokenizer_config.json and tokenizer.model. What random
weights answer is worth nothing; how long they take is what the published ones take, but for lists of keywords, whose
length is part of what a model has learned.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch

from papertune.models.chatglm2 import ChatGLMConfig

from chatglm2 import TINY, random_model  # isort: skip - beside this file

TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.model")


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("published", type=Path, help="folder with config.json and the tokenizer's files")
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    arguments = parser.parse_args()
    missing = [name for name in ("config.json", *TOKENIZER_FILES) if not (arguments.published / name).is_file()]
    if missing:
        parser.error(f"{arguments.published} has no {missing[0]}")
    if arguments.folder.exists():
        parser.error(f"{arguments.folder} is there already")
    settings = json.loads((arguments.published / "config.json").read_text("utf-8"))
    config = ChatGLMConfig(**settings | (TINY if arguments.size == "tiny" else {}))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = random_model(config, device, torch.bfloat16)
    model.save_pretrained(arguments.folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(arguments.published / name, arguments.folder / name)
    print(f"{arguments.folder}: {sum(parameter.numel() for parameter in model.parameters()):,} random weights")


if __name__ == "__main__":
    main()
