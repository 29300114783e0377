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
# Needed for training; scikit-learn only checks training tables.
TRAINER = {"papertune.training", "peft", "transformers.trainer"}
# In one process, since it takes seconds to start: what is loaded stays loaded.
PROGRAM = """
import json, sys
import papertune

new, table, recipe = map(json.loads, sys.argv[2:])
filled = papertune.load_run(sys.argv[1]).predict(new)
loaded = [sorted(sys.modules)]
from papertune.pipelines.check import check_tables

check_tables([table], recipe, purpose="predict")
loaded.append(sorted(sys.modules))
check_tables([table], recipe)
loaded.append(sorted(sys.modules))
print(json.dumps([filled["label"].to_list(), loaded]))
"""


def test_a_prediction_imports_nothing_unused_and_a_check_no_trainer(run, papers, both_columns):
    new = papers(1, start=70)
    values = [json.dumps(each) for each in (new, papers(4), both_columns)]
    command = [sys.executable, "-c", PROGRAM, str(run.directory.path), *values]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    labels, loaded = json.loads(done.stdout.splitlines()[-1])
    predicted, checked, checked_for_training = map(set, loaded)
    assert labels == run.predict(new)["label"].to_list()
    assert {"papertune.models.llama.model", "papertune.run", "torch", "transformers"} <= predicted
    assert UNUSED & predicted == set()
    assert (TRAINER | {"sklearn"}) & checked == set()
    assert TRAINER & checked_for_training == set()
