"""ChatGLM2 through the stages that learn from feedback."""

import json

import pytest

import papertune
from papertune.pipelines.stages.pair_accuracy import evaluate_pairs

# A tiny model may write nothing at all, or nothing that has a reward.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.* empty .the model named none"),
    pytest.mark.filterwarnings("ignore:the training has changed no parameter"),
]

QUESTION = "List the keywords."
WORDS = ["heart", "graph", "aspirin", "network", "trial", "method", "patients", "learning"]


def test_a_chatglm2_learns_from_pairs_and_rewards_and_chooses_the_best_of_several(chatglm2_folder, tmp_path):
    papers = [
        {"uuid": str(n), "abstract": " ".join(WORDS[n:] + WORDS[:n]), "Keywords": f"{WORDS[n]}; {WORDS[n - 1]}"}
        for n in range(6)
    ]
    recipe = {
        "model": str(chatglm2_folder),
        "table": {"id": "uuid", "document": "{abstract}"},
        "columns": {"Keywords": {"kind": "keywords", "question": QUESTION, "max_new_tokens": 8}},
        "method": {"rank": 2},
        "training": {"precision": "fp32", "micro_batch_size": 3, "warmup_steps": 0, "learning_rate": 1e-2},
    }
    pairs = [
        {"instruction": QUESTION, "input": p["abstract"], "chosen": p["Keywords"], "rejected": other["Keywords"]}
        for p, other in zip(papers, papers[2:] + papers[:2], strict=True)
    ]
    sft = papertune.train(papers, recipe, tmp_path / "sft")
    recipe["method"]["start_from"] = str(tmp_path / "sft")
    reward = papertune.train(pairs, recipe, tmp_path / "rm", stage="rm")
    assert evaluate_pairs(reward, [{**pairs[0], "input": "a network"}], tmp_path / "report").shares["all"]
    for stage in ("dpo", "kto"):
        papertune.train(pairs, recipe, tmp_path / stage, stage=stage)
    for stage, overrides in (("rloo", [f"stage.reward={tmp_path / 'rm'}"]), ("grpo", [])):
        run = papertune.train(papers, recipe, tmp_path / stage, stage=stage, dev=papers[:2], overrides=overrides)
        assert len(run.predict(papers[:1])) == 1
    lines = (tmp_path / "rloo" / "metrics.jsonl").read_text().splitlines()
    # Sampled and scored by the same model: the divergence from the start is 0 before the first step.
    assert json.loads(lines[0])["kl"] == pytest.approx(0, abs=1e-6)
    assert len(sft.with_best_of(3, tmp_path / "rm").predict(papers)) == 6
