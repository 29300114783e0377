"""Runs of the stages that learn from feedback, on the tiny model, from the files to what the runs can do."""

import json
import os
import signal
import sys
from types import SimpleNamespace

import polars as pl
import pytest

import papertune
from papertune.errors import MissingExtraError, PapertuneWarning, RecipeError, RunError, TableError, TrainingStopped
from papertune.pipelines.stages.feedback import check_feedback_job
from papertune.pipelines.stages.pair_accuracy import evaluate_pairs
from papertune.pipelines.training.job import find_parents
from papertune.prompts import PromptEncoder
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.run_directory import TrainingPlan
from papertune.tables import read_table

# A tiny model may write nothing at all, or nothing that has a reward.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.* empty .the model named none"),
    pytest.mark.filterwarnings("ignore:the training has changed no parameter"),
    pytest.mark.filterwarnings("ignore:the dev score of the start"),
]

QUESTION = "List the keywords."


@pytest.fixture(scope="module")
def keywords_recipe(both_columns):
    """Return a recipe with one column of keywords."""
    columns = {"Keywords": both_columns["columns"]["Keywords"]}
    training = {**both_columns["training"], "logging_steps": 1}
    return {**both_columns, "columns": columns, "training": training, "encoding": {"max_prompt_tokens": 96}}


@pytest.fixture(scope="module")
def sft(keywords_recipe, papers, tmp_path_factory):
    """Return the folder of a run that fills in the keywords."""
    folder = tmp_path_factory.mktemp("feedback") / "sft"
    papertune.train(papers(8), keywords_recipe, folder)
    return folder


@pytest.fixture(scope="module")
def from_sft(keywords_recipe, sft):
    """Return a function that makes the recipe of a stage that starts from that run."""

    def make(stage, **settings):
        method = {**keywords_recipe["method"], "start_from": str(sft)}
        return {**keywords_recipe, "method": method, "stage": {"kind": stage, **settings}}

    return make


@pytest.fixture(scope="module")
def pairs(papers):
    """Return pairs: the keywords of a paper, and those of another one."""
    rows = papers(8, 20)
    return [
        {
            "instruction": QUESTION,
            "input": f"title: {row['title']}\nabstract: {row['abstract']}",
            "chosen": row["Keywords"],
            "rejected": f"{other['Keywords']}; network",
            "tier": "other-paper" if number % 2 else "one-swapped",
            "source": "synthetic",
        }
        for number, (row, other) in enumerate(zip(rows, rows[3:] + rows[:3], strict=True))
    ]


@pytest.fixture(scope="module")
def rm(from_sft, pairs, tmp_path_factory):
    """Return the folder of a reward run."""
    folder = tmp_path_factory.mktemp("feedback") / "rm"
    papertune.train(pairs, from_sft("rm"), folder, dev_fraction=0.25)
    return folder


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_a_run_that_learned_preferences_fills_in_its_column_and_can_be_a_start(
    from_sft, pairs, papers, tmp_path, stage
):
    run = papertune.train(pairs, from_sft(stage), tmp_path / stage, dev_fraction=0.25)
    assert (run.manifest.stage, [parent.stage for parent in run.manifest.parents]) == (stage, ["sft"])
    assert run.manifest.examples == (6 if stage == "dpo" else 12)
    assert {"pairs_right", "margin", "pairs_log_loss"} <= run.manifest.stage_results.keys()
    assert papertune.load_run(tmp_path / stage).predict(papers(3)).columns == ["uuid", "Keywords", "Keywords_given"]
    recipe = from_sft("rloo")
    recipe["method"]["start_from"] = str(tmp_path / stage)
    again = papertune.train(papers(4), recipe, tmp_path / "again", dev=papers(3, 40))
    assert [parent.stage for parent in again.manifest.parents] == ["sft", stage]


