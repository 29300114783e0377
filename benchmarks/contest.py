"""Contestants in turns: each is a process that stays alive between its rounds (contestants/protocol.py is its side).

    round 1   A B C D      what else the machine does, and how warm it is, meets all of them alike;
    round 2   A B C D      the median of the rounds counts, and the range is shown
    ...

A contestant that is absent or fails is "not measured", with the reason; the others go on.
"""

import contextlib
import json
import os
import platform
import queue
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from papertune.openmp import SHORT_WAIT

HERE = Path(__file__).parent


@dataclass
class Contestant:
    """One way of doing the work.

    Attributes:
        name: As the table has it.
        module: Its script, as a module beside this file, such as "contestants.vllm".
        job: Its own settings, besides those that all have in common.
        work: What it does that others do not, in a few words.
        python: The interpreter that runs it.
        reason: Why it is not measured; None while it is.
        ready: What it said when it had loaded.
        rounds: What it said after each round.
    """

    name: str
    module: str
    job: Mapping[str, Any]
    work: str
    python: str = sys.executable
    reason: str | None = None
    ready: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_measured(self) -> bool:
        """Whether there are rounds to tell of."""
        return self.reason is None and bool(self.rounds)

    @property
    def seconds(self) -> list[float]:
        """Of each round."""
        return [result["seconds"] for result in self.rounds]

    @property
    def peak_bytes(self) -> int:
        """The highest memory of all rounds, loading included on a CPU."""
        return max(result["peak_bytes"] for result in self.rounds)

    def rates(self, amount: float) -> dict[str, float]:
        """Return an amount a second: median, lowest and highest over the rounds."""
        each = [amount / seconds for seconds in self.seconds]
        return {"median": statistics.median(each), "low": min(each), "high": max(each)}


def compete(
    contestants: Sequence[Contestant], common: Mapping[str, Any], *, rounds: int, threads: int, timeout_s: float
) -> None:
    """Load all contestants, let them do their rounds in turns, and end them. They keep what came of it.

    Args:
        contestants: Those that have a reason already are left out.
        common: The settings that all jobs have in common.
        rounds: How many rounds each does.
        threads: Threads that each may use.
        timeout_s: The longest that loading or a round may take.
    """
    with contextlib.ExitStack() as stack:
        running: dict[str, _Process] = {}
        for contestant in contestants:
            if contestant.reason is not None:
                continue
            _say(f"loading {contestant.name}")
            process = None
            try:
                process = stack.enter_context(_started(contestant, threads))
                process.tell({**common, **contestant.job, "threads": threads})
                contestant.ready = process.answer(timeout_s)
                running[contestant.name] = process
            except _Failed as failed:
                contestant.reason = str(failed)
                _say(f"{contestant.name}: not measured: {failed}")
                if process is not None:
                    process.kill()  # one that hangs must not slow the others
        for number in range(1, rounds + 1):
            for contestant in contestants:
                if contestant.reason is not None:
                    continue
                try:
                    running[contestant.name].tell("round")
                    contestant.rounds.append(running[contestant.name].answer(timeout_s))
                    _say(f"round {number} of {rounds}: {contestant.name} {contestant.seconds[-1]:.2f} s")
                except _Failed as failed:
                    contestant.reason = str(failed)
                    _say(f"{contestant.name}: not measured: {failed}")
                    running[contestant.name].kill()  # one that hangs must not slow the others


def foreign(options: Sequence[str], known: Mapping[str, str], work: Mapping[str, str]) -> list[Contestant]:
    """Return the tools that run in environments of their own; those without one are not measured.

    Args:
        options: NAME=PYTHON, as the command line has them.
        known: For each tool its module beside this file.
        work: For each tool what it does that others do not.
    """
    pythons = dict(option.partition("=")[::2] for option in options)
    if unknown := [name for name in pythons if name not in known]:
        sys.exit(f"error: --contestant {unknown[0]}: there is no such contestant. There are: {', '.join(known)}.")
    if empty := [name for name, python in pythons.items() if not python]:
        sys.exit(f"error: --contestant {empty[0]}: name its interpreter: --contestant {empty[0]}=PYTHON.")
    found = []
    for name, module in known.items():
        contestant = Contestant(name, module, {}, work[name])
        if name not in pythons:
            contestant.reason = f"give the interpreter of an environment that has it: --contestant {name}=PYTHON"
        elif shutil.which(pythons[name]) is None:
            contestant.reason = f"{pythons[name]} is no interpreter"
        else:
            contestant.python = pythons[name]
        found.append(contestant)
    return found


