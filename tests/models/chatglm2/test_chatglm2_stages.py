"""ChatGLM2 goes through the stages of training."""

import pytest
import torch
import torch.nn.functional as F

import papertune
from papertune.models import AttentionMasks
from papertune.training.documents.blocks import collate_blocks, token_losses

PAPERS = [{"title": f"aspirin {n}", "abstract": "the effect on the heart " * (1 + n % 3)} for n in range(12)]


def test_packed_texts_have_their_own_losses(golden_model):
    texts = [[5, 6, 7, 8, 2], [9, 10, 2], [12, 13, 14, 15, 16, 17, 2]]
    batch = collate_blocks([[torch.tensor(ids).numpy() for ids in texts]])
    with torch.no_grad():
        losses, _ = token_losses(golden_model, AttentionMasks(golden_model), batch)
        expected = []
        for ids in texts:
            tokens = torch.tensor([ids])
            logits = golden_model(input_ids=tokens, use_cache=False).logits[0, :-1]
            expected += F.cross_entropy(logits.float(), tokens[0, 1:], reduction="none").tolist()
    assert losses.tolist() == pytest.approx(expected, abs=1e-4)


def test_it_reads_papers_and_then_learns_labels(chatglm2_folder, tmp_path):
    recipe = {
        "model": str(chatglm2_folder),
        "table": {"document": "{title}\n{abstract}"},
        "columns": {
            "label": {"kind": "label", "sources": ["model"], "question": "Is it medical?", "labels": ["1", "0"]}
        },
        "training": {"precision": "fp32", "micro_batch_size": 2, "warmup_steps": 1, "learning_rate": 0.01},
    }
    read = papertune.train(PAPERS, recipe, tmp_path / "pt", stage="pt", dev_fraction=0.5, overrides=["stage.block=64"])
    assert read.manifest.stage_results["nll_difference"] < 0
    start = {**recipe, "method": {"start_from": str(tmp_path / "pt")}}
    rows = [paper | {"label": str(n % 2)} for n, paper in enumerate(PAPERS)]
    run = papertune.train(rows, start, tmp_path / "sft")
    assert [parent.stage for parent in run.manifest.parents] == ["pt"]
    assert set(run.predict(PAPERS)["label"]) <= {"1", "0"}
