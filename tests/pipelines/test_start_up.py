"""A prediction and a check import only what they use; `benchmarks/start_up.py` measures the time."""

import json
import subprocess
import sys

import pytest

from papertune.recipe import dump_recipe, load_recipe

pytestmark = pytest.mark.slow

# Needed for other things only.
UNUSED = {
    "accelerate",
    "bitsandbytes",
    "datasets",
    "gguf",
    "IPython",
    "matplotlib",
    "pandas",
    "papertune.evaluation",
    "papertune.models.chatglm2",
    "papertune.training",
    "peft",
    "pyarrow",
    "ray",
    "scipy.special",  # scipy itself, a few milliseconds, is imported by numba
    "sklearn",
    "snowballstemmer",
    "sympy",
    "torch._dynamo",
    "torch.distributed.tensor",
    "torchvision",
    "transformers.modeling_utils",
    "transformers.trainer",
    "typer",
}
# What a check does without: most of the seconds that it took.
SLOW = {"torch", "transformers", "sklearn", "scipy", "pandas", "huggingface_hub", "papertune.training"}
PROGRAM = """
import json, sys
import papertune

filled = papertune.load_run(sys.argv[1]).predict(json.loads(sys.argv[2]))
print(json.dumps([filled["label"].to_list(), sorted(sys.modules)]))
"""
CHECK = """
import atexit, json, sys

atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
from papertune.cli import main

main()
"""


def last_line(program, *arguments):
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_prediction_imports_nothing_unused(run, papers):
    new = papers(1, start=70)
    labels, loaded = last_line(PROGRAM, str(run.directory.path), json.dumps(new))
    assert labels == run.predict(new)["label"].to_list()
    assert {"papertune.models.llama.model", "papertune.run", "torch", "transformers"} <= set(loaded)
    assert UNUSED & set(loaded) == set()


@pytest.mark.once
def test_a_check_of_training_rows_imports_neither_torch_nor_transformers_nor_scikit_learn(
    papers, both_columns, tmp_path
):
    rows = papers(60)
    table, recipe = tmp_path / "papers.jsonl", tmp_path / "recipe.toml"
    table.write_text("\n".join(map(json.dumps, rows)))
    recipe.write_text(dump_recipe(load_recipe(both_columns)))
    loaded = set(last_line(CHECK, "check", str(table), "-r", str(recipe)))
    examined = {"papertune.evaluation.checks.shortcuts", "papertune.models.tokenizers.plain", "tokenizers"}
    assert examined <= loaded
    assert SLOW & loaded == set()
