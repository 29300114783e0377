"""The diagnosis as lines of text."""

from collections.abc import Iterator

from papertune.pipelines.doctor.diagnosis import Diagnosis
from papertune.pipelines.doctor.machine import Cpu, Devices, Folder
from papertune.pipelines.doctor.packages import Extra, Package

_WIDTH = 18


def sections(diagnosis: Diagnosis) -> dict[str, list[tuple[str, str]]]:
    """Return the sections of the report: for each the names and what was found."""
    found = {
        "Versions": [
            ("papertune", diagnosis.papertune),
            ("Python", diagnosis.python),
            ("system", diagnosis.system),
            *((each.name, _version(each)) for each in diagnosis.packages),
        ],
        "Devices": list(_devices(diagnosis.devices)),
        "CPU": list(_cpu(diagnosis.cpu)),
        "Settings": [*diagnosis.settings.items()] or [("", "none of the environment variables that matter is set")],
        "Folders": [(each.what, _folder(each)) for each in diagnosis.folders],
        "Extras": [(each.name, _extra(each)) for each in diagnosis.extras],
    }
    if diagnosis.network is not None:
        answer = diagnosis.network.reason or "reached"
        found["Network"] = [(diagnosis.network.host, answer)]
    return found


def as_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the report line by line."""
    for title, rows in sections(diagnosis).items():
        yield title
        for name, value in rows:
            yield f"  {name:{_WIDTH}} {value}" if name else f"  {value}"
        yield ""


def _version(package: Package) -> str:
    if package.installed is None:
        return f"missing (wanted: {package.wanted or 'any'})"
    return package.installed if package.fits else f"{package.installed} (wanted: {package.wanted})"


def _devices(devices: Devices) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(devices.gpus):
        yield f"cuda:{number}", name
    if not devices.gpus:
        built = f"is built for {devices.cuda}" if devices.cuda else "is a build for CPUs"
        yield "GPU", f"none that PyTorch can use; this PyTorch {built}"
    if devices.mps:
        yield "mps", "there, and not used unless --device mps asks for it"
    yield "used", devices.chosen


def _cpu(cpu: Cpu) -> Iterator[tuple[str, str]]:
    cores, threads = (
        f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((cpu.cores, "core"), (cpu.threads, "thread"))
    )
    yield "processor", f"{cpu.name}, {cores} for this process, {threads}"
    yield "instructions", ", ".join(cpu.instructions) or "none of those that papertune uses"
    yield "precision auto", "bf16" if cpu.bf16 else "fp32, since bf16 would be slow"
    yield "int8", "tried by train --dev and calibrate" if cpu.int8 else "not tried: 8-bit products are slow here"


def _folder(folder: Folder) -> str:
    size = "" if folder.size is None else f", {folder.size / 1e6:,.0f} MB"
    blocked = "" if folder.is_writable else ", NOT WRITABLE" if folder.is_needed else ", for reading only"
    return f"{folder.path}{size}, {folder.free / 1e9:,.0f} GB free{blocked}"


def _extra(extra: Extra) -> str:
    if not extra.lacking:
        return "complete"
    return f"lacks {', '.join(each.name for each in extra.lacking)}: {extra.install}"
