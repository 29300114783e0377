"""Devices, CPU instructions, memory, caches and disk, as far as papertune depends on them."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# The settings whose values are shown; of others, a user may not want to publish the value.
SHOWN_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "GOMP_SPINCOUNT",
    "HF_HUB_OFFLINE",
    "KMP_BLOCKTIME",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "PAPERTUNE_CPU",
)
# What torch calls the instructions for which papertune, or a library below it, has a faster way.
_INSTRUCTIONS = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8", "bf16")


@dataclass(frozen=True)
class Devices:
    """The devices that this PyTorch can use.

    Attributes:
        gpus: Name and memory of each GPU of NVIDIA or AMD.
        cuda: The CUDA or ROCm version that PyTorch was built for; None for a build for CPUs.
        mps: Whether there is a GPU of Apple.
        chosen: What papertune uses without `--device`.
    """

    gpus: tuple[str, ...]
    cuda: str | None
    mps: bool
    chosen: str


@dataclass(frozen=True)
class Cpu:
    """The CPU, and what papertune does because of it.

    Attributes:
        name: The processor.
        cores: Number of cores that this process may use.
        instructions: Those of interest that it has, by torch's names.
        threads: Number of threads of torch.
        bf16: Whether `--precision auto` means bf16 on this CPU.
        int8: Whether a calibration tries int8 on this CPU.
    """

    name: str
    cores: int
    instructions: tuple[str, ...]
    threads: int
    bf16: bool
    int8: bool


@dataclass(frozen=True)
class Folder:
    """A folder that papertune or a library below it fills.

    Attributes:
        what: What is in it.
        path: The folder; ~ is the home folder.
        size: Bytes of its files; None if there is no such folder.
        free: Free bytes of its disk.
        disk: The number of its disk: two folders on one disk share the free bytes.
        is_writable: Whether files can be made in it, or it can be made.
        is_needed: Whether it has to be writable: a cache with models in it may be shared, and closed for writing.
    """

    what: str
    path: str
    size: int | None
    free: int
    disk: int
    is_writable: bool
    is_needed: bool = True


def devices() -> Devices:
    """Return the devices; torch is loaded for it."""
    import torch

    from papertune.models.base import choose_device

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    properties = [torch.cuda.get_device_properties(number) for number in range(count)]
    gpus = tuple(f"{each.name}, {each.total_memory / 2**30:.0f} GiB" for each in properties)
    return Devices(
        gpus, torch.version.cuda or torch.version.hip, torch.backends.mps.is_available(), choose_device(None)
    )


def cpu() -> Cpu:
    """Return what the CPU has, and what follows from it.

    Raises:
        ModelError: If PAPERTUNE_CPU contains an unknown name.
    """
    import torch

    from papertune.models.cpu import cpu_features

    # `models/cpu.py` decides; this only names what it has decided on.
    capabilities = torch.cpu.get_capabilities()
    features = cpu_features()
    found = tuple(name for name in _INSTRUCTIONS if capabilities.get(name, False))
    name = str(capabilities.get("cpu_name") or capabilities.get("architecture") or "unknown")
    return Cpu(name, _cores(), found, torch.get_num_threads(), features.bf16, features.int8)


def settings() -> dict[str, str]:
    """Return the values of those variables in SHOWN_VARIABLES that are set."""
    return {name: os.environ[name] for name in SHOWN_VARIABLES if name in os.environ}


def folders() -> tuple[Folder, ...]:
    """Return papertune's cache, the one of downloaded models, and the working directory."""
    from huggingface_hub.constants import HF_HUB_CACHE

    from papertune.models.cache import cache_folder

    return (
        _folder("unpacked models", cache_folder()),
        _folder("downloaded models", Path(HF_HUB_CACHE)),
        _folder("working directory", Path(), measured=False),
    )


def _folder(what: str, path: Path, *, measured: bool = True) -> Folder:
    nearest = next(place for place in (path, *path.absolute().parents) if _exists(place))
    size = _size(path) if measured and nearest is path and path.is_dir() else None
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    free, disk = shutil.disk_usage(nearest).free, nearest.stat().st_dev
    return Folder(what, _short(path), size, free, disk, writable, is_needed=not size)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder above it cannot be looked into
        return False


def _size(folder: Path) -> int:
    """Return the bytes of all files; a cache of links to files counts each file once."""
    total = 0
    for parent, _, names in os.walk(folder):
        for path in (Path(parent) / name for name in names):
            with suppress(OSError):  # another program may remove it at this moment
                total += 0 if path.is_symlink() else path.lstat().st_size
    return total


def _short(path: Path) -> str:
    """Return a path without the name of the user, so that a report may be published."""
    if path.is_absolute() and path.is_relative_to(Path.home()):
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
