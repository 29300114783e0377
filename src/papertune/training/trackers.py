"""Experiment trackers that the trainer reports to."""

from collections.abc import Sequence

from papertune.errors import MissingExtraError, RecipeError


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers are known and installed.

    Args:
        names: As in `training.report_to`, for example "tensorboard".

    Raises:
        RecipeError: If transformers does not know a tracker.
        MissingExtraError: If its package is not installed.
    """
    if not names:
        return
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    known = sorted(INTEGRATION_TO_CALLBACK)
    for name in names:
        if name not in known:
            raise RecipeError(f'training.report_to names "{name}"; known are {", ".join(known)}.')
        if name not in get_available_reporting_integrations():
            raise MissingExtraError(f'training.report_to names "{name}", which is not installed: pip install {name}')
