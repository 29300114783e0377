"""Runs to export: adapters of random numbers on tiny models, so that nothing has to be trained."""

import json
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

RECIPE: dict[str, Any] = {
    "table": {"document": "title: {title}\nabstract: {abstract}"},
    "columns": {"label": {"kind": "label", "question": "Is this a medical paper?", "labels": ["1", "0"]}},
}


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that makes a run of a model folder and a LoRA adapter of random numbers."""

    def make(model: Path, *, changes: dict[str, Any] | None = None, **settings: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model

        import papertune
        from papertune.methods.layers import linear_layer_names
        from papertune.models import load_model

        place = tmp_path_factory.mktemp("run")
        base, _ = load_model(model, precision="fp32", device="cpu")
        torch.manual_seed(1)
        options = {"r": 4, "lora_alpha": 8, "init_lora_weights": False, "target_modules": linear_layer_names(base)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks by names that transformers is renaming
            adapted = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **{**options, **settings}))
        adapted.save_pretrained(place / "adapter", save_embedding_layers=False)
        papertune.adopt(place / "adapter", {"model": str(model), **RECIPE, **(changes or {})}, place / "run")
        return place / "run"

    return make


@pytest.fixture(scope="session")
def run(make_run: Callable[..., Path], tiny_folder: Path) -> Path:
    """Return a run of the tiny Llama, for reading only."""
    return make_run(tiny_folder)


@pytest.fixture
def llama_cpp() -> Callable[..., list[Any]]:
    """Return what asks llama.cpp; skip where its wheel is not there."""
    if find_spec("xllamacpp") is None:
        pytest.skip("llama.cpp is not installed: pip install xllamacpp")
    from llama_cpp import ask_llama_cpp

    return ask_llama_cpp


@pytest.fixture
def differences(llama_cpp: Callable[..., list[Any]]) -> Callable[..., list[float]]:
    """Return how far llama.cpp's probabilities of labels are from those of check.json, by prompt."""

    def measure(check: Path, model: Path, **options: Any) -> list[float]:
        prompts = json.loads(check.read_text("utf-8"))["prompts"]
        asked = []
        for each in prompts:
            (root,) = each["next"]
            tokens = list(map(int, root["log_probabilities"]))
            asked.append({"prompt": each["prompt_ids"], "tokens": tokens})
        answers = llama_cpp(model, asked, **options)
        found = []
        for each, question, shares in zip(prompts, asked, answers, strict=True):
            logs = each["next"][0]["log_probabilities"]
            wanted = dict(zip(sorted(logs, key=logs.get), sorted(each["probabilities"].values()), strict=True))
            pairs = zip(question["tokens"], shares, strict=True)
            found.append(max(abs(share - wanted[str(token)]) for token, share in pairs))
        return found

    return measure


@pytest.fixture(scope="session")
def make_prefix_run(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """Return a run whose method is P-Tuning v2; its prefix is never read."""
    import shutil

    import papertune

    path = tmp_path_factory.mktemp("run") / "prefix"
    rows = [{"title": f"a {n}", "abstract": f"b {n}", "label": str(n % 2)} for n in range(4)]
    recipe = {"model": str(tiny_folder), **RECIPE, "method": {"kind": "ptuning_v2", "prefix_length": 2}}
    recipe["columns"] = {"label": {**RECIPE["columns"]["label"], "sources": ["model"]}}
    recipe["training"] = {"max_steps": 1, "precision": "fp32"}
    papertune.train(rows, recipe, path)
    shutil.rmtree(path / "training")
    return path
