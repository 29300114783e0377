"""A prediction and a check import only what they use; `benchmarks/start_up.py` measures the time."""

import json
import subprocess
import sys

import pytest

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
    "scipy",
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
PROGRAM = """
import json, sys
import papertune

run = papertune.load_run(sys.argv[1])
filled = run.predict(json.loads(sys.argv[2]))
print(json.dumps([filled["label"].to_list(), sorted(sys.modules)]))
"""


def test_a_prediction_imports_nothing_unused(run, papers):
    paper = papers(1, start=70)
    command = [sys.executable, "-c", PROGRAM, str(run.directory.path), json.dumps(paper)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    labels, modules = json.loads(done.stdout.splitlines()[-1])
    assert labels == run.predict(paper)["label"].to_list()
    assert {"papertune.models.llama.model", "papertune.run", "torch", "transformers"} <= set(modules)
    assert UNUSED & set(modules) == set()


CHECK = """
import json, sys
from papertune.pipelines.check import check_tables

table = json.loads(sys.argv[1])
check_tables([table], json.loads(sys.argv[2]), purpose="predict")
predicting = sorted(sys.modules)
check_tables([table], json.loads(sys.argv[2]))
print(json.dumps([predicting, sorted(sys.modules)]))
"""
# Needed for training; scikit-learn only checks training tables.
TRAINER = {"papertune.training", "peft", "transformers.trainer"}


def test_a_check_imports_no_trainer(papers, both_columns):
    command = [sys.executable, "-c", CHECK, json.dumps(papers(4)), json.dumps(both_columns)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    predicting, training = map(set, json.loads(done.stdout.splitlines()[-1]))
    assert (TRAINER | {"sklearn"}) & predicting == set()
    assert TRAINER & training == set()
