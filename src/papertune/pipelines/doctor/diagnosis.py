"""The whole of what `papertune doctor` finds, and what is wrong with it."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from papertune.pipelines.doctor.machine import Cpu, Devices, Folder, cpu, devices, folders, settings
from papertune.pipelines.doctor.network import Reached, reach
from papertune.pipelines.doctor.packages import Extra, Package, extras, required_packages

# A model that is unpacked, a run and a table take less.
_FEW_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Diagnosis:
    """What papertune finds on this machine.

    Attributes:
        papertune: Its version.
        python: The version of Python, and of what kind it is.
        system: The operating system and the processor's architecture.
        packages: What papertune always needs.
        extras: What can be added.
        devices: The devices.
        cpu: The CPU, and what papertune does because of it.
        settings: Environment variables that matter, with their values.
        folders: Caches and the working directory.
        network: Whether models can be downloaded; None if it was not asked.
    """

    papertune: str
    python: str
    system: str
    packages: tuple[Package, ...]
    extras: tuple[Extra, ...]
    devices: Devices
    cpu: Cpu
    settings: dict[str, str]
    folders: tuple[Folder, ...]
    network: Reached | None

    @property
    def problems(self) -> tuple[str, ...]:
        """What has to be mended before papertune works, each with its remedy; an extra that is missing is none."""
        return (*map(_package_problem, (each for each in self.packages if not each.fits)), *self._other_problems())

    def _other_problems(self) -> list[str]:
        found = [
            f"{each.path} ({each.what}) cannot be written. Change its permissions, or choose another folder."
            for each in self.folders
            if each.is_needed and not each.is_writable
        ]
        full = [each for each in self.folders if each.is_writable and each.free < _FEW_BYTES]
        for disk in dict.fromkeys(each.disk for each in full):
            there = [each for each in full if each.disk == disk]
            names = ", ".join(f"{each.path} ({each.what})" for each in there)
            found.append(f"{names}: only {there[0].free / 1e9:.1f} GB are free. Make room.")
        if self.network is not None and self.network.reason:
            found.append(
                f"{self.network.host} cannot be reached ({self.network.reason}). Use models that are on this machine."
            )
        return found


def diagnose(*, network: bool = False) -> Diagnosis:
    """Look at this machine.

    Args:
        network: Also ask the hub of models whether it can be reached; nothing else leaves the machine.

    Raises:
        ModelError: If PAPERTUNE_CPU contains an unknown name.
    """
    import papertune

    try:
        here = version("papertune")
    except PackageNotFoundError:
        here = papertune.__version__
    return Diagnosis(
        papertune=here,
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        packages=required_packages(),
        extras=extras(),
        devices=devices(),
        cpu=cpu(),
        settings=settings(),
        folders=folders(),
        network=reach() if network else None,
    )


def _package_problem(package: Package) -> str:
    what = "is missing" if package.installed is None else f"is {package.installed}, which does not fit"
    return f'{package.name} {what}. Install it: pip install "{package.name}{package.wanted}"'