def chosen(contestants: Sequence[Contestant], only: Sequence[str], always: Sequence[str] = ()) -> list[Contestant]:
    """Leave those out that are not wanted."""
    names = [each.name for each in contestants]
    if unknown := [name for name in only if name not in names]:
        raise SystemExit(f"error: --only {unknown[0]}: there is no such contestant. There are: {', '.join(names)}.")
    for each in contestants:
        if only and each.name not in (*only, *always) and each.reason is None:
            each.reason = "left out by --only"
    return list(contestants)


def ceiling(shapes: Sequence[tuple[int, int, int]], contestants: Sequence[Contestant], device: str) -> Contestant:
    """Return the contestant that does matrix products only, in the dtypes of the others."""
    dtypes = sorted({each.job["dtype"] for each in contestants if each.reason is None})
    tokens = [512, 2048] if device == "cpu" else [4096, 16384]
    job = {"shapes": shapes, "dtypes": dtypes, "tokens": tokens}
    return Contestant("products", "contestants.products", job, "matrix products of the model's shapes")


def best_ceilings(products: Contestant) -> dict[str, Any]:
    """Return the best rate of each dtype over the rounds, in operations a second, or why there is none."""
    if not products.is_measured:
        return {"not_measured": products.reason}
    best: dict[str, Any] = {}
    for each in products.rounds:
        for dtype, rate in each["rates"].items():
            best[dtype] = max(rate, best.get(dtype, 0.0))
    for each in products.rounds:
        for dtype, reason in each["reasons"].items():
            best.setdefault(dtype, f"not measured, {reason}")
    return best


def machine(threads: int, device: str) -> dict[str, Any]:
    """Describe the machine: processor, cores, threads used, GPU, versions."""
    described: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "device": device,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft")},
    }
    if device.startswith("cuda"):
        import torch

        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class _Failed(Exception):
    """A contestant has failed; the message says how."""


class _Process:
    """The process of a contestant, and its answers as they come."""

    def __init__(self, process: "subprocess.Popen[str]", errors: IO[str]) -> None:
        self._process = process
        self._errors = errors
        self._answers: queue.Queue[str | None] = queue.Queue()
        # A thread reads, since a pipe cannot be read with a limit of time on every system.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, message: Any) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; its answer, or that there is none, says why

    def answer(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the next answer.

        Raises:
            _Failed: If it says that it has failed, ends without a word, or takes too long.
        """
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            raise _Failed(f"no answer within {timeout_s:.0f} s") from None
        if line is None:
            raise _Failed(self._last_words())
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise _Failed(message["error"])
        return message

    def kill(self) -> None:
        """End it and its children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Close its pipe, after its end."""
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _last_words(self) -> str:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return f"ended with {how}: {lines[-1][:200]}" if lines else f"ended with {how}"


@contextlib.contextmanager
def _started(contestant: Contestant, threads: int) -> Iterator[_Process]:
    environment = {
        # Without what papertune has set in this process: other tools wait as they do without it.
        **{name: value for name, value in os.environ.items() if SHORT_WAIT.get(name) != value},
        # As a module, so that a script may have the name of the package that it imports.
        "PYTHONPATH": str(HERE),
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        try:
            process = subprocess.Popen(
                [contestant.python, "-m", contestant.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,  # so that its own children end with it
            )
        except OSError as error:
            raise _Failed(f"{contestant.python} cannot be run: {error.strerror or error}") from None
        contact = _Process(process, errors)
        try:
            yield contact
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # no more rounds: it ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            contact.kill()
            contact.close()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
