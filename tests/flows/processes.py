"""Commands in separate processes that can be killed.

Importing torch and transformers takes seconds. So a server imports them once and forks a new process for each command
(the start method "forkserver" of multiprocessing).
"""

import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "papertune.run",
        "papertune.pipelines.train",
        "papertune.cli.commands",
        "peft",
        "polars",
        "rich.progress",
        "safetensors.torch",
        "scipy.stats",
        "sklearn.metrics",
        "transformers.models.auto.modeling_auto",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.llama.modeling_llama",
        "transformers.trainer",
        "xlsxwriter.exceptions",
    ]
)

# A command takes seconds; after this time it hangs.
LIMIT_S = 240

# Prompts are 60 to 130 tokens long, so a batch has 2 to 4 of them.
BATCH_TOKENS = 270
# Without a delay the tiny model could finish before a kill.
SLOWED_BY_S = 0.02

Patch = Callable[[], None]


class Hung(Exception):
    """A command has not ended in time."""


class Command:
    """A running `papertune` command.

    Args:
        arguments: Arguments of the command line.
        patches: Functions that the new process calls first.

    Attributes:
        printed: Its output, after it has ended.
    """

    def __init__(self, arguments: list[Any], *patches: Patch) -> None:
        self.printed = ""
        self._pipe, write_end = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_run, args=([str(a) for a in arguments], write_end, patches))
        self._process.start()
        write_end.close()

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End the process at once, if it has not ended yet."""
        with suppress(ValueError):  # the process is closed already
            self._process.kill()
            self._process.join()

    def end(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the process; return its exit code, -9 if it was killed.

        Raises:
            Hung: If it has not ended in time; it is then killed.
        """
        deadline = time.monotonic() + limit_s
        with self._pipe as pipe:
            while wait([pipe], deadline - time.monotonic()):
                if not (part := os.read(pipe.fileno(), 65536)):
                    break
                self.printed += part.decode()
            else:
                self.kill()
                raise Hung(f"it has not ended in time; so far it has printed: {self.printed!r}")
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        self._process.close()
        return code

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Wait until a condition is true or the process ends; return the condition."""
        while not condition():
            if not self.is_running:
                return condition()
            time.sleep(0.002)
        return True


def set_imports_aside() -> None:
    """Hide what this process has imported from collections, which would scan, and copy, all of it."""
    gc.freeze()
    gc.get_freeze_count = lambda: 1  # to count them takes 60 ms, and each training asks whether there are some


def _run(arguments: list[str], pipe: Connection, patches: tuple[Patch, ...]) -> None:
    set_imports_aside()
    os.dup2(pipe.fileno(), 1)
    os.dup2(pipe.fileno(), 2)
    pipe.close()
    for patch in patches:
        patch()
    from papertune.cli import main

    sys.argv = ["papertune", *arguments]
    main()


def lines(file: Path) -> int:
    """Count the complete lines of a file that may not exist yet."""
    return file.read_bytes().count(b"\n") if file.exists() else 0


def small_batches() -> None:
    """Make prediction use many batches of few rows, for which there is no option."""
    from papertune.inference.processes import workforce
    from papertune.run import model

    model.Predictor = partial(model.Predictor, max_batch_tokens=BATCH_TOKENS)  # type: ignore[misc, assignment]
    workforce.batch_tokens = lambda device: BATCH_TOKENS


def slow_batches() -> None:
    """Delay each batch of a prediction."""
    from papertune.inference.predictor import Predictor

    Predictor.answer = _slowly(Predictor.answer)  # type: ignore[method-assign]


def workers_die_once(mark: Path) -> None:
    """Make the first Ray worker that answers a batch kill itself before it has finished.

    Args:
        mark: A file that exists afterwards.
    """
    from papertune.inference.processes import workforce

    open_predictor = workforce._worker_predictor

    # A local function is sent to the workers as code; they cannot import this module.
    def opening(*arguments: Any) -> Any:
        predictor, facts = open_predictor(*arguments)
        answer = predictor.answer

        def answer_or_die(*arguments: Any) -> Any:
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return answer(*arguments)

        predictor.answer = answer_or_die  # type: ignore[method-assign]
        return predictor, facts

    workforce._worker_predictor = opening


def slow_steps() -> None:
    """Delay each forward pass of a training."""
    from papertune.training.answers import loop

    loop.answer_losses = _slowly(loop.answer_losses)


def _slowly(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def slowed(*arguments: Any, **options: Any) -> Any:
        time.sleep(SLOWED_BY_S)
        return function(*arguments, **options)

    return slowed


def die(*_: object, **__: object) -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(module: str, name: str, count: int = 1, after: bool = False) -> None:
    """Kill this process at the n-th call of a function, before or after it.

    Args:
        module: The module with the function, or the class as "module:Class".
        name: The function.
        count: Number of the call, from 1.
        after: Whether that call is finished first.
    """
    owner = _owner(module)
    function = getattr(owner, name)
    calls = 0

    @wraps(function)
    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and not after:
            die()
        result = function(*arguments, **options)
        if calls == count:
            die()
        return result

    setattr(owner, name, counted)


def die_halfway(module: str, name: str, count: int, file_argument: int) -> None:
    """Kill this process at the n-th call of a function that writes a file, with half of the file written."""
    owner = _owner(module)
    function = getattr(owner, name)
    calls = 0

    @wraps(function)
    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        result = function(*arguments, **options)
        if calls == count:
            file = Path(arguments[file_argument])
            os.truncate(file, file.stat().st_size // 2)
            die()
        return result

    setattr(owner, name, counted)


def _owner(module: str) -> Any:
    from importlib import import_module

    path, _, inner = module.partition(":")
    found = import_module(path)
    return getattr(found, inner) if inner else found


def limit_file_size(limit: int) -> None:
    """Limit the size of files, in bytes: to a program this looks like a full disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
