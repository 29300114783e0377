"""The extra `papertune[rl]`."""

from importlib.metadata import PackageNotFoundError, version

from papertune.errors import MissingExtraError

# The stages override methods of TRL that are no public interface, so a new minor version may break them.
TRL_VERSION = "1.16"
INSTALL = "pip install 'papertune[rl]'"


def check_trl(stage: str) -> None:
    """Check that TRL is installed in the version that the stages are written for, without importing it.

    Args:
        stage: The stage that needs it.

    Raises:
        MissingExtraError: If it is not.
    """
    try:
        found = version("trl")
    except PackageNotFoundError:
        raise MissingExtraError(f'stage "{stage}" trains with TRL, which is not installed: {INSTALL}') from None
    if found.split(".")[:2] != TRL_VERSION.split("."):
        raise MissingExtraError(
            f'stage "{stage}" trains with TRL {TRL_VERSION}, and version {found} is installed: {INSTALL}'
        )
