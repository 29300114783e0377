"""The Ray session that a prediction joins or starts: without noise, and without a word to anybody outside."""

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
        workers: How many there will be.

    Returns:
        Whether it is on this machine only.

    Raises:
        ModelError: If Ray cannot be started, or the cluster cannot be reached.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    is_local = not address or address == "local"
    try:
        with warnings.catch_warnings(), _silent():
            warnings.simplefilter("ignore")  # what Ray will do in its next version
            if is_local:
                # On this machine nobody else shall reach it. Its CPUs only count workers here; we set the threads.
                ray.init("local", num_cpus=workers, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
            else:
                ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        where = "Ray cannot be started" if is_local else f"no Ray cluster at RAY_ADDRESS={address}"
        raise ModelError(f"{where}: {first}") from error
    return is_local


@contextmanager
def quiet_ray() -> Iterator[None]:
    """Keep Ray from phoning home, and from printing what only its developers can use; afterwards all is as before."""
    import ray.data
    from ray._private import worker

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray warns of its own defaults
        context = ray.data.DataContext.get_current()
    # Of a worker that is lost it prints pages, and that this be a bug of Ray. What stops us is raised as well.
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": os.environ.get("RAY_BACKEND_LOG_LEVEL", "fatal"),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": os.environ.get("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"),
    }
    before = {name: os.environ.get(name) for name in variables}
    levels = [logger.level for logger in loggers]
    bars, start = context.enable_progress_bars, context.print_on_execution_start
    # What is printed to standard output when a lost worker is started again has no setting, only the switch of Ray's
    # debugger. A version without that switch prints some lines more.
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
    """Keep native code from writing to standard error; what goes wrong is raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
