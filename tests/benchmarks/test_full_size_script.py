import json
import sys
from pathlib import Path

import chatglm2
import pytest
import random_chatglm2
import torch

from papertune.models import find_base, load_model

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "chatglm2"


@pytest.mark.slow
def test_the_full_size_script_runs_at_tiny_size(monkeypatch, capsys):
    counts = ["--steps", "1", "--rows", "6", "--tutorial-rows", "2"]
    has_tokenizer = (PUBLISHED / "tokenizer.model").is_file()
    tokenizer = ["--tokenizer", str(PUBLISHED)] if has_tokenizer else []
    monkeypatch.setattr(sys, "argv", ["chatglm2.py", "--size", "tiny", *counts, *tokenizer])
    chatglm2.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    for part in ("training", "papertune", "tutorial", *(["from text"] if has_tokenizer else [])):
        assert {"rows_per_s", "tokens_per_s", "peak_gb", "share_of_ceiling"} <= result[part].keys()


def test_a_random_model_has_the_published_tokenizer(monkeypatch, capsys, tmp_path):
    if not (PUBLISHED / "tokenizer.model").is_file():
        pytest.skip("the published tokenizer.model is not available")
    folder = tmp_path / "random"
    monkeypatch.setattr(sys, "argv", ["random_chatglm2.py", str(PUBLISHED), str(folder), "--size", "tiny"])
    random_chatglm2.main()
    assert capsys.readouterr().out == f"{folder}: 34,408,448 random weights\n"
    model, tokenizer = load_model(find_base(str(folder)), precision="bf16", device="cpu")
    assert model.dtype == torch.bfloat16
    assert (model.config.num_layers, model.config.padded_vocab_size) == (2, 65024)
    assert tokenizer("heart")["input_ids"][:2] == [64790, 64792]
    with pytest.raises(SystemExit):
        random_chatglm2.main()
    assert f"error: {folder} is there already" in capsys.readouterr().err


def test_a_random_model_needs_the_published_files(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["random_chatglm2.py", str(tmp_path), str(tmp_path / "random")])
    with pytest.raises(SystemExit):
        random_chatglm2.main()
    assert f"error: {tmp_path} has no config.json" in capsys.readouterr().err
