"""`papertune train --stage pt` on the tiny model: what is read, what a run keeps, and what follows."""

import json
import shutil
from itertools import combinations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import papertune
from papertune import OutputError, PapertuneWarning, RecipeError, RunError, TableError
from papertune.training.documents import TokenFile

DEV = 6


@pytest.fixture(scope="module")
def settings(both_columns):
    return {
        **both_columns,
        "stage": {"kind": "pt", "block": 64},
        "training": {**both_columns["training"], "epochs": 2, "save_steps": 4, "logging_steps": 1},
    }


@pytest.fixture(scope="module")
def domain(settings, papers, tmp_path_factory):
    """A run that has read 20 papers, two of them in both tables, and was measured on others."""
    folder = tmp_path_factory.mktemp("runs") / "domain"
    tables = [papertune.read_table(papers(12)), papertune.read_table(papers(10, 10))]
    return papertune.train(tables, settings, folder, dev=papers(DEV, 100))


def texts(run):
    """Return the texts that a run has learned."""
    file = TokenFile.open(run.directory.checkpoints / "tokens")
    decode = run.load_tokenizer().decode
    return [decode(file.tokens[a:b].tolist()) for a, b in zip(file.starts[:-1], file.starts[1:], strict=True)]


def document(paper):
    return f"title: {paper['title']}\nabstract: {paper['abstract']}"


@pytest.mark.once
def test_each_paper_is_read_once_and_ends_with_the_end_token(domain, papers):
    assert texts(domain) == [f"{document(paper)}<|im_end|>" for paper in papers(20)]
    results = domain.manifest.stage_results
    assert (results["papers"], results["duplicates"], results["held_out_papers"]) == (20, 2, 3)
    assert domain.manifest.examples == 20
    assert domain.manifest.stage == "pt"
    assert domain.manifest.parents == []


@pytest.mark.once
def test_reading_makes_held_out_papers_more_probable(domain):
    results = domain.manifest.stage_results
    assert results["nll_difference"] == pytest.approx(results["nll_after"] - results["nll_before"])
    assert results["nll_difference_low"] <= results["nll_difference"] <= results["nll_difference_high"] < 0
    assert results["perplexity_after"] == pytest.approx(np.exp(results["nll_after"]))


@pytest.mark.once
def test_the_reported_loss_is_that_of_the_run_on_each_held_out_paper_by_itself(domain, papers):
    model, tokenizer = domain.load("fp32")
    losses = {}
    for paper in papers(DEV, 100):
        ids = torch.tensor([[*tokenizer.encode(document(paper)), tokenizer.eos_token_id]])
        with torch.no_grad():
            losses[paper["uuid"]] = float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1), ids.shape[1] - 1
    # Which half is measured is drawn at random, so the dev papers that chose the checkpoint are the others.
    means = [
        sum(losses[each][0] for each in half) / sum(losses[each][1] for each in half)
        for half in combinations(losses, 3)
    ]
    results = domain.manifest.stage_results
    assert min(abs(mean - results["nll_after"]) for mean in means) < 1e-4
    (best,) = [i for i, mean in enumerate(means) if abs(mean - results["nll_after"]) < 1e-4]
    assert means[-1 - best] == pytest.approx(-domain.manifest.dev_score, abs=1e-4)


@pytest.mark.once
def test_the_checkpoint_with_the_lowest_loss_becomes_the_run(domain):
    entries = [json.loads(line) for line in domain.directory.metrics.read_text().splitlines()]
    scored = [entry for entry in entries if "score" in entry]
    assert len(scored) >= 2
    assert all(entry["score"] == -entry["eval_nll"] for entry in scored)
    assert domain.manifest.dev_score == max(entry["score"] for entry in scored)


@pytest.mark.once
def test_its_readme_names_the_next_step(domain):
    readme = (domain.directory.path / "README.md").read_text()
    assert readme.startswith('# domain\n\nA model that has only read papers (stage "pt"), trained by papertune from `')
    assert "    papertune train TABLE.csv -r RECIPE.toml -o RUN --set method.start_from=domain\n" in readme


@pytest.mark.once
@pytest.mark.parametrize(
    ("act", "purpose"),
    [
        (lambda run, table, folder: run.predict(table), "predict"),
        (lambda run, table, folder: run.predict_file(table, folder / "x.csv"), "predict"),
        (lambda run, table, folder: papertune.evaluate(run, table, folder / "report"), "be scored"),
        (lambda run, table, folder: papertune.calibrate(run, table), "be calibrated"),
    ],
)
def test_it_fills_in_no_columns(domain, papers, tmp_path, act, purpose):
    with pytest.raises(RunError) as refused:
        act(domain, papers(4), tmp_path)
    assert str(refused.value) == (
        f'{domain.directory.path} is a model that has only read papers (stage "pt"); it fills in no columns, so it '
        f'cannot {purpose}. Train from it first, with method.start_from = "{domain.directory.path}".'
    )


