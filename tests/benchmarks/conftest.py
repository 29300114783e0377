import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

# The scripts import each other as modules beside them, as they do when they are run.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def forked_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork systems from a process that has already imported their modules."""
    import contest
    from forking import Forked

    monkeypatch.setattr(contest, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": Forked}))
