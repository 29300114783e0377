"""Runs systems in turns, each in a process that stays alive between its rounds (contestants/protocol.py is its side).

    round 1   A B C D      other work and the temperature of the machine affect all systems alike;
    round 2   A B C D      the median of the rounds counts, and the range is shown
    ...

One system at a time loads or runs; the processes of the others are stopped (SIGSTOP), since threads of a library that
wait for work may keep cores busy. What a stopped system has worked all the same, by /proc/PID/stat, is in its results.

A system that is missing or fails is "not measured", with the reason; the others continue.
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

from contestants.protocol import processor_seconds

from papertune.startup.openmp import SHORT_WAIT

HERE = Path(__file__).parent


@dataclass
class System:
    """A measured program.

    Attributes:
        name: Its name in the table.
        module: Its script, as a module beside this file, such as "contestants.vllm".
        job: Its own settings, beside those that all share.
        work: How it differs from the others, in a few words.
        python: The interpreter that runs it.
        reason: Why it is not measured; None if it is.
        ready: Its message after loading.
        rounds: Its message after each round.
        worked_while_waiting_s: Processor seconds between its rounds, which the others lacked.
    """

    name: str
    module: str
    job: Mapping[str, Any]
    work: str
    python: str = sys.executable
    reason: str | None = None
    ready: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    worked_while_waiting_s: float = 0.0

    @property
    def is_measured(self) -> bool:
        """Whether it has finished rounds."""
        return self.reason is None and bool(self.rounds)

    @property
    def seconds(self) -> list[float]:
        """The seconds of each round."""
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
    systems: Sequence[System], common: Mapping[str, Any], *, rounds: int, threads: int, timeout_s: float
) -> None:
    """Load all systems, run their rounds in turns, and end them. The results are stored in the systems.

    Args:
        systems: The systems; those with a reason are left out.
        common: The settings that all jobs share.
        rounds: Number of rounds.
        threads: Threads of each system.
        timeout_s: Maximum seconds of loading or a round.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ending_by_sigterm())
        running: dict[str, _Process] = {}
        for system in systems:
            if system.reason is not None:
                continue
            _report(f"loading {system.name}")
            process = None
            try:
                process = stack.enter_context(_started(system, threads))
                process.send({**common, **system.job, "threads": threads})
                system.ready = process.answer(timeout_s)
                process.stop()
                running[system.name] = process
            except _Failed as failed:
                system.reason = str(failed)
                _report(f"{system.name}: not measured: {failed}")
                if process is not None:
                    process.kill()  # one that hangs must not slow the others
        for number in range(1, rounds + 1):
            for system in systems:
                if system.reason is not None:
                    continue
                process = running[system.name]
                try:
                    system.worked_while_waiting_s += process.resume()
                    process.send("round")
                    system.rounds.append(process.answer(timeout_s))
                    process.stop()
                    _report(f"round {number} of {rounds}: {system.name} {system.seconds[-1]:.2f} s")
                except _Failed as failed:
                    system.reason = str(failed)
                    _report(f"{system.name}: not measured: {failed}")
                    process.kill()  # one that hangs must not slow the others


@contextlib.contextmanager
def _ending_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit in the block, or the systems that wait would stay, stopped for ever."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def foreign(options: Sequence[str], known: Mapping[str, str], work: Mapping[str, str]) -> list[System]:
    """Return the tools that run in environments of their own; those without one are not measured.

    Args:
        options: NAME=PYTHON, as the command line has them.
        known: For each tool its module beside this file.
        work: For each tool how it differs from the others.
    """
    pythons = dict(option.partition("=")[::2] for option in options)
    if unknown := [name for name in pythons if name not in known]:
        sys.exit(f"error: --contestant {unknown[0]}: there is no such contestant. There are: {', '.join(known)}.")
    if empty := [name for name, python in pythons.items() if not python]:
        sys.exit(f"error: --contestant {empty[0]}: name its interpreter: --contestant {empty[0]}=PYTHON.")
    found = []
    for name, module in known.items():
        system = System(name, module, {}, work[name])
        if name not in pythons:
            system.reason = f"give the interpreter of an environment that has it: --contestant {name}=PYTHON"
        elif shutil.which(pythons[name]) is None:
            system.reason = f"{pythons[name]} is not an interpreter"
        else:
            system.python = pythons[name]
        found.append(system)
    return found


def chosen(systems: Sequence[System], only: Sequence[str], always: Sequence[str] = ()) -> list[System]:
    """Mark the systems that are not wanted as not measured."""
    names = [each.name for each in systems]
    if unknown := [name for name in only if name not in names]:
        raise SystemExit(f"error: --only {unknown[0]}: there is no such contestant. There are: {', '.join(names)}.")
    for each in systems:
        if only and each.name not in (*only, *always) and each.reason is None:
            each.reason = "left out by --only"
    return list(systems)


def ceiling(shapes: Sequence[tuple[int, int, int]], systems: Sequence[System], device: str) -> System:
    """Return the system that does matrix products only, in the dtypes of the others."""
    dtypes = sorted({each.job["dtype"] for each in systems if each.reason is None})
    tokens = [512, 2048] if device == "cpu" else [4096, 16384]
    job = {"shapes": shapes, "dtypes": dtypes, "tokens": tokens}
    return System("products", "contestants.products", job, "matrix products of the model's shapes")


def best_ceilings(products: System) -> dict[str, Any]:
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
    """A system has failed; the message gives the reason."""


class _Process:
    """The process of a system, and its answers as they come."""

    def __init__(self, process: "subprocess.Popen[str]", errors: IO[str]) -> None:
        self._process = process
        self._errors = errors
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._worked_s = 0.0
        # A thread reads, since a pipe cannot be read with a limit of time on every system.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, message: Any) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; its answer, or a missing one, shows why

    def answer(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the next answer.

        Raises:
            _Failed: If it reports a failure, ends without an answer, or takes too long.
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

    def stop(self) -> None:
        """Stop it and its children until it has its turn again."""
        self._signal(signal.SIGSTOP)
        self._worked_s = processor_seconds(self._process.pid)

    def resume(self) -> float:
        """Let it go on, and return the processor seconds that it has worked since it was stopped."""
        worked = processor_seconds(self._process.pid) - self._worked_s
        self._signal(signal.SIGCONT)
        return worked

    def kill(self) -> None:
        """End it and its children at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

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
def _started(system: System, threads: int) -> Iterator[_Process]:
    given = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    environment = {
        # Without what papertune has set in this process: other tools wait as they do without it.
        **{name: value for name, value in os.environ.items() if SHORT_WAIT.get(name) != value},
        # As a module, so that a script may have the name of the package that it imports. Another environment has its
        # own packages; this one may have been given those of another checkout.
        "PYTHONPATH": os.pathsep.join([str(HERE), *(given if system.python == sys.executable else [])]),
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        try:
            process = subprocess.Popen(
                [system.python, "-m", system.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,  # so that its own children end with it
            )
        except OSError as error:
            raise _Failed(f"{system.python} cannot be run: {error.strerror or error}") from None
        contact = _Process(process, errors)
        try:
            yield contact
        finally:
            assert process.stdin is not None
            contact.resume()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # no more rounds: it ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            contact.kill()
            contact.close()


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
