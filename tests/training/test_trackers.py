import pytest

from papertune.errors import MissingExtraError, RecipeError
from papertune.training import check_trackers


def test_an_unknown_tracker_is_an_error_that_lists_the_known_ones():
    with pytest.raises(RecipeError, match=r'names "tensorbord"; known are .*tensorboard.*wandb'):
        check_trackers(["tensorbord"])


def test_a_tracker_that_is_not_installed_is_an_error_with_the_install_command(monkeypatch):
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", lambda: [])
    with pytest.raises(MissingExtraError, match='"wandb", which is not installed: pip install wandb'):
        check_trackers(["wandb"])