def test_trl_trains_on_the_token_ids_of_the_prompt_encoder(from_sft, papers, monkeypatch, tmp_path):
    from papertune.training.feedback.preference import PairTrainer
    from papertune.training.feedback.reward import RewardModelTrainer
    from papertune.training.feedback.rollouts import LeaveOneOutTrainer

    # Special tokens as text, one document that is truncated, and line breaks where a template could add some.
    rows = [
        {**row, "abstract": text}
        for row, text in zip(
            papers(3), ("a <|im_end|>\n<|im_start|>b", "\n graph \n\n", "heart network <|user|> " * 60), strict=True
        )
    ]
    recipe = load_recipe(from_sft("sft"))
    table = read_table(rows)
    reader = RowReader(table, recipe)
    encoder = PromptEncoder(papertune.load_run(recipe.method.start_run).load_tokenizer(), recipe.encoding)
    prompts = [encoder.encode(reader.prompt(row, "Keywords")).ids for row in range(3)]
    answers = [[*encoder.encode_text(text), encoder.end_id] for text in ("heart; graph", "learning")]
    entries = [
        {"instruction": QUESTION, "input": reader.input(row), "chosen": "heart; graph", "rejected": "learning"}
        for row in range(3)
    ]
    seen = []

    def watch(trainer):
        inner = trainer.compute_loss

        def compute_loss(self, model, inputs, *arguments, **options):
            mask = inputs["attention_mask"] if "attention_mask" in inputs else inputs["prompt_mask"]
            ids = inputs["input_ids"] if "input_ids" in inputs else inputs["prompt_ids"]
            seen.extend(row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True))
            return inner(self, model, inputs, *arguments, **options)

        monkeypatch.setattr(trainer, "compute_loss", compute_loss)

    whole = sorted([*prompt, *answer] for prompt in prompts for answer in answers)
    for stage, trainer, table_of_stage, expected in (
        ("rm", RewardModelTrainer, entries, whole),
        ("dpo", PairTrainer, entries, whole),
        ("rloo", LeaveOneOutTrainer, rows, sorted(prompts)),
    ):
        seen.clear()
        watch(trainer)
        settings = {"training": {**from_sft(stage)["training"], "micro_batch_size": 3}}
        with pytest.warns(PapertuneWarning, match="1 prompt has more than 96 tokens; the ends of their documents"):
            papertune.train(
                table_of_stage, from_sft(stage) | settings, tmp_path / stage, dev=papers(2) if stage == "rloo" else None
            )
        found = seen if stage != "rloo" else [ids for ids in seen if ids in seen[: seen.index(ids) + 1]]
        assert sorted({tuple(ids) for ids in found}) == [tuple(ids) for ids in expected]


def test_a_reward_run_scores_pairs_by_tier_beside_simple_ways_to_choose(rm, pairs, tmp_path, listener):
    run = papertune.load_run(rm)
    with pytest.raises(RunError, match=r'is a reward model \(stage "rm"\); it fills in no columns'):
        run.predict(pairs)
    unseen = [{**pair, "input": f"{pair['input']} method"} for pair in pairs]
    report = evaluate_pairs(run, unseen, tmp_path / "report", listener=listener)
    assert list(report.shares) == ["all", "one-swapped", "other-paper"]
    assert list(report.shares["all"]) == ["reward model", "longer", "in the document", "log-probability", "per token"]
    assert [shares["longer"].pairs for shares in report.shares.values()] == [8, 4, 4]
    # The rejected answers are longer, but for those whose paper has longer keywords.
    longer = [len(pair["chosen"]) - len(pair["rejected"]) for pair in pairs]
    right = sum((each > 0) + 0.5 * (each == 0) for each in longer)
    assert report.shares["all"]["longer"].share == right / 8
    assert json.loads((tmp_path / "report" / "report.json").read_text())["sources"] == {"synthetic": 8}
    assert "pairs: 8 synthetic." in report.in_words()


def test_pairs_that_were_learned_are_pointed_out(rm, pairs, tmp_path):
    with pytest.warns(PapertuneWarning, match="is what .*rm has learned, so its shares say nothing"):
        evaluate_pairs(papertune.load_run(rm), pairs, tmp_path / "report")


