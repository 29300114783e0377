"""The messages between the benchmark and a system, on the side of the system. The standard library only.

A system is a process of its own, with its own memory and packages. The first line on its standard input is the job,
as JSON; it loads what it needs and answers with one line. Each further line asks for a round:

    in   {"model": "...", "threads": 2, ...}
    out  {"ready": true, "load_s": 3.1, "loaded_bytes": ..., "versions": {"torch": "2.13.0"}}
    in   round
    out  {"seconds": 12.3, "peak_bytes": ..., "labels": ["1", "0", ...]}

A failure is a line {"error": "..."}, and the process ends. Between two rounds it is stopped while the others run. What
libraries print goes to standard error.
"""

import contextlib
import ctypes
import ctypes.util
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


class Work:
    """The work of a system; a subclass loads in its constructor, which gets the job.

    Attributes:
        packages: Packages whose versions are shown.
    """

    packages: tuple[str, ...] = ("torch", "transformers")

    def prepare(self) -> None:
        """Prepare a round; this is not timed."""

    def run(self) -> dict[str, Any]:
        """Run one round, and return its result."""
        raise NotImplementedError

    def finish(self) -> dict[str, Any]:
        """Return further figures, found after a round and not timed."""
        return {}


class NotMeasured(Exception):
    """This system cannot do this job here; the message gives the reason."""


def serve(load: Callable[[dict[str, Any]], Work]) -> None:
    """Read the job, load, and run the requested rounds until standard input ends.

    Args:
        load: Makes the work of a job. Not counted in any round.
    """
    _end_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so that libraries do not print among the answers

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        begun = time.perf_counter()
        job = json.loads(sys.stdin.readline())
        job["device"] = see_one_gpu(job["device"])
        work = load(job)
        answer(
            {
                "ready": True,
                "load_s": round(time.perf_counter() - begun, 2),
                "loaded_bytes": memory("VmRSS"),
                "versions": versions(work.packages),
            }
        )
        for _ in sys.stdin:
            work.prepare()
            gc.collect()
            synchronize()
            begun = time.perf_counter()
            result = work.run()
            synchronize()
            seconds = time.perf_counter() - begun
            message = {"seconds": seconds, "peak_bytes": peak_bytes(), **result, **work.finish()}
            give_memory_back()  # before the answer, after which it may be stopped
            answer(message)
    except NotMeasured as reason:
        answer({"error": str(reason)})
    except Exception as error:
        traceback.print_exc()
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        answer({"error": f"{type(error).__name__}: {first}"[:300]})
    answers.close()


def see_one_gpu(device: str) -> str:
    """Hide all GPUs but one from this process, before it imports anything that looks for them.

    Trainer, TRL, LLaMA-Factory and vLLM take the first that they see, the trainers all of them; waiting and counting
    memory mean the current one. So the one that is asked for has to be the only one.

    Args:
        device: "cpu", "cuda" for the first GPU, "cuda:1", ...

    Returns:
        What the device is called from now on: "cuda" is the only one.
    """
    kind, _, index = device.partition(":")
    if kind == "cuda":
        # The number counts those that are visible already, which may have names instead of numbers.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(index or 0)] if visible else index or "0"
    return kind


def training_settings(job: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that transformers' Trainer and those that build on it have in common."""
    on_cpu = job["device"] == "cpu"
    return {
        "output_dir": job["folder"],
        "num_train_epochs": 1,
        "per_device_train_batch_size": job["batch_size"],
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": job["schedule"],
        "warmup_steps": job["warmup_steps"],
        "seed": job["seed"],
        "bf16": job["dtype"] == "bfloat16",
        "fp16": job["dtype"] == "float16",
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
    }


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def synchronize() -> None:
    """Wait for a GPU, if this process uses one."""
    cuda = _cuda()
    if cuda is not None:
        cuda.synchronize()


def peak_bytes() -> int:
    """Return the highest memory so far: allocated on the GPU if one is used, else resident in this process's tree."""
    cuda = _cuda()
    return memory("VmHWM") if cuda is None else cuda.max_memory_allocated()


def memory(field: str) -> int:
    """Return a field of /proc/PID/status, summed over this process and its children, in bytes.

    The peaks of several processes need not have been at one moment: their sum is the most that it can have been.
    """
    if not Path("/proc/self/status").exists():  # not Linux: the peak is all that is known
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return sum(_status_bytes(pid, field) for pid in _tree(os.getpid()))


def _end_with_parent() -> None:
    """Let Linux kill this process when the benchmark is killed: it may be stopped then, and would never notice."""
    if sys.platform == "linux":
        kill_when_parent_ends = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(kill_when_parent_ends, signal.SIGKILL)


def give_memory_back() -> None:
    """Return unused memory to the operating system, so that a waiting process holds no more than it needs."""
    gc.collect()
    cuda = _cuda()
    if cuda is not None:
        cuda.empty_cache()
    name = ctypes.util.find_library("c") if sys.platform == "linux" else None
    trim = getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
    if trim is not None:
        trim(0)


def processor_seconds(root: int) -> float:
    """Return how long a process and its children have worked, all threads together, from /proc/PID/stat.

    Without /proc it is 0.
    """
    if not Path("/proc/self/stat").exists():
        return 0.0
    ticks = 0
    for pid in _tree(root):
        with contextlib.suppress(OSError):  # it has just ended
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime, stime
    return ticks / os.sysconf("SC_CLK_TCK")


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None


def _tree(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(errors="replace")
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _status_bytes(pid: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)
