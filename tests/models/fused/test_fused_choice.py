import os
import subprocess
import sys

import pytest
import torch

from papertune.models.fused import choice
from papertune.models.fused.choice import best_steps
from papertune.models.llama.steps import Steps

FLOAT = torch.float32


def chosen(dtype=FLOAT):
    """Choose anew, as another process would."""
    return type(best_steps.__wrapped__(dtype, dtype, to_integers=False))


def test_without_numba_the_steps_are_pytorchs(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert chosen() is Steps


def test_with_a_numba_that_cannot_be_imported_they_are_too(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "papertune.models.fused.compiling", None)
    assert chosen() is Steps


class TestWithNumba:
    @pytest.fixture(autouse=True)
    def _numba(self):
        pytest.importorskip("numba", reason="the extra speed is not installed")

    def test_the_steps_are_fused(self):
        assert chosen().__name__ == "FusedSteps"

    def test_other_number_formats_are_left_to_pytorch(self):
        assert chosen(torch.float16) is Steps

    def test_nothing_is_compiled_where_it_cannot_be_kept(self, monkeypatch, tmp_path):
        (tmp_path / "file").touch()
        monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "file" / "below"))
        assert chosen() is Steps

    def test_nothing_is_compiled_where_numba_is_told_not_to(self, monkeypatch):
        monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
        assert chosen() is Steps

    def test_code_is_kept_in_the_cache_folder_unless_the_user_has_another(self, monkeypatch, tmp_path):
        from papertune.models.fused.compiling import code_folder

        monkeypatch.setenv("PAPERTUNE_CACHE", str(tmp_path))
        monkeypatch.setattr("numba.config.CACHE_DIR", "")
        assert code_folder() == tmp_path / "kernels"
        monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "mine"))
        assert code_folder() == tmp_path / "mine"

    @pytest.mark.slow
    @pytest.mark.once
    def test_damaged_code_is_compiled_again(self, tmp_path):
        from papertune.models.fused.compiling import folder_of
        from papertune.models.fused.kernels import norm

        assert chosen().__name__ == "FusedSteps"
        compiled = folder_of(norm)
        folder = tmp_path / compiled.name
        folder.mkdir()
        whole = {path.name: path.read_bytes() for path in compiled.glob("*.nb?")}
        for name, content in whole.items():
            (folder / name).write_bytes(content[: len(content) // 2])
        program = (
            "import torch; from papertune.models.fused.choice import best_steps;"
            "print(type(best_steps(torch.float32, torch.float32, to_integers=False)).__name__)"
        )
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "FusedSteps\n", "")
        for path in folder.glob("kernels.norm-*.nbc"):
            assert len(path.read_bytes()) > len(whole[path.name]) / 2