def adapter(run):
    return load_file(run.directory.adapter / "adapter_model.safetensors")


def test_columns_are_learned_from_its_adapter(domain, both_columns, papers, tmp_path):
    start = str(domain.directory.path)
    recipe = {**both_columns, "method": {"start_from": start}}
    run = papertune.train(papers(8), recipe, tmp_path / "run", overrides=["training.learning_rate=1e-30"])
    assert run.recipe.method.rank == 4
    for name, weight in adapter(domain).items():
        torch.testing.assert_close(adapter(run)[name], weight)
    (parent,) = run.manifest.parents
    assert (parent.stage, parent.path, parent.checksum) == ("pt", start, domain.directory.weights_checksum())
    assert papertune.load_run(run.directory.path).manifest.parents == [parent]
    assert f", from `{start}` (pt)." in (run.directory.path / "README.md").read_text()
    assert len(run.predict(papers(2))) == 2


@pytest.mark.once
def test_the_parents_of_a_start_are_kept(domain, both_columns, papers, tmp_path):
    first = papertune.train(
        papers(8),
        {**both_columns, "method": {"start_from": str(domain.directory.path)}},
        tmp_path / "first",
        overrides=["training.max_steps=1"],
    )
    second = papertune.train(
        papers(8),
        {**both_columns, "method": {"start_from": str(tmp_path / "first")}},
        tmp_path / "second",
        overrides=["training.max_steps=1"],
    )
    assert [parent.stage for parent in second.manifest.parents] == ["pt", "sft"]
    assert second.manifest.parents[:1] == first.manifest.parents


@pytest.mark.once
def test_a_whole_model_is_a_start_under_its_folder(settings, both_columns, papers, tmp_path):
    whole = {**settings, "method": {"kind": "full"}}
    run = papertune.train(papers(8), whole, tmp_path / "whole", overrides=["training.max_steps=1"])
    with pytest.raises(RunError, match=r"Train from it first, with model = \".*whole/model\"\.$"):
        run.predict(papers(2))
    model = str(tmp_path / "whole" / "model")
    learned = papertune.train(
        papers(8), {**both_columns, "model": model}, tmp_path / "run", overrides=["training.max_steps=1"]
    )
    assert [(parent.stage, parent.path) for parent in learned.manifest.parents] == [("pt", str(tmp_path / "whole"))]


@pytest.mark.once
def test_dev_papers_are_a_share_of_those_that_are_read(settings, papers, tmp_path):
    rows = [*papers(20), *papers(20)]
    run = papertune.train(rows, settings, tmp_path / "run", dev_fraction=0.2, overrides=["training.max_steps=1"])
    results = run.manifest.stage_results
    assert (results["papers"], results["duplicates"], results["held_out_papers"]) == (16, 20, 2)
    learned = texts(run)
    assert len(set(learned)) == 16
    assert set(learned) < {f"{document(paper)}<|im_end|>" for paper in papers(20)}


@pytest.mark.once
def test_no_paper_that_is_a_dev_paper_too_is_read(settings, papers, tmp_path):
    run = papertune.train(papers(8), settings, tmp_path / "run", dev=papers(6), overrides=["training.max_steps=1"])
    assert texts(run) == [f"{document(paper)}<|im_end|>" for paper in papers(2, 6)]
    with pytest.raises(TableError) as caught:
        papertune.train(papers(4), settings, tmp_path / "none", dev=papers(6))
    assert str(caught.value) == "the tables have no paper to learn that is not a dev row. Give more rows."


@pytest.mark.once
def test_case_and_blanks_do_not_make_another_paper(settings, papers, tmp_path):
    (paper,) = papers(1)
    rows = [paper, paper | {"title": f" {paper['title'].upper()}  "}, *papers(2, 1)]
    run = papertune.train(rows, settings, tmp_path / "run", overrides=["training.max_steps=1"])
    assert run.manifest.stage_results["papers"] == 3


@pytest.mark.once
def test_rows_without_text_are_left_out_and_reported(settings, papers, listener, tmp_path):
    rows = [*papers(3), {**papers(1)[0], "title": " ", "abstract": ""}]
    with pytest.warns(PapertuneWarning) as warned:
        run = papertune.train(rows, settings, tmp_path / "run", listener=listener, overrides=["training.max_steps=1"])
    assert [str(warning.message) for warning in warned] == [
        'list of rows, row 4, column "title": 1 cell is without any text, left out (this is the first).'
    ]
    assert run.manifest.stage_results["papers"] == 3
    assert any("left out: 1 without text" in message for message in listener.messages)


