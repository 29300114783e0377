"""The public API has types that a user's own mypy sees: `py.typed` is in the package."""

import sys
from pathlib import Path

import pytest

import papertune

PROGRAM = Path(__file__).parent / "program.py"


@pytest.mark.slow
@pytest.mark.once
def test_mypy_knows_the_types_of_a_program(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api")
    package = Path(papertune.__file__).parent
    assert (package / "py.typed").exists()
    # As an installed package: mypy does not follow the settings of this repository then.
    monkeypatch.setenv("MYPYPATH", str(package.parent))
    options = ["--strict", "--config-file", "", "--cache-dir", str(tmp_path), "--follow-imports", "silent"]
    printed, problems, _ = api.run([*options, "--python-executable", sys.executable, str(PROGRAM)])
    assert problems == ""
    lines = [line.partition(": ")[2] for line in printed.splitlines() if line.startswith(str(PROGRAM))]
    assert [line for line in lines if not line.startswith("note: ")] == [
        'error: Unexpected keyword argument "epochs" for "train"  [call-arg]',
        'error: Argument "precision" to "predict_file" of "Run" has incompatible type "Literal[\'fp8\']"; expected '
        "\"Literal['auto', 'bf16', 'fp16', 'fp32', 'int8']\"  [arg-type]",
        'error: Argument "listener" to "train" has incompatible type "Quiet"; expected "Listener"  [arg-type]',
    ]
    assert 'note: Revealed type is "int"' in [line.replace("builtins.", "") for line in lines]
