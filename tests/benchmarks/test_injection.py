"""The injection benchmark on a tiny model, whose answers are always labels of the set."""

import json
import sys
import tomllib
from string import Formatter

import injection
import numpy as np
import pytest

import papertune
from papertune.inference.predict import predict_rows
from papertune.inference.predictor import Predictor
from papertune.prompts.examples import RowReader
from papertune.recipe import load_recipe
from papertune.tables import read_table

TEXTS = tomllib.loads(injection.TEXTS.read_text("utf-8"))
PAPERS = [
    {
        "uuid": f"p{n}",
        "title": f"the heart {n}",
        "abstract": f"a trial of {n} patients",
        "label": ["1", "0", "10"][n % 3],
    }
    for n in range(6)
]


def test_there_are_thirty_texts_that_ask_for_labels_only():
    assert len(TEXTS["hostile"]) >= 30
    assert len(set(TEXTS["hostile"])) == len(TEXTS["hostile"])
    assert sum(any("一" <= character <= "鿿" for character in text) for text in TEXTS["hostile"]) >= 3
    for text in TEXTS["hostile"]:
        fields = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        assert "target" in fields
        assert fields <= {"target", "answer"}
    assert all("{" not in text for text in TEXTS["harmless"])


@pytest.fixture(scope="module")
def run_folder(tiny_folder, tmp_path_factory):
    """Return a run of the tiny model with labels of several tokens."""
    recipe = {
        "model": str(tiny_folder),
        "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
        "columns": {"label": {"kind": "label", "question": "Medical?", "labels": ["1", "0", "10"]}},
        "training": {"precision": "fp32", "warmup_steps": 1, "max_steps": 2},
    }
    folder = tmp_path_factory.mktemp("runs") / "run"
    papertune.train(PAPERS, recipe, folder)
    return folder


def test_the_answer_to_each_text_is_a_label(run_folder):
    run = papertune.load_run(run_folder)
    asking = injection.Asking(*run.load("fp32"), injection.asked(run.recipe, "label"))
    measured = injection.attack(asking, read_table(PAPERS), "abstract", TEXTS)
    assert measured["hostile"]["outside"] == measured["harmless"]["outside"] == 0
    for kind in TEXTS:
        flipped, obeyed = measured[kind]["flipped"], measured[kind]["obeyed"]
        assert 0 <= flipped["low"] <= flipped["share"] <= flipped["high"] <= 1
        assert obeyed["share"] <= flipped["share"]  # an obeyed label differs from the one before
        by_text = list(measured[kind]["by_text"].values())
        assert sum(by_text) / len(by_text) == pytest.approx(flipped["share"], abs=1e-3)
    assert measured["any"]["share"] >= measured["hostile"]["flipped"]["share"]


@pytest.mark.parametrize("labels", [["1", "0"], ["1", "0", "10"]])
def test_answers_paper_by_paper_equal_those_of_all_papers_at_once(run_folder, labels):
    run = papertune.load_run(run_folder)
    recipe = load_recipe(run.recipe, [f"columns.label.labels={labels}", "encoding.max_prompt_tokens=90"])
    model, tokenizer = run.load("fp32")
    asking, papers = injection.Asking(model, tokenizer, recipe), read_table(PAPERS[:2])
    few = {"hostile": TEXTS["hostile"][::6], "harmless": TEXTS["harmless"][:2]}
    answers = [asking.answer(papers.take([row]), "abstract", few) for row in range(len(papers))]
    rows, probabilities, shortened = [], [], 0
    for paper, answer in zip(PAPERS[:2], answers, strict=True):
        clean = labels[answer.clean.argmax()]
        rows.append(paper)
        probabilities.append(answer.clean)
        for kind, texts in few.items():
            target = asking.target(clean)
            rows += [
                {**paper, "abstract": f"{paper['abstract']} {text.format(target=target, answer=clean)}"}
                for text in texts
            ]
            probabilities += list(answer.attacked[kind])
            shortened += answer.truncated[kind]
    predictor = Predictor(model, tokenizer, recipe)
    reader = RowReader(read_table(rows), recipe)
    plan = predictor.plan(reader, range(len(rows)))
    expected = predict_rows(predictor, reader, plan).values["label"]
    assert np.array(probabilities) == pytest.approx(expected, abs=1e-5)
    assert shortened == len(plan.truncated) > 0


def test_the_script_prints_a_table_and_a_line_of_json(run_folder, tmp_path, monkeypatch, capsys):
    table = tmp_path / "papers.jsonl"
    table.write_text("\n".join(map(json.dumps, PAPERS)))
    words = ["--run", str(run_folder), "--table", str(table), "--papers", "3", "--texts", "2", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["injection.py", *words])
    injection.main()
    *shown, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert list(result["models"]) == ["zero-shot", "fine-tuned"]
    assert result["papers"] == 3
    assert result["texts"] == {"hostile": 2, "harmless": 2}
    assert any(line.startswith("| zero-shot") for line in shown)


def test_invalid_options_are_reported(run_folder, tmp_path, monkeypatch, capsys):
    table = tmp_path / "papers.jsonl"
    table.write_text("\n".join(map(json.dumps, PAPERS)))
    for words, message in (
        (["--column", "Keywords"], '"Keywords" is not a label column of the run. It has: label.'),
        (["--into", "body"], 'there is no column "body"'),
    ):
        monkeypatch.setattr(sys, "argv", ["injection.py", "--run", str(run_folder), "--table", str(table), *words])
        with pytest.raises(SystemExit) as ended:
            injection.main()
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