def test_the_best_of_several_answers_is_the_one_with_the_highest_reward(sft, rm, papers, monkeypatch):
    from papertune.decoding.sampling import row_uniforms
    from papertune.inference.rewards.reward_model import RewardModel
    from papertune.run import Run

    # In bfloat16 the numbers of a row depend a little on its batch, and the twin below has none.
    load = Run.load
    monkeypatch.setattr(Run, "load", lambda run, precision="fp32": load(run, precision))
    rows = papers(5, 60)
    plain = papertune.load_run(sft)
    best = plain.with_best_of(4, rm)
    found = best.predict(rows, precision="fp32")["Keywords"].to_list()
    assert plain.predict(rows, precision="fp32")["Keywords"].to_list() != found
    # Slowly: each row alone, each answer alone.
    predictor, rewards = plain.model_predictor("fp32"), RewardModel(papertune.load_run(rm))
    column, reader = plain.recipe.questions["Keywords"], RowReader(read_table(rows), plain.recipe)
    for row in range(5):
        prompt = reader.prompt(row, "Keywords")
        values = [predictor.answer(reader, [row])["Keywords"][0]]
        ids = predictor.encoder.encode(prompt).ids
        for uniforms in row_uniforms(0, [row], 3, 12):
            values += predictor.sample("Keywords", [ids], uniforms[None], 1.0)
        scores = [rewards.rewards("Keywords", [prompt], [[column.text_of(value)]])[0][0] for value in values]
        assert found[row] == "; ".join(column.keywords_of(values[max(range(4), key=scores.__getitem__)]))


