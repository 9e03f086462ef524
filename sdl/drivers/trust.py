"""Whose campaigns may name programs, code or addresses: those of this account, not imported or submitted ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdl.errors import ConfigError, Problem

# What a kind of instrument names that would be run, loaded or asked on this machine.
NAMED = {"command": "a program", "python": "Python code", "http": "an address", "scpi": "an address"}

PUBLIC = "https://claude-light.cheme.cmu.edu/api"  # the address of the public Claude-Light

IMPORTED = "imported.json"  # in the directory of a run that was imported: where it came from
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # of the state of a twin: without a dot, it is no file
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?")
NO_PATHS = "must be a run of this lab; a submitted campaign names no paths"

USE = "use"  # the key of an instrument that names a file of its own


def named_by(instrument: Any) -> str:
    """Which program, code or address an instrument names, such as `a program`; empty if none.

    The instrument is given as plain values or as an object. A Claude-Light names an address if it is not the public
    one.
    """
    given = instrument if isinstance(instrument, Mapping) else getattr(instrument, "__dict__", {})
    if given.get("kind") == "claude-light" and given.get("url", PUBLIC) != PUBLIC:
        return "an address"
    if isinstance(instrument, Mapping):
        return "a file" if USE in instrument else NAMED.get(str(instrument.get("kind")), "")
    return NAMED.get(str(instrument if isinstance(instrument, str) else getattr(instrument, "kind", "")), "")


def submitted_problems(campaign: Mapping[str, Any]) -> list[Problem]:
    """The parts that a campaign submitted by page or API (plain values) must not have; the lab has the instrument."""
    problems: list[Problem] = []
    expect = campaign.get("expect")
    for path, given in (
        ("instrument", campaign.get("instrument")),
        ("expect.instrument", expect.get("instrument") if isinstance(expect, Mapping) else None),
    ):
        if what := named_by(given):
            message = f"names {what}, which a submitted campaign must not; take it out: the lab has the instrument"
            problems.append(Problem(message, path))
    if campaign.get("notify") is not None:
        problems.append(
            Problem("a submitted campaign must not name recipients; those of the lab file are used", "notify")
        )
    problems += _state_problems({key: campaign.get(key) for key in ("watch", "solver", "design", "expect")})
    priors = campaign.get("prior")
    for i, prior in enumerate(priors if isinstance(priors, (list, tuple)) else ()):
        source = prior.get("source") if isinstance(prior, Mapping) else prior
        if isinstance(source, str) and (".." in source or not RUN_NAME.fullmatch(source)):
            problems.append(Problem(NO_PATHS, f"prior.{i}"))
    return problems


def _state_problems(given: Any, path: str = "") -> Iterator[Problem]:
    """A problem for each place where a campaign names the state of a twin by a path."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            yield from _state_problems(value, f"{path}.{key}".lstrip("."))
    elif isinstance(given, str) and path.rpartition(".")[2] in ("watch", "state") and not NAME.fullmatch(given):
        yield Problem("a submitted campaign must not name a path here; name a shipped twin", path)


def require_trust(instrument: Any, path: Path, *, trusted: bool) -> None:
    """Refuse a campaign of another account, or an imported one, whose instrument names a program, code or an address.

    Args:
        instrument: the campaign's.
        path: the run's directory, or the campaign file.
        trusted: whether the user allows it.

    Raises:
        ConfigError: the campaign is refused.
    """
    what = named_by(instrument)
    if not what or trusted:
        return
    if os.path.lexists(path / IMPORTED):
        raise ConfigError(
            f"{path}: imported, and its instrument names {what}; look at it, then repeat with --trust (from Python: "
            "trust=True)"
        )
    if not hasattr(os, "geteuid"):
        return
    owner = next((uid for uid in _owners(path) if uid != os.geteuid()), None)
    if owner is not None:
        raise ConfigError(
            f"{path}: written by another account ({_account(owner)}), and its instrument names {what}; look at it, "
            "then repeat with --trust (from Python: trust=True)"
        )


def _owners(path: Path) -> list[int]:
    files = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
    return [file.lstat().st_uid for file in files]


def _account(uid: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"number {uid}"
