"""The Ray session that a prediction joins or starts, without its output and its usage reports."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from papertune.errors import ModelError


def connect_ray(workers: int) -> bool:
    """Join the cluster at RAY_ADDRESS, or start Ray on this machine.

    Args:
        workers: Number of workers.

    Returns:
        Whether Ray runs only on this machine.

    Raises:
        ModelError: If Ray cannot be started, or the cluster cannot be reached.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    is_local = not address or address == "local"
    try:
        with warnings.catch_warnings(), _silent():
            warnings.simplefilter("ignore")  # deprecations of Ray
            if is_local:
                # Not reachable from other machines. `num_cpus` only counts workers; we set their threads.
                ray.init("local", num_cpus=workers, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
            else:
                ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        if _asks_for_token(error):
            raise ModelError(
                f"the Ray cluster at RAY_ADDRESS={address} asks for another token. Set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN or the file ~/.ray/auth_token as on the cluster's first machine."
            ) from error
        first = str(error).strip().partition("\n")[0]
        where = "Ray cannot be started" if is_local else f"no Ray cluster at RAY_ADDRESS={address}"
        raise ModelError(f"{where}: {first}") from error
    return is_local


def _asks_for_token(error: BaseException | None) -> bool:
    """Whether Ray has been refused for lack of the right token; it says so in a cause of its error only."""
    while error is not None and "AuthenticationError" not in str(error):
        error = error.__cause__ or error.__context__
    return error is not None


@contextmanager
def quiet_ray() -> Iterator[None]:
    """Turn off the usage reports of Ray and its output for developers; all settings are restored at the end."""
    import ray.data
    from ray._private import worker

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray warns about its own defaults
        context = ray.data.DataContext.get_current()
    # For a lost worker Ray prints pages and calls it a bug of Ray. Errors that stop a prediction are also raised.
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": os.environ.get("RAY_BACKEND_LOG_LEVEL", "fatal"),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": os.environ.get("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"),
    }
    before = {name: os.environ.get(name) for name in variables}
    levels = [logger.level for logger in loggers]
    bars, start = context.enable_progress_bars, context.print_on_execution_start
    # Lines on standard output when a lost worker restarts have no setting but this switch of Ray's debugger. Without it
    # another version of Ray prints a few more lines.
    raylets = getattr(worker, "_worker_logs_enabled", True)
    try:
        os.environ.update(variables)
        context.enable_progress_bars = context.print_on_execution_start = False
        worker._worker_logs_enabled = False
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        worker._worker_logs_enabled = raylets
        context.enable_progress_bars, context.print_on_execution_start = bars, start
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _silent() -> Iterator[None]:
    """Discard what native code writes to standard error; errors are raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