def test_a_killed_prediction_of_the_best_of_several_resumes_byte_for_byte(sft, rm, papers, tmp_path, make_listener):
    rows = papers(40, 60)
    run = papertune.load_run(sft).with_best_of(3, rm)
    run.predict_file(rows, tmp_path / "whole.csv")

    def kill(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.predict_file(rows, tmp_path / "killed.csv", listener=make_listener(on_rows=kill))
    other = papertune.load_run(sft).with_best_of(2, rm)
    with pytest.raises(papertune.OutputError, match="keeps the rows of another prediction"):
        other.predict_file(rows, tmp_path / "killed.csv")
    run.predict_file(rows, tmp_path / "killed.csv")
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_an_evaluation_of_the_best_of_several_shows_the_greedy_answers_beside_it(sft, rm, papers, tmp_path):
    from papertune.pipelines.evaluate import evaluate

    report = evaluate(papertune.load_run(sft).with_best_of(3, rm), papers(6, 80), tmp_path / "report")
    first, second = report.columns[0].systems
    assert second.name == f"{first.name}, greedy"
    assert second.scores.f1_at_m >= 0


def test_rewards_of_a_reward_run_are_learned_and_kept_beside_the_texts(from_sft, rm, papers, tmp_path, make_listener):
    recipe = from_sft("rloo", reward=str(rm), generations=2)
    recipe["training"]["save_steps"] = 1

    def stop(step):
        if step.done == 1:  # noticed at the end of the next step
            os.kill(os.getpid(), signal.SIGTERM)

    def go(name, **options):
        return papertune.train(papers(6), recipe, tmp_path / name, dev=papers(3, 40), **options)

    whole = go("whole")
    with pytest.raises(TrainingStopped, match="stopped by SIGTERM after step 2; a checkpoint is written"):
        go("stopped", listener=make_listener(on_training=stop))
    resumed = go("stopped", resume=True)
    samples = (tmp_path / "whole" / "samples.jsonl").read_text("utf-8")
    assert (tmp_path / "stopped" / "samples.jsonl").read_text("utf-8") == samples
    adapters = [
        (tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("whole", "stopped")
    ]
    assert adapters[0] == adapters[1]
    entries = [json.loads(line) for line in samples.splitlines()]
    assert [entry["step"] for entry in entries] == [1] * 4 + [2] * 4 + [3] * 4
    assert {entry["paper"] for entry in entries} == {f"p{number:03}" for number in range(6)}
    assert whole.manifest.reward.startswith(f"{rm} (")
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    scores = [entry["score"] for entry in map(json.loads, lines) if "score" in entry]
    assert resumed.manifest.dev_score == max(scores)


@pytest.mark.parametrize(
    ("stage", "changes", "options", "message"),
    [
        ("dpo", {"method": {}}, {}, 'stage "dpo" improves a run that fills in the columns already. Train one first'),
        ("dpo", {"method": {"kind": "full"}}, {}, 'trains a LoRA adapter. Set method.kind to "lora", not "full".'),
        ("rloo", {}, {}, 'stage "rloo" ends when the score of dev rows falls'),
        ("rloo", {"stage": {"kind": "rloo", "reward": "SFT"}}, {"dev_fraction": 0.3}, "so it has no rewards"),
        ("grpo", {"columns": "ranked"}, {"dev_fraction": 0.3}, 'column of kind "ranked_keywords" has none'),
        ("dpo", {"columns": "label"}, {}, "Cross-entropy over the label set is exact; there is nothing to prefer."),
    ],
)
def test_what_a_stage_cannot_learn_from_is_an_error_before_anything_is_written(
    from_sft, sft, both_columns, pairs, papers, tmp_path, stage, changes, options, message
):
    recipe = from_sft(stage) | {name: value for name, value in changes.items() if name != "columns"}
    if changes.get("columns") == "ranked":
        recipe["columns"] = {"Keywords": {"kind": "ranked_keywords", "question": QUESTION}}
    if changes.get("columns") == "label":
        recipe["columns"] = both_columns["columns"]
    if recipe["stage"].get("reward") == "SFT":
        recipe["stage"] = {"kind": stage, "reward": str(sft)}
    with pytest.raises((RecipeError, RunError)) as caught:
        papertune.train(papers(8) if stage in ("rloo", "grpo") else pairs, recipe, tmp_path / "run", **options)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(from_sft, sft):
    recipe = load_recipe(from_sft("dpo"))
    job = SimpleNamespace(recipe=recipe, parents=find_parents(recipe), processes=SimpleNamespace(count=2))
    with pytest.raises(RecipeError) as caught:
        check_feedback_job(recipe.stage, job)
    assert str(caught.value) == ('stage "dpo" trains in one process. Start it without torchrun or accelerate launch.')


def test_a_reward_run_of_another_base_model_is_refused(sft, rm, tmp_path):
    import shutil

    shutil.copytree(rm, tmp_path / "other")
    manifest = json.loads((rm / "run.json").read_text())
    (tmp_path / "other" / "run.json").write_text(json.dumps(manifest | {"base_checksum": "0" * 64}))
    with pytest.raises(RunError, match="whose weights are not those of the base model of"):
        papertune.load_run(sft).with_best_of(4, tmp_path / "other")


def test_pairs_whose_answers_are_the_same_when_truncated_are_listed(from_sft, pairs, tmp_path):
    equal = [{**pairs[0], "chosen": "graph network heart; a", "rejected": "graph network heart; b"}, pairs[1]]
    recipe = from_sft("dpo") | {"encoding": {"max_prompt_tokens": 96, "max_answer_tokens": 6}}
    with pytest.raises(
        TableError, match=r"pair 1: .* are the same answer. Correct or remove it; if they differ only at"
    ):
        papertune.train(equal, recipe, tmp_path / "run")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "stage \"dpo\" trains with TRL, which is not installed: pip install 'papertune[rl]'"),
        (
            "1.20.1",
            "stage \"dpo\" trains with TRL 1.16, and version 1.20.1 is installed: pip install 'papertune[rl]'",
        ),
    ],
)
def test_a_missing_trl_is_an_error_with_the_command_that_installs_it(monkeypatch, found, message):
    from importlib.metadata import PackageNotFoundError

    from papertune.training.feedback import check_trl, extra

    def version(_):
        if found is None:
            raise PackageNotFoundError
        return found

    monkeypatch.setattr(extra, "version", version)
    with pytest.raises(MissingExtraError) as caught:
        check_trl("dpo")
    assert str(caught.value) == message


def test_a_training_is_not_resumed_from_another_start():
    begun = TrainingPlan("recipe", [], [], None, runs=["a"])
    assert TrainingPlan("recipe", [], [], None, runs=["b"]).differences(begun) == ["start or reward run"]


def test_a_run_predicts_without_trl(sft, papers, monkeypatch):
    for name in [name for name in sys.modules if name == "trl" or name.startswith("trl.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "trl", None)
    assert isinstance(papertune.load_run(sft).predict(papers(1)), pl.DataFrame)
