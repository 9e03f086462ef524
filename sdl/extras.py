"""The distribution that installs `sdl`: its version, and what to install where a package of an extra is missing."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version

from sdl.errors import ConfigError

# The distribution that installs the package `sdl`; on PyPI, `sdl` is an unrelated project.
DISTRIBUTION = "sdl-orchestrator"


def own_version() -> str:
    """The version of this package; empty where it is used from its source tree without being installed."""
    return _version(DISTRIBUTION)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def versions_of(*packages: str) -> dict[str, str]:
    """The versions of this package (as `sdl`) and of those others that are installed."""
    versions = {"sdl": own_version()} | {package: _version(package) for package in packages}
    return {name: text for name, text in versions.items() if text}


def missing(purpose: str, extra: str, error: ImportError) -> str:
    """The message for a missing module: what needs it (a plural noun), and the extra that contains it."""
    module = (error.name or str(error)).partition(".")[0]
    listed = ", ".join(requirements(extra)) or "it"
    return f"{purpose} need {module}, which is not installed; the extra `{extra}` of {DISTRIBUTION} requires {listed}"


def require(purpose: str, extra: str, *modules: str) -> None:
    """Check that modules can be imported.

    Raises:
        ConfigError: with the message of `missing`.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise ConfigError(missing(purpose, extra, error)) from error


def requirements(extra: str) -> list[str]:
    """The requirements of an extra, such as `apprise>=1.9`."""
    try:
        declared = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # used from its source tree
        return []
    marker = re.compile(rf"extra == ['\"]{re.escape(extra)}['\"]")
    return [line.partition(";")[0].strip() for line in declared if marker.search(line.partition(";")[2])]