@pytest.mark.once
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_share_of_the_tokens_is_instructions(settings, papers, tmp_path, share):
    mixed = {**settings, "stage": {"kind": "pt", "mix_instructions": share}}
    run = papertune.train(papers(30), mixed, tmp_path / "run", overrides=["training.max_steps=1"])
    tokenizer = run.load_tokenizer()
    asked = [text for text in texts(run) if text.startswith("<|im_start|>")]
    read = [text for text in texts(run) if not text.startswith("<|im_start|>")]
    assert len(read) == 30
    tokens = [sum(len(tokenizer.encode(text)) for text in group) for group in (asked, read)]
    assert tokens[0] / sum(tokens) == pytest.approx(share, abs=0.03)
    answers = {text.rsplit("assistant\n", 1)[1] for text in asked}
    assert any(answer in ("1<|im_end|>", "0<|im_end|>") for answer in answers)
    assert any("; " in answer for answer in answers)
    assert len(set(asked)) == len(asked)


@pytest.mark.once
def test_tables_need_neither_gold_nor_columns_of_the_recipe(settings, papers, tmp_path):
    rows = [{"title": paper["title"], "abstract": paper["abstract"]} for paper in papers(6)]
    recipe = {key: value for key, value in settings.items() if key != "columns"} | {
        "table": {"document": settings["table"]["document"]}
    }
    run = papertune.train(rows, recipe, tmp_path / "run", overrides=["training.max_steps=1"])
    assert run.recipe.columns == {}
    assert papertune.load_run(tmp_path / "run").manifest.examples == 6


@pytest.mark.once
class TestMistakes:
    def test_a_table_without_the_document_is_an_error(self, settings, tmp_path):
        with pytest.raises(TableError) as caught:
            papertune.train([{"title": "a", "Abstract": "b"}], settings, tmp_path / "run")
        assert str(caught.value) == (
            'list of rows has no column "abstract", which table.document names. Did you mean "Abstract"?'
        )
        assert not (tmp_path / "run").exists()

    def test_one_dev_paper_is_too_few(self, settings, papers, tmp_path):
        with pytest.raises(TableError) as caught:
            papertune.train(papers(4), settings, tmp_path / "run", dev=papers(1, 9))
        assert str(caught.value) == (
            "there is only one dev paper, but one half of them chooses the checkpoint and the other half is measured. "
            "Give at least two."
        )

    def test_a_dev_table_and_a_fraction_exclude_each_other(self, settings, papers, tmp_path):
        with pytest.raises(RecipeError, match=r"^--dev and --dev-fraction exclude each other\. Give one of them\.$"):
            papertune.train(papers(4), settings, tmp_path / "run", dev=papers(4, 9), dev_fraction=0.5)

    def test_a_comparison_trains_no_other_stage(self, settings, papers, tmp_path):
        with pytest.raises(RecipeError) as caught:
            papertune.compare(papers(8), papers(8, 20), settings, tmp_path / "report")
        assert str(caught.value) == (
            'stage.kind is "pt", but only stage "sft" is compared with other systems. Remove [stage] from the recipe, '
            "or add --set stage.kind=sft."
        )


@pytest.mark.once
@pytest.mark.parametrize("stage", ["pt", "sft"])
def test_a_training_whose_start_was_replaced_is_not_resumed(
    domain, settings, both_columns, papers, make_listener, tmp_path, stage
):
    start = shutil.copytree(domain.directory.path, tmp_path / "start")
    recipe = (settings if stage == "pt" else both_columns) | {"method": {"start_from": str(start)}}
    rows = papers(8)

    def stop(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        papertune.train(rows, recipe, tmp_path / "run", listener=make_listener(on_training=stop))
    weights = start / "adapter" / "adapter_model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    with pytest.raises(OutputError, match=r"begun here \(start or reward run: other weights than before\)\. Resume it"):
        papertune.train(rows, recipe, tmp_path / "run", resume=True)


@pytest.mark.once
def test_a_finished_run_is_not_trained_again(domain, settings, papers, listener):
    before = domain.directory.manifest_file.read_bytes()
    tables = [papertune.read_table(papers(12)), papertune.read_table(papers(10, 10))]
    again = papertune.train(
        tables, settings, domain.directory.path, dev=papers(DEV, 100), resume=True, listener=listener
    )
    assert listener.messages == [f"{domain.directory.path} is finished already"]
    assert again.directory.manifest_file.read_bytes() == before


@pytest.mark.once
def test_the_loss_before_is_that_of_the_base_model(settings, papers, tmp_path):
    options = {"dev": papers(4, 50), "overrides": ["training.learning_rate=1e-30", "training.max_steps=1"]}
    results = papertune.train(papers(6), settings, tmp_path / "run", **options).manifest.stage_results
    assert results["nll_difference"] == pytest.approx(0, abs=1e-6)
    whole = {**settings, "method": {"kind": "full"}}
    other = papertune.train(papers(6), whole, tmp_path / "whole", **options).manifest.stage_results
    assert other["nll_before"] == pytest.approx(results["nll_before"], abs=1e-5)
