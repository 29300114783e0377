"""The speed benchmarks at tiny size: each runs to its line of JSON. Their times mean nothing here."""

import json
import sys
from importlib import import_module
from pathlib import Path

import predict_speed
import pytest
from contest import System

PAPERS = Path(__file__).parents[2] / "examples" / "papers.csv"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def run_script(tiny_folder, monkeypatch, capsys, forked_systems):
    """Return a function that runs a script in this process and returns its result and table."""

    def run(name, *options, rows=3):
        words = ["--table", str(PAPERS), "--set", f"model={tiny_folder}", "--rows", str(rows), "--rounds", "1"]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words, "--threads", "1", "--device", "cpu", *options])
        import_module(name).main()
        *table, last = capsys.readouterr().out.splitlines()
        return json.loads(last), "\n".join(table)

    return run


def test_the_prediction_benchmark(run_script, tmp_path):
    only = ["--only", "batched generate", "--only", "vllm", "--contestant", "vllm=/no/such/python"]
    result, table = run_script("predict_speed", *only, "--output", str(tmp_path / "speed" / "table.md"))
    assert {"machine", "rows", "prompt_tokens", "operations_a_row", "ceilings"} <= result.keys()
    assert {"cpu", "cores", "threads", "torch"} <= result["machine"].keys()
    assert result["rows"] == 3
    assert result["ceilings"]["float32"] > 0
    systems = result["contestants"]
    for name in ("batched generate", "papertune fp32"):
        measured = systems[name]
        assert {"rows_per_s", "tokens_per_s", "peak_bytes", "work", "accuracy", "unreadable"} <= measured.keys()
        assert 0 < measured["share_of_ceiling"] < 1
    assert systems["papertune fp32"]["agreement"] == 1.0
    assert systems["papertune fp32"]["unreadable"] == 0
    assert systems["tutorial"] == {"not_measured": "left out by --only"}
    assert systems["vllm"] == {"not_measured": "/no/such/python is not an interpreter"}
    assert "| vllm" in table
    assert "not measured: /no/such/python is not an interpreter" in table
    assert (tmp_path / "speed" / "table.md").read_text().strip() == table


def test_llama_cpp_gets_an_export_of_the_run_only_if_it_is_measured(monkeypatch, tmp_path):
    exported = []
    monkeypatch.setattr(
        predict_speed, "export", lambda run, output, **settings: exported.append((run, output, settings))
    )
    names = ["vllm", "llama.cpp-q8_0", "llama.cpp-q4_0"]
    systems = [System(name, "module", {"dtype": "float32"}, "") for name in names]
    systems[2].reason = "left out by --only"
    predict_speed.add_gguf_files(systems, Path("run"), None, tmp_path)
    assert exported == [
        (Path("run"), tmp_path / "q8_0", {"to": "gguf", "weights": "q8_0", "device": "cpu", "base": None})
    ]
    file = str(tmp_path / "q8_0" / "model.gguf")
    assert systems[1].job == {"dtype": "int8", "gguf": file, "quantization": "Q8_0"}
    assert systems[0].job == systems[2].job == {"dtype": "float32"}


def test_the_benchmark_of_columns_in_one_run(run_script):
    options = ["--columns", "label,Keywords", "--set", "columns.Keywords.beams=5"]
    result, table = run_script("predict_speed", *options)
    assert list(result["contestants"]) == ["label", "Keywords", "label + Keywords"]
    assert result["allowed_s"] == pytest.approx(
        1.3 * result["contestants"]["label"]["seconds"][0] + result["decoding_s"]
    )
    assert "x the first column alone (at most 1.3 is wanted)" in table


def test_the_generation_benchmark(run_script):
    options = ["--only", "tutorial", "--only", "papertune list", "--set", "columns.Keywords.max_new_tokens=6"]
    result, table = run_script("generate_speed", *options)
    systems = result["contestants"]
    assert systems["tutorial"]["answer_tokens_are"] == "generated"
    assert 3 <= systems["tutorial"]["answer_tokens"] <= 3 * 6
    assert systems["papertune list"]["times_tutorial"] > 0
    assert systems["papertune ranked"] == {"not_measured": "left out by --only"}
    assert "up to 6 tokens, sampling, LoRA unmerged" in table


def test_the_training_benchmark(run_script):
    options = ["--score", "--dev", str(PAPERS), "--dev-rows", "4", "--set", "training.micro_batch_size=2"]
    only = ["--only", "trainer", "--only", "papertune"]
    result, table = run_script("train_speed", *options, *only, rows=4)
    assert result["settings"]["batch_size"] == 2
    systems = result["contestants"]
    for name in ("trainer", "papertune"):
        measured = systems[name]
        assert measured["steps"] == 2
        assert measured["examples"] == 4  # the sample papers have keywords too, which are not trained here
        assert {
            "rows_per_s",
            "tokens_per_s",
            "times_trainer",
            "memory_of_trainer",
            "share_of_ceiling",
        } <= measured.keys()
        assert 0 <= measured["dev"]["label_accuracy"] <= 1
    assert systems["trainer, answers"] == {"not_measured": "left out by --only"}
    assert systems["trl"]["not_measured"].endswith("--contestant trl=PYTHON")
    assert "dev accuracy" in table
