import os
import subprocess
import sys

import pytest

from papertune.startup.openmp import USER_SETTINGS, limit_spinning

SHOW = "import os, sys, papertune; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


def test_threads_wait_briefly_under_each_openmp():
    environment = {"PATH": "/bin"}
    limit_spinning(environment)
    assert environment == {"PATH": "/bin", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}


@pytest.mark.parametrize("name", USER_SETTINGS)
def test_a_setting_of_the_user_is_left_alone(name):
    environment = {name: "its own value"}
    limit_spinning(environment)
    assert environment == {name: "its own value"}


@pytest.mark.parametrize(("before", "after"), [({}, "1000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")])
def test_importing_papertune_sets_it_before_torch_is_imported(before, after):
    environment = {name: value for name, value in os.environ.items() if name not in USER_SETTINGS}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment | before, capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"{after} False\n"
