"""Every command on a ChatGLM2 folder like the published one: the tutorial from its table to submit.csv."""

import csv
import signal

import pytest
import torch
from processes import Command, lines, slow_steps
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import papertune
from papertune.models import use_grouped_attention
from papertune.training.checkpoints import complete_checkpoints

HEADER = ["uuid", "title", "author", "abstract", "Keywords", "label"]
WORDS = ["heart", "graph", "aspirin", "network", "trial", "method", "患者", "learning", "effect", "study", "neural"]
SHORT = [
    "encoding.max_answer_tokens=24",
    "training.epochs=2",
    "training.learning_rate=1e-2",
    "training.logging_steps=1",
]
PTUNING = "method={ kind = 'ptuning_v2', prefix_length = 6 }"

pytestmark = pytest.mark.slow


def papers(numbers):
    for n in numbers:
        words = [WORDS[(n * 5 + i * (1 + n % 3)) % len(WORDS)] for i in range(4 + n % 5)]
        keywords = f"{words[0]}; {words[1]} {words[2]}"
        yield [f"p{n:03}", f"the {words[0]} {n}", f"Author {n}", " ".join(words), keywords, str(n % 2)]


@pytest.fixture(scope="module")
def project(tmp_path_factory, chatglm2_folder):
    return Project(tmp_path_factory.mktemp("way"), chatglm2_folder)


class Project:
    """A folder with papers.csv, new.csv and a model."""

    def __init__(self, folder, model):
        self.folder, self.model = folder, model
        for name, numbers, columns in (("papers", range(24), 6), ("new", range(50, 60), 4)):
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows(row[:columns] for row in (HEADER, *papers(numbers)))

    def __truediv__(self, name):
        return self.folder / name

    def command(self, *arguments, patches=()):
        return Command(list(arguments), *patches)

    def run(self, *arguments):
        """Run a command that must succeed, and return what it printed."""
        command = self.command(*arguments)
        assert command.end() == 0, command.printed
        return command.printed

    def train(self, recipe, name, *settings, more=(), patches=()):
        # The tiny model learns next to nothing, so words alone would answer.
        alone = ['columns.label.sources=["model"]'] if recipe == "xfg-label" else []
        chosen = (f"model={self.model}", *SHORT, *alone, *settings)
        options = [option for setting in chosen for option in ("--set", setting)]
        return self.command(
            "train", self / "papers.csv", "-r", recipe, "-o", self / name, *options, *more, patches=patches
        )

    def trained(self, recipe, name, *settings, more=()):
        """Return a run directory, after training unless it exists."""
        if not (self / name / "run.json").exists():
            command = self.train(recipe, name, *settings, more=more)
            assert command.end() == 0, command.printed
        return self / name

    def rows(self, name):
        with (self / name).open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


@pytest.mark.once
def test_check(project):
    printed = project.run("check", project / "papers.csv", "-r", "xfg-label", "--set", f"model={project.model}")
    assert "24 rows" in printed
    # There is nothing between chat template, instruction and document.
    assert "[Round 1]\n\n问：Please judge whether it is a medical field paper" in printed
    assert "the following is the paper title and abstract -->title:the heart 0,abstract:heart" in printed


def test_from_the_tables_to_submit(project):
    label, keywords = project.trained("xfg-label", "label"), project.trained("xfg-keywords", "keywords")
    project.run("predict", label, project / "new.csv", "-o", project / "labelled.csv", "--columns", "all")
    # A tiny model with random weights answers anything, but its labels are always from the label set.
    submit = project / "submit.csv"
    project.run("predict", keywords, project / "labelled.csv", "-o", submit, "--columns", "uuid,Keywords,label")
    rows, labelled = project.rows("submit.csv"), project.rows("labelled.csv")
    assert [row["uuid"] for row in rows] == [f"p{n:03}" for n in range(50, 60)]
    assert list(rows[0]) == ["uuid", "Keywords", "label"]
    assert [row["label"] for row in rows] == [row["label"] for row in labelled]
    assert {row["label"] for row in rows} <= {"0", "1"}
    assert any(row["Keywords"] for row in rows)


@pytest.mark.once
def test_evaluate(project):
    printed = project.run(
        "evaluate", project.trained("xfg-label", "label"), project / "papers.csv", "-o", project / "r"
    )
    assert "Log loss" in printed
    assert (project / "r" / "report.html").is_file()


@pytest.mark.once
@pytest.mark.parametrize("settings", [(), (PTUNING,)], ids=["lora", "ptuning_v2"])
def test_killed_training_is_resumed(project, settings):
    settings = (*settings, "training.micro_batch_size=2", "training.save_steps=1", "training.keep_checkpoints=99")
    name = f"killed-{len(settings)}"
    uninterrupted = project.trained("xfg-label", f"uninterrupted-{len(settings)}", *settings)
    killed = project.train("xfg-label", name, *settings, patches=[slow_steps])
    assert killed.wait_for(lambda: lines(project / name / "metrics.jsonl") >= 2)
    killed.send(signal.SIGKILL)
    assert killed.end() == -signal.SIGKILL, killed.printed
    assert complete_checkpoints(project / name / "training")
    resumed = project.train("xfg-label", name, *settings, more=["--resume"])
    assert resumed.end() == 0, resumed.printed
    one, other = (
        load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (uninterrupted, project / name)
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def test_merge(project):
    run = project.trained("xfg-label", "label")
    project.run("merge", run, "-o", project / "merged")
    merged = AutoModelForCausalLM.from_pretrained(project / "merged").eval()
    assert AutoTokenizer.from_pretrained(project / "merged")("heart")["input_ids"][0] == 401
    opened = papertune.load_run(run)
    model, _ = opened.load()
    base, _ = opened.load_base("auto")
    adapter = load_file(run / "adapter" / "adapter_model.safetensors")
    assert merged.dtype == model.dtype
    for name, weight in model.state_dict().items():
        assert torch.equal(merged.get_parameter(name), weight), name
        # W + 4 BA is computed in float32 and then rounded.
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        whole = base.get_parameter(name).float()
        if f"{layer}.lora_A.weight" in adapter:
            whole = whole + adapter[f"{layer}.lora_B.weight"] @ adapter[f"{layer}.lora_A.weight"] * 4
        assert torch.equal(weight, whole.to(weight.dtype)), name
    use_grouped_attention(merged)
    ids = torch.arange(5, 30)[None]
    with torch.no_grad():
        assert torch.equal(merged(ids).logits, model(ids).logits)


def test_run_with_a_prefix_predicts_and_is_not_merged(project):
    run = project.trained("xfg-label", "prefix", PTUNING)
    project.run("predict", run, project / "new.csv", "-o", project / "prefixed.csv", "--probabilities")
    for row in project.rows("prefixed.csv"):
        probabilities = [float(row[f"label_probability_{label}"]) for label in "10"]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    refused = project.command("merge", run, "-o", project / "no")
    assert refused.end() == 2
    assert "prefix" in refused.printed
    assert not (project / "no").exists()


def test_chat(project, monkeypatch, capsys):
    import io

    from papertune.cli import main

    arguments = ["papertune", "chat", str(project.trained("xfg-label", "label")), "--max-new-tokens", "8"]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setattr("sys.stdin", io.StringIO("你好\n\n"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.endswith("\n")


@pytest.mark.once
def test_instructions(project):
    file = project / "paper_label.json"
    project.run("instructions", project / "papers.csv", "-r", "xfg-label", "-o", file)
    table = papertune.read_table(file)
    assert set(table.frame["output"]) == {"0", "1"}
    assert table.frame["input"][0].startswith("title:the heart 0,abstract:heart")
