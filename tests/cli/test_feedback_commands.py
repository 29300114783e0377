"""From a table to a reward model and the best of several answers, on the command line."""

import json

import pytest

pytestmark = pytest.mark.slow

WORDS = ["heart", "graph", "aspirin", "network", "trial", "method", "patients", "learning"]


@pytest.fixture(scope="module")
def here(tiny_folder, tmp_path_factory):
    """Return a folder with a table and a recipe."""
    folder = tmp_path_factory.mktemp("feedback-cli")
    rows = [f"{n},{' '.join(WORDS[n:] + WORDS[:n])},{WORDS[n]}; {WORDS[n - 1]}; {WORDS[n - 2]}" for n in range(8)]
    (folder / "papers.csv").write_text("\n".join(["uuid,abstract,Keywords", *rows, ""]))
    (folder / "recipe.toml").write_text(
        f"""model = {json.dumps(str(tiny_folder))}
[table]
id = "uuid"
document = "{{abstract}}"
[columns.Keywords]
kind = "keywords"
question = "List the keywords."
max_new_tokens = 8
[training]
micro_batch_size = 4
warmup_steps = 0
precision = "fp32"
"""
    )
    return folder


def test_a_reward_model_is_trained_judged_and_chooses(papertune, here, monkeypatch):
    monkeypatch.chdir(here)

    def command(name, *arguments):
        outcome = papertune(name, *arguments)
        assert outcome.code == 0, outcome
        return outcome

    command("train", "papers.csv", "-r", "recipe.toml", "-o", "sft")
    command("prefer", "papers.csv", "-r", "recipe.toml", "-o", "pairs.jsonl", "--synthesise")
    start = ("--set", "method.start_from=sft")
    trained = command("train", "pairs.jsonl", "-r", "recipe.toml", "-o", "rm", "--stage", "rm", *start)
    assert "pairs right" in trained.err
    (here / "others.jsonl").write_text((here / "pairs.jsonl").read_text().replace("heart graph", "graph heart"))
    judged = command("evaluate", "rm", "others.jsonl", "-o", "judged")
    head, *rows = judged.out.splitlines()
    assert head.split()[:2] == ["tier", "pairs"]
    assert rows[0].split()[:2] == ["all", str(len((here / "pairs.jsonl").read_text().splitlines()))]
    assert rows[-1].startswith(("The reward model is no better than", "The reward model is better than"))
    command("predict", "sft", "papers.csv", "-o", "best.csv", "--best-of", "2", "--reward", "rm")
    report = command("evaluate", "sft", "papers.csv", "-o", "report", "--best-of", "2", "--reward", "rm")
    assert ", greedy" in report.out
    assert papertune("predict", "sft", "papers.csv", "-o", "x.csv", "--best-of", "2").error == (
        "--best-of 2 needs a reward model to choose the best answer. Add --reward RUN.\n"
    )
    assert papertune("evaluate", "rm", "others.jsonl", "-o", "x", "--truth", "papers.csv", "--best-of", "2").error == (
        "rm is a reward model, which is scored on pairs of answers alone. Leave out --truth and --best-of.\n"
    )
    assert papertune("predict", "rm", "papers.csv", "-o", "x.csv").error.startswith(
        'rm is a reward model (stage "rm"); it fills in no columns, so it cannot predict.'
    )
    wrong = papertune("train", "papers.csv", "-r", "recipe.toml", "-o", "x", "--stage", "dpo", *start).error
    assert wrong.startswith('papers.csv has no column "instruction". Pairs of answers have instruction, input, chosen')
    assert not (here / "x").exists()
